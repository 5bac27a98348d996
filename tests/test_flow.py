"""Tiny recipes from end to end, as a user runs them: folders in, run folder, report and timm checkpoint out."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import firstlight
import tiny
from firstlight import cli, spec
from firstlight.errors import InputError
from firstlight.recipe.export import usage
from firstlight.runs import read_events, read_json
from once import once

TINY = ["--model", "resnet10t", "--size", "32", "--device", "cpu"]
SHORT = ["--pretrain-steps", "6", "--pretrain-batch", "8", "--finetune-steps", "8", "--finetune-batch", "8"]
# One that learns without labels, if there is one for this small model.
CONTENDERS = ["svm", "scratch", "fractal", *(name for name in spec.names("methods") if name == "simclr")]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return striped(tmp_path_factory.mktemp("写真 folder"))


def striped(root: Path) -> Path:
    """Two classes that differ in their stripes, 16 pictures each, of several sizes and modes."""
    random = np.random.default_rng(0)
    for label in ("across", "down <b>"):
        (root / label).mkdir()
        for number in range(16):
            height, width = random.integers(20, 60, 2)
            stripes = (np.arange(height)[:, None] if label == "across" else np.arange(width)) // 4 % 2 * 180
            pixels = np.broadcast_to(stripes, (height, width)) + random.integers(0, 60, (height, width))
            picture = Image.fromarray(pixels.astype(np.uint8)).convert("RGB" if number % 2 else "L")
            picture.save(root / label / f"{number:02d}.{'jpg' if number % 3 else 'png'}")
    return root


@pytest.fixture(scope="module")
def compared(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("compare") / "run"
    arguments = ["compare", str(photos), "--out", str(out), "--seeds", "2", "--labels-per-class", "4"]
    arguments += ["--categories", "4", "--contenders", *CONTENDERS, *TINY, *SHORT]
    assert cli.run(arguments) == 0
    return out


def test_compare_measures_every_contender_on_every_draw(compared):
    result = read_json(compared / "results" / "compare.json")
    assert set(result["numbers"]) == set(CONTENDERS)
    assert all(0 <= value <= 1 for value in result["numbers"].values())
    assert len(result["tables"][0]["rows"]) == len(CONTENDERS)
    assert "draws" in result["text"]
    assert all(row["low"] <= row["mean"] <= row["high"] for row in result["figures"][0]["rows"])
    for contender in result["numbers"]:
        guesses = [read_json(next((compared / f"{contender}-draw{d}" / "results").glob("*.json"))) for d in range(2)]
        assert len(guesses[0]["predictions"]) == len(guesses[1]["predictions"]) > 0
        mean = np.mean([g["numbers"]["accuracy"] for g in guesses])
        assert result["numbers"][contender] == pytest.approx(mean)


def test_compare_leaves_a_report_an_encoder_and_a_classifier_that_timm_loads(compared, tmp_path):
    page = (compared / "report.html").read_text(encoding="utf-8")
    assert "down &lt;b&gt;" in page
    assert "down <b>" not in page
    for what in ("encoder", "classifier"):
        assert cli.run(["export", str(compared), "--what", what, "--out", str(tmp_path / what)]) == 0
        network = eval(usage(tmp_path / what), {"timm": timm})  # the line that the command prints
        with torch.no_grad():
            assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 2 if what == "classifier" else 512)
    assert read_json(tmp_path / "classifier" / "config.json")["label_names"] == ["across", "down <b>"]


def test_the_exported_classifier_guesses_as_the_measured_one_did(compared, photos):
    from firstlight.data.source import open_split
    from firstlight.events import drain
    from firstlight.views.make import show

    best = max(CONTENDERS[1:], key=read_json(compared / "results" / "compare.json")["numbers"].get)
    network = eval(usage(compared / "classifier"), {"timm": timm})
    test = drain(open_split(str(photos), size=32, seed=0)).test
    pictures = show(test.read(np.arange(len(test))), size=32, channels=3)
    with torch.no_grad():
        guesses = network.eval()(pictures).argmax(1).tolist()
    measured = read_json(next((compared / f"{best}-draw0" / "results").glob("*.json")))
    assert guesses == measured["predictions"]


def test_a_finished_comparison_resumes_without_doing_anything_again(compared, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    before = read_json(copy / "results" / "compare.json")
    begun = time.monotonic()
    assert cli.run(["resume", str(copy)]) == 0
    assert read_json(copy / "results" / "compare.json") == before
    assert time.monotonic() - begun < 20


def test_a_lost_part_is_done_again_to_the_same_result(compared, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    before = read_json(copy / "results" / "compare.json")["numbers"]
    shutil.rmtree(copy / "scratch-draw1")
    (copy / "results" / "compare.json").unlink()
    assert cli.run(["resume", str(copy)]) == 0
    assert read_json(copy / "results" / "compare.json")["numbers"] == before


def test_nothing_is_overwritten(compared, photos, capsys):
    assert cli.run(["compare", str(photos), "--out", str(compared)]) == 2
    assert "is not empty ('firstlight resume" in capsys.readouterr().err


@pytest.mark.parametrize("made_before", [False, True])
def test_pictures_that_a_method_refuses_leave_no_run_behind(photos, tmp_path, capsys, made_before):
    run = tmp_path / "run"
    if made_before:
        run.mkdir()
    vit = ["--model", tiny.VIT, "--size", "32", "--device", "cpu", "--steps", "1", "--batch", "4"]
    arguments = ["pretrain", "--data", str(photos), *vit, "--out", str(run), "--method"]
    assert cli.run([*arguments, "igpt(colours=65536)"]) == 2
    assert "nearest: colours=" in capsys.readouterr().err
    assert run.exists() == made_before
    assert not made_before or not list(run.iterdir())
    assert cli.run([*arguments, "igpt(colours=4)"]) == 0
    assert cli.run([*arguments, "igpt(colours=65536)"]) == 2
    assert (run / "encoder").is_dir(), "what an earlier training left is not touched"


def test_pretrain_evaluate_finetune_report(photos, tmp_path, capsys):
    run = tmp_path / "pretrain"
    arguments = ["pretrain", "--categories", "4", "--steps", "4", "--batch", "8", "--out", str(run), *TINY]
    assert cli.run([*arguments, "--probe", str(photos), "--probe-every", "2"]) == 0
    steps = [event for event in read_events(run) if event["event"] == "step"]
    assert [event["step"] for event in steps] == [1, 2, 3, 4]
    assert [step["step"] for step in steps if any("knn" in name for name in step["values"])] == [2, 4]
    assert read_json(run / "recipe.json")["derived"]["optimisation"]["lr"] > 0

    measured = tmp_path / "evaluate"
    assert cli.run(["evaluate", str(photos), "--encoder", str(run), "--out", str(measured), "--device", "cpu"]) == 0
    assert {p.stem for p in (measured / "results").glob("*.json")} == {"knn", "linear", "svm"}

    tuned = tmp_path / "finetune"
    arguments = ["finetune", str(photos), "--encoder", str(run), "--steps", "6", "--batch", "8", "--out", str(tuned)]
    assert cli.run([*arguments, "--device", "cpu"]) == 0
    assert (tuned / "classifier" / "model.safetensors").exists()
    for folder in (run, measured, tuned):
        (folder / "report.html").unlink(missing_ok=True)
        assert cli.run(["report", str(folder)]) == 0
        assert "<svg" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_recipe_file_repeats_a_run_to_the_same_weights(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = firstlight.pretrain(model="resnet10t", size=32, categories=3, steps=3, batch=6, device="cpu")
    assert first == Path("runs/pretrain-001")
    assert cli.run(["run", "runs/pretrain-001/recipe.json"]) == 0
    weights = [Path(f"runs/pretrain-00{n}/encoder/model.safetensors").read_bytes() for n in (1, 2)]
    assert weights[0] == weights[1]


def test_render_writes_pictures_and_a_sheet(tmp_path):
    out = tmp_path / "pictures"
    few = ["--categories", "2", "--instances", "3", "--size", "32"]
    assert cli.run(["render", "fractal", *few, "--out", str(out)]) == 0
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert files[0] == "00000/00000_0000.png"
    assert len(files) == 6
    with Image.open(out / "00001" / "00001_0002.png") as picture:
        drawn = np.asarray(picture)
    assert np.array_equal(drawn, firstlight.render("fractal", category=1, instance=2, size=32))
    arguments = ["render", "fractal", *few, "--sheet"]
    assert cli.run([*arguments, "--out", str(tmp_path / "sheet.png")]) == 0
    with Image.open(tmp_path / "sheet.png") as picture:
        sheet = np.asarray(picture)
    last = np.lib.stride_tricks.sliding_window_view(sheet[-44:-12], (32, 32))[0]
    assert (last == drawn).all((1, 2)).any(), "the last class's last picture ends the sheet"
    assert cli.run([*arguments, "--out", str(tmp_path / "sheet.png")]) == 2


@once
def stopped(folder: Path) -> tuple[Path, int, str]:
    """A comparison that gets a signal in its first steps."""
    (folder / "photos").mkdir()
    out = folder / "run"
    command = [sys.executable, "-m", "firstlight", "compare", str(striped(folder / "photos")), "--out", str(out)]
    command += ["--seeds", "2", *TINY, "--pretrain-steps", "400", "--finetune-steps", "20", "--categories", "4"]
    process = subprocess.Popen([*command, "--pretrain-batch", "8"], stderr=subprocess.PIPE, text=True)
    log = out / "pretrain-fractal" / "events.jsonl"
    limit = time.monotonic() + 120
    while not (log.exists() and b'"step"' in log.read_bytes()) and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=240)[1]
    return out, process.returncode, said


def test_a_stopped_comparison_still_has_a_report_and_goes_on():
    out, status, said = stopped()
    assert status == 143, said
    assert "Traceback" not in said
    assert "<svg" in (out / "report.html").read_text(encoding="utf-8")
    assert any((out / "pretrain-fractal" / "checkpoints").glob("step_*"))


def test_the_api_refuses_what_the_command_line_refuses():
    with pytest.raises(InputError, match="has no setting 'stepz'; did you mean 'steps'"):
        firstlight.pretrain(stepz=3)
    with pytest.raises(InputError, match="no data at"):
        firstlight.compare("nowhere")


def test_recipe_json_holds_everything(compared):
    record = json.loads((compared / "recipe.json").read_text())
    assert record["recipe"] == "compare"
    assert record["settings"]["labels_per_class"] == 4
    assert record["derived"]["finetune_steps"] == 8
    assert {"torch", "numba", "firstlight"} <= set(record["versions"])
