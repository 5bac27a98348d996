"""The benchmarks of self-supervision run, at budgets of a few steps: what they store, skip, resume and show."""

import importlib.util
import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import ROOT
from firstlight.data.split import digests
from firstlight.methods.simclr import SimCLR

CNN, VIT = "test_resnet", "vit_tiny_patch16_224(patch_size=8, embed_dim=48, depth=1, num_heads=2)"


def load(path):
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def methods(tmp_path, monkeypatch):
    """The benchmark on two classes of stripes."""
    random = np.random.default_rng(0)
    for side, count in (("train", 12), ("test", 5)):
        for label, name in enumerate(("across", "down")):
            folder = tmp_path / "data" / "cifar10_6k" / side / name
            folder.mkdir(parents=True)
            for number in range(count):
                picture = random.integers(0, 100, (32, 32, 3), dtype=np.uint8)
                (picture if label else picture.swapaxes(0, 1))[::4] += 150
                Image.fromarray(picture).save(folder / f"{number}.png")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # as when it is run
    module = load(ROOT / "benchmarks" / "methods.py")
    monkeypatch.setattr(module, "DATA", tmp_path / "data")

    def run(*words):
        where = ["--out", str(tmp_path / "results" / "methods"), "--work", str(tmp_path / "work")]
        budget = ["--model", CNN, "--steps", "2", "--batch", "4", "--precision", "fp32", "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["methods.py", *where, *budget, *words])
        module.main()

    module.run, module.folder = run, tmp_path / "results" / "methods"
    return module


def test_methods_are_measured_once_and_shown(methods, capsys, monkeypatch):
    chosen = ("--methods", "pixels", "random", "simclr(dim=8)", "mae", "--protocols", "knn(k=3)", "linear(penalties=2)")
    methods.run(*chosen)
    said = capsys.readouterr().out.splitlines()
    assert "left out: mae needs a ViT" in said[-1]
    assert [path.name for path in sorted(methods.folder.iterdir())] == [
        "cnn-pixels-seed0.json", "cnn-random-seed0.json", "cnn-simclr-dim-8-seed0.json",
    ]  # fmt: skip

    record = json.loads((methods.folder / "cnn-simclr-dim-8-seed0.json").read_text())
    assert {"date", "machine", "versions", "settings", "digest"} <= set(record)
    assert record["settings"]["of method"]["dim"] == 8
    assert record["settings"]["training"]["optimisation"]["optimizer"] == "adamw"
    assert {"loss", "feature_std"} <= set(record["training"]["last"])
    assert record["training"]["seconds"] > 0
    assert set(record["results"]) == {"knn", "linear"}
    assert 0 < record["features"]["feature_std"] <= 1.01
    assert 1 <= record["features"]["effective_rank"] <= record["features"]["width"]

    methods.run(*chosen)
    assert capsys.readouterr().out.count("stored before") == 3
    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "views", (replace(SimCLR.views[0], scale=(0.3, 1.0)),))
        methods.run(*chosen)
        assert capsys.readouterr().out.count("stored before") == 2, "a method that is shown something else is another"
    methods.run(*chosen, "--lr", "0.1")
    assert capsys.readouterr().out.count("stored before") == 2

    generate = load(ROOT / "docs" / "generate.py")
    monkeypatch.setattr(generate, "RESULTS", methods.folder.parent)
    table = generate.methods().splitlines()
    rows = [line for line in table if line.startswith(("| `simclr", "| pixels", "| random"))]
    assert len(rows) == 3
    assert any(" to " in row for row in rows)


def test_a_stopped_training_goes_on(methods, monkeypatch):
    saved, plain = [], methods.train

    def stopping(method, batches, setup, run):
        for event in plain(method, batches, setup, run):
            yield event
            if type(event).__name__ == "Saved" and not saved:
                saved.append(event)
                raise KeyboardInterrupt

    monkeypatch.setattr(methods, "train", stopping)
    chosen = ("--methods", "simclr", "--protocols", "knn")
    with pytest.raises(KeyboardInterrupt):
        methods.run(*chosen)
    assert not methods.folder.exists()
    assert list((methods.folder.parents[1] / "work").iterdir())
    methods.run(*chosen)
    record = json.loads((methods.folder / "cnn-simclr-seed0.json").read_text())
    assert [step for step, _ in record["training"]["loss"]] == [1]
    assert not list((methods.folder.parents[1] / "work").iterdir())


def pack(methods, others: int) -> None:
    """Writes a large set as JPEG: the small one's training pictures, and others of the same kind between them."""
    random = np.random.default_rng(1)
    small = methods.pictures("6k", False).train
    rows = [(picture, label) for picture, label in zip(small.read(np.arange(len(small))), small.labels, strict=True)]
    rows += [(random.integers(0, 255, (32, 32, 3), dtype=np.uint8), 0) for _ in range(others)]
    rows = [rows[number] for number in random.permutation(len(rows))]
    files = []
    for picture, _ in rows:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "jpeg", quality=90)
        files.append(np.frombuffer(buffer.getvalue(), np.uint8))
    one = {
        "jpeg": np.concatenate(files),
        "offsets": np.cumsum([0, *map(len, files)]),
        "labels": np.array([label for _, label in rows]),
    }
    both = {f"{side}_{name}": value for side in ("train", "test") for name, value in one.items()}
    np.savez(methods.DATA / "cifar10_jpeg_packed.npz", **both)


def test_tuning_judges_by_pictures_that_the_small_set_lacks(methods, monkeypatch):
    pack(methods, others=40)
    monkeypatch.setattr(methods, "NEAREST", 1)
    whole, tuned = methods.pictures("6k", False), methods.pictures("6k", True)
    assert tuned.train.fingerprint() == whole.train.fingerprint()
    known = [methods.thumbnails(side) for side in (whole.train, whole.test)]
    rows = methods.thumbnails(tuned.test)
    distance = np.abs(rows[:, None] - np.concatenate(known)).mean(2).min(1)
    assert 40 - len(whole.test) <= len(rows) <= 40, "but for what lies nearest to the test pictures, which it lacks"
    assert distance.min() > 15, "no picture of the small set, however its JPEG differs"


def test_tuning_on_the_large_set_never_sees_the_test_pictures(methods):
    pack(methods, others=40)
    whole, held = methods.pictures("packed", False), methods.pictures("packed", True)
    both = [row.tobytes() for part in (held.train, held.test) for row in digests(part)]
    assert sorted(both) == sorted(row.tobytes() for row in digests(whole.train))
    assert 0 < len(held.test) < len(held.train)


def test_the_effective_rank(methods):
    assert methods.effective_rank(np.eye(6)) == pytest.approx(6, rel=1e-4)
    assert methods.effective_rank(np.ones((6, 3))) == pytest.approx(1, rel=1e-4)


@pytest.fixture(scope="module")
def speed():
    pytest.importorskip("lightly")
    module = load(ROOT / "benchmarks" / "ssl_speed.py")
    module.NETWORKS["vit"] = VIT
    sys.path.insert(0, str(ROOT / "benchmarks"))  # as when it is run: its peers/ lie beside it
    yield module
    sys.path.remove(str(ROOT / "benchmarks"))


def test_speeds_are_compared_profiled_and_shown(speed, tmp_path, monkeypatch, capsys):
    path = tmp_path / "ssl_speed.json"
    budget = ["--batch", "4", "--rounds", "1", "--seconds", "0", "--workers", "0", "--precisions", "fp32"]
    chosen = ["--only", "simclr-vit", "byol-vit", "dino-vit", "mae-vit", "--device", "cpu", "--json", str(path)]
    for more in ([], ["--profile"]):
        monkeypatch.setattr(sys, "argv", ["ssl_speed.py", *budget, *chosen, *more])
        speed.main()
    record = json.loads(path.read_text())
    assert set(record["rows"]) == set(record["profile"]) == {"simclr-vit", "byol-vit", "dino-vit", "mae-vit"}
    for row in record["rows"].values():
        assert set(row["pictures/s"]) == {"ours", *row["ratios"]}
        assert row["ratios"]["lightly"]["fp32"]["median"] > 0
    for parts in record["profile"].values():
        assert set(parts["fp32"]) == {"decode", "views", "forward", "backward", "optimiser"}
        assert min(parts["fp32"].values()) >= 0
    assert "mae-vit" in capsys.readouterr().out

    generate = load(ROOT / "docs" / "generate.py")
    monkeypatch.setattr(generate, "RESULTS", tmp_path)
    table = generate.ssl_speed()
    assert table.count("| mae-vit | lightly |") == table.count("| mae-vit fp32 |") == 1


def test_every_peer_has_its_rows(monkeypatch, tmp_path):
    ratio = {"fp32": {"median": 2.0, "range": [1.5, 2.5]}, "best": {"median": 3.0, "range": [2.5, 3.5]}}
    row = {
        "pictures/s": {"ours": {"fp32": 8.0}, "lightly": {"fp32": 4.0}, "stable_pretraining": {"fp32": 2.0}},
        "ratios": {"lightly": ratio, "stable_pretraining": ratio},
    }
    record = {
        "date": "2025-01-01", "machine": {"device": "cpu", "threads": 2},
        "settings": {"rounds": 3, "batch": 4, "size": 8},
        "versions": {"torch": "2", "lightly": "1", "stable_pretraining": "0.1"}, "left out": {}, "profile": {},
        "rows": {"dino-cnn": row},
    }  # fmt: skip
    (tmp_path / "ssl_speed.json").write_text(json.dumps(record))
    generate = load(ROOT / "docs" / "generate.py")
    monkeypatch.setattr(generate, "RESULTS", tmp_path)
    table = generate.ssl_speed()
    assert "| dino-cnn | lightly | 8 / 4 | 2.00 (1.50 to 2.50) | 3.00 (2.50 to 3.50) |" in table
    assert "| dino-cnn | stable-pretraining | 8 / 2 |" in table
    assert "lightly 1, stable-pretraining 0.1, 2025-01-01." in table


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_both_sides_have_the_same_network(speed):
    encoder = speed.network("simclr-cnn")
    assert encoder.net.conv1.kernel_size == (3, 3)
    assert encoder.maps(torch.zeros(1, 3, 32, 32))[0].shape[-1] == 32
    for name in ("simclr", "byol", "dino"):
        ours, _, _ = speed.prepared(f"{name}-cnn", np.zeros((4, 32, 32, 3), np.uint8), "fp32", _Given())
        peer, _ = speed.parts_of("lightly", f"{name}-cnn")
        count = lambda module: sum(p.numel() for p in module.parameters() if p.requires_grad)  # noqa: E731
        assert count(peer) == pytest.approx(count(ours), rel=0.01)


class _Given:
    batch, device = 4, "cpu"


def test_masked_speed_compares_steps_of_both(tmp_path, monkeypatch, capsys):
    module, path = load(ROOT / "benchmarks" / "masked_speed.py"), tmp_path / "speed.json"
    monkeypatch.setitem(module.SIZES, "32", VIT)
    settings = ["--mae", "mae(width=32, depth=1)", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["masked_speed.py", "--only", "32", "--batch", "2", "--rounds", "2", *settings])
    module.main()
    row = json.loads(path.read_text())["rows"]["32"]
    assert row["range"][0] <= row["ratio"] <= row["range"][1]
    assert 0 < row["decoder"] < 1
    assert "| 32 pixels, batch 2 |" in capsys.readouterr().out


@pytest.fixture
def anomaly(tmp_path, monkeypatch):
    """The benchmark on noise, and its methods, with white lines for defects."""
    random = np.random.default_rng(0)
    for side, name, count in (("train", "free", 9), ("train", "crack", 3), ("test", "free", 5), ("test", "crack", 4)):
        folder = tmp_path / "tiles" / side / name
        folder.mkdir(parents=True)
        for number in range(count):
            picture = random.integers(60, 190, (32, 32), dtype=np.uint8)
            picture[::8] = 255 if name == "crack" else picture[::8]
            Image.fromarray(picture).save(folder / f"{number}.png")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # as when it is run
    module = load(ROOT / "benchmarks" / "anomaly.py")

    def run(*words):
        where = [f"--{name}={tmp_path / path}" for name, path in (("data", "tiles"), ("out", "anomaly"), ("work", "w"))]
        budget = ["--model", CNN, "--size", "32", "--batch", "4", "--precision", "fp32", "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["anomaly.py", *where, *budget, "--steps", "2", *words])
        module.main()

    module.run, module.folder = run, tmp_path
    return module


def test_anomalies_are_measured_once_and_shown(anomaly, capsys, monkeypatch):
    chosen = ("--methods", "pixels", "random", "cutpaste(dim=8)", "supcon", "--seeds", "1")
    anomaly.run(*chosen)
    said = capsys.readouterr().out
    assert "9 normal training pictures; 9 test pictures, 4 with defects" in said
    assert "supcon learns from labels" in said
    stored = {path.name: json.loads(path.read_text()) for path in (anomaly.folder / "anomaly").iterdir()}
    assert sorted(stored) == [f"{name}-seed1.json" for name in ("cutpaste-dim-8", "pixels", "random")]

    record = stored["cutpaste-dim-8-seed1.json"]
    assert {"date", "machine", "versions", "settings", "digest"} <= set(record)
    assert (record["settings"]["channels"], record["settings"]["of method"]["dim"]) == (1, 8)
    assert record["settings"]["training"]["optimisation"]["optimizer"] == "sgd"
    assert {"loss", "accuracy"} <= set(record["training"]["last"])
    numbers = record["numbers"]
    assert 0 <= numbers["auroc_low"] <= numbers["auroc"] <= numbers["auroc_high"] <= 1
    assert record["defects"]["rows"][0][:2] == ["crack", 4]
    assert record["evaluation"]["train"] == 9
    assert stored["pixels-seed1.json"]["evaluation"]["on"] == "pixels"

    anomaly.run(*chosen, "--steps", "3")
    assert capsys.readouterr().out.count("stored before") == 2, "what nothing is trained for"
    assert not list((anomaly.folder / "w").iterdir())

    generate = load(ROOT / "docs" / "generate.py")
    monkeypatch.setattr(generate, "RESULTS", anomaly.folder)
    assert [table.count("|") for table in generate.anomaly().splitlines()] == [0, 0] + [7] * 5


def test_encoders_are_judged_that_saw_no_defect(anomaly, monkeypatch):
    split = anomaly.pictures(anomaly.folder / "tiles", 32)
    assert {split.test.classes[label] for label in split.test.labels} == {"free", "crack"}

    seen, trained, judged = [], [], []
    plain, run = sys.modules["methods"].train, anomaly.Anomaly.run

    def watched(method, batches, setup, at):
        seen.extend((batches.pictures.name(n), batches.channels) for n in range(len(batches.pictures)))
        trained.extend([method.encoder, next(method.encoder.parameters()).detach().clone()])
        yield from plain(method, batches, setup, at)

    def watched_run(self, encoder, *given, **how):
        judged.append(encoder)
        return (yield from run(self, encoder, *given, **how))

    monkeypatch.setattr(sys.modules["methods"], "train", watched)
    monkeypatch.setattr(anomaly.Anomaly, "run", watched_run)
    anomaly.run("--methods", "pixels", "random", "cutpaste", "--seeds", "1")
    assert len(seen) == 9
    assert all("free" in name and channels == 1 for name, channels in seen)
    assert judged[0] is None
    assert judged[2] is trained[0]
    before, after = (next(encoder.parameters()) for encoder in judged[1:])
    assert torch.equal(before, trained[1]), "the random encoder is what the training began with"
    assert not torch.equal(before, after)


def test_anomalies_go_on_where_they_stopped(anomaly, monkeypatch):
    steps, plain = [], sys.modules["methods"].train

    def stopping(method, batches, setup, run):
        for event in plain(method, batches, setup, run):
            steps.extend([event.step] if type(event).__name__ == "Step" else [])
            yield event
            if type(event).__name__ == "Saved" and len(steps) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["methods"], "train", stopping)
    with pytest.raises(KeyboardInterrupt):
        anomaly.run("--methods", "cutpaste", "--seeds", "0")
    assert not (anomaly.folder / "anomaly").exists()
    anomaly.run("--methods", "cutpaste", "--seeds", "0")
    assert steps == [1, 2]
    assert (anomaly.folder / "anomaly" / "cutpaste-seed0.json").exists()


def test_areas_are_averaged_over_the_seeds(tmp_path, monkeypatch):
    generate = load(ROOT / "docs" / "generate.py")
    monkeypatch.setattr(generate, "RESULTS", tmp_path)
    assert generate.anomaly() == "Not measured yet."
    (tmp_path / "anomaly").mkdir()
    how = {"steps": 2000, "batch": 64, "precision": "bf16", "optimisation": {"optimizer": "sgd", "lr": 0.12}}
    data = {"name": "tiles", "train": 714, "test": 339}
    for method, areas in (("random", (0.5, 0.6)), ("pixels", (0.6, 0.6)), ("cutpaste", (0.7, 0.9, 0.8))):
        for seed, area in enumerate(areas):
            record = {
                "date": "2025-01-01", "method": method, "machine": {"device": "cpu", "threads": 1},
                "settings": {"seed": seed, "model": "net", "size": 64, "channels": 1, "data": data, "training": how},
                "numbers": {"auroc": area, "auroc_low": area - 0.1, "auroc_high": area + 0.05},
                "training": {"core_seconds": 100.0 + seed} if method == "cutpaste" else {},
            }  # fmt: skip
            (tmp_path / "anomaly" / f"{method}-seed{seed}.json").write_text(json.dumps(record))
    assert generate.anomaly().splitlines() == [
        "`net`, 64 px, grey; 714 normal training pictures and 339 test pictures of tiles; 2,000 steps of 64 pictures, "
        "sgd at 0.03, bf16; cpu, 1 threads, 2025-01-01.",
        "",
        "| method | AUROC | seed by seed | 95 % interval | over the random encoder (least to most) | core seconds |",
        "| --- | --- | --- | --- | --- | --- |",
        "| `cutpaste` | 0.800 | 0.700, 0.900, 0.800 | 0.700 to 0.850 | +0.250 (+0.200 to +0.300) | 101 |",
        "| pixels | 0.600 | 0.600, 0.600 | 0.500 to 0.650 | +0.050 (+0.000 to +0.100) |  |",
        "| random | 0.550 | 0.500, 0.600 | 0.450 to 0.600 |  |  |",
    ]
