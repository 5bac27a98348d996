"""Sets of files drawn from formulas: what shards hold, restarts, races, full disks, signals and kills."""

import errno
import gc
import hashlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstlight import cli, runs, spec
from firstlight.data import _disk, shards
from firstlight.data._tar import Archive, files
from firstlight.data.formula import FormulaPictures
from firstlight.data.shards import FileSet
from firstlight.errors import CorruptError, DiskError, InputError
from firstlight.events import Warned, drain
from firstlight.formulas import Draw, Formula, Params, annotated, picture
from firstlight.formulas.fractal import Fractal
from firstlight.recipe.render import Render
from once import once

HERE = Path(__file__).parent
FEW = Fractal(points=2000, min_fill=0.01)
SMALL = {"formula": "fractal(points=2000, min_fill=0.01)", "categories": 3, "instances": 7, "size": 24, "shard_size": 4}
PICTURES, FORMS = 21, ("tar", "folders")


@dataclass(frozen=True)
class Noted(Formula):
    """Grey squares with a mask, a box and labels, for the tests."""

    size: int = 8

    def category(self, draw: Draw) -> Params:
        return {"grey": np.array(50 + draw.category)}

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        return self.annotated(params, size, draw)["picture"]

    def annotated(self, params: Params, size: int, draw: Draw) -> Params:
        left = int(draw.integers(0, size - self.size))
        whole, mask = np.zeros((2, size, size), np.uint8)
        whole[: self.size, left : left + self.size] = params["grey"]
        mask[: self.size, left : left + self.size] = 1 + draw.category
        return {
            "picture": whole,
            "mask": mask,
            "boxes": np.array([[left, 0, left + self.size, self.size]], np.float32),
            "labels": np.array([draw.category]),
            "present": np.eye(3, dtype=np.uint8)[draw.category],
        }


@dataclass(frozen=True)
class Cloud(Formula):
    """Random points, for the tests."""

    @property
    def kind(self):
        return "cloud"

    def category(self, draw: Draw) -> Params:
        return {"scale": draw.uniform(1, 2)}

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        return (draw.uniform(-1, 1, (50, 3)) * params["scale"]).astype(np.float32)


# What a shard holds


@pytest.mark.parametrize("order", ["classes", "shuffled"])
@pytest.mark.parametrize(("categories", "instances", "shard_size"), [(3, 7, 4), (1, 1, 5), (5, 2, 10), (4, 3, 1)])
def test_every_picture_is_in_one_shard(order, categories, instances, shard_size):
    made = FileSet(FEW, categories, instances, 24, format="tar", order=order, shard_size=shard_size)
    parts = [made.numbers(shard).tolist() for shard in range(made.shards)]
    assert sorted(itertools.chain(*parts)) == list(range(categories * instances))
    assert all(len(part) == shard_size for part in parts[:-1])


def test_shuffled_shards_mix_the_classes_by_the_seed():
    made = FileSet(FEW, 20, 50, 24, format="tar", order="shuffled", shard_size=100)
    assert len(set(made.numbers(0) // 50)) > 15
    other = FileSet(FEW, 20, 50, 24, seed=1, format="tar", order="shuffled", shard_size=100)
    assert made.numbers(0).tolist() != other.numbers(0).tolist()


def test_an_archive_names_nobody_and_no_time():
    buffer = io.BytesIO()
    archive = Archive(buffer)
    for name, content in (("a.cls", b"3"), ("a.png", bytes(range(256)) * 5)):
        archive.add(name, content)
    archive.end()
    assert archive.size == len(buffer.getvalue()) == tarfile.RECORDSIZE
    assert archive.digest.hexdigest() == hashlib.sha256(buffer.getvalue()).hexdigest()
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as read:
        members = read.getmembers()
        assert [read.extractfile(member).read() for member in members] == [b"3", bytes(range(256)) * 5]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}


def webdataset_reads(folder: Path, names: list[str]) -> list[dict]:
    """What the webdataset library makes of some shards."""
    webdataset = pytest.importorskip("webdataset")
    found = list(webdataset.WebDataset([str(folder / name) for name in names], shardshuffle=False).decode("l8"))
    gc.collect()  # it leaves files to be closed by chance, which warns
    return found


webdataset_leaves_files_open = pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO name='.*SHARDS-")


@webdataset_leaves_files_open
def test_webdataset_reads_the_shards(tmp_path):
    out = tmp_path / "set"
    drain(Render(**SMALL, format="tar", out=out).run())
    names = [record["name"] for record in json.loads((out / "manifest.json").read_text())["shards"]]
    assert names == [f"SHARDS-{shard:06d}.tar" for shard in range(6)]
    found = [(sample["__key__"], sample["png"], sample["cls"]) for sample in webdataset_reads(out, names)]
    assert len(found) == PICTURES
    for key, pixels, label in found:
        category, instance = map(int, key.split("_"))
        assert label == category
        np.testing.assert_array_equal(pixels, picture(FEW, category, instance, size=24))
    labels = [label for _, _, label in found]
    assert labels != sorted(labels), "archives are shuffled, unless told otherwise"


def _draw_all(made: FileSet, folder: Path) -> None:
    folder.mkdir()
    (folder / "recipe.json").write_text("{}")
    pictures = drain(shards.open_pictures(made, folder))
    for shard in range(made.shards):
        for _ in shards.draw(made, shard, pictures, folder):
            pass
    assert shards.complete(made, folder)


@webdataset_leaves_files_open
def test_masks_and_boxes_travel_with_their_picture(tmp_path):
    made = FileSet(Noted(), 3, 2, 32, format="tar")
    _draw_all(made, tmp_path / "tar")
    found = webdataset_reads(tmp_path / "tar", ["SHARDS-000000.tar"])
    assert [sample["__key__"] for sample in found] == [made.key(number) for number in range(6)]
    for number, sample in enumerate(found):
        (expected,) = FormulaPictures(Noted(), categories=3, instances=2, size=32).annotated(np.array([number]))
        np.testing.assert_array_equal(sample["png"], expected["picture"])
        np.testing.assert_array_equal(sample["mask.png"], expected["mask"])
        assert sample["json"] == {
            "boxes": expected["boxes"].tolist(),
            "labels": [number // 2],
            "present": [number // 2],
        }

    made, folder = FileSet(Noted(), 3, 2, 32, shard_size=4), tmp_path / "folders"
    _draw_all(made, folder)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*_*.*")}
    assert names == {
        f"{folder}/{category:05d}/{category:05d}_{instance:04d}.{ending}"
        for folder, ending in (("images", "png"), ("masks", "png"), ("notes", "json"))
        for category in range(3)
        for instance in range(2)
    }
    assert all(shards.intact(made, number, record, folder) for number, record in shards.finished(made, folder).items())


@webdataset_leaves_files_open
def test_clouds_are_arrays(tmp_path):
    made = FileSet(Cloud(), 2, 2, 32, format="tar")
    _draw_all(made, tmp_path / "tar")
    for number, sample in enumerate(webdataset_reads(tmp_path / "tar", ["SHARDS-000000.tar"])):
        np.testing.assert_array_equal(sample["npy"], picture(Cloud(), number // 2, number % 2, size=32))
        assert sample["npy"].dtype == np.float32
    _draw_all(FileSet(Cloud(), 2, 2, 32), tmp_path / "folders")
    assert np.load(tmp_path / "folders/00001/00001_0000.npy").shape == (50, 3)


def test_a_clip_and_what_else_is_known():
    clip, depth = np.arange(256, dtype=np.uint8).reshape(4, 8, 8), np.eye(8, dtype=np.float32)
    found = files({"clip": clip, "depth": depth, "labels": np.array([3])}, 7)
    assert list(found) == ["cls", "npy", "depth.npy", "json"]
    np.testing.assert_array_equal(np.load(io.BytesIO(found["npy"])), clip)
    np.testing.assert_array_equal(np.load(io.BytesIO(found["depth.npy"])), depth)
    assert (found["cls"], found["json"]) == (b"7", b'{"labels": [3]}')


@pytest.mark.parametrize("family", spec.names("formulas"))
def test_every_family_can_be_written(family, tmp_path):
    drain(Render(formula=family, categories=2, instances=2, size=32, format="tar", out=tmp_path / "set").run())
    formula = spec.build("formulas", family, Formula)
    (record,) = json.loads((tmp_path / "set/manifest.json").read_text())["shards"]
    with tarfile.open(tmp_path / "set" / record["name"]) as archive:
        found = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}
    for number in range(4):
        key, known = f"{number // 2:05d}_{number % 2:04d}", annotated(formula, number // 2, number % 2, size=32)
        expected = {f"{key}.{ending}": content for ending, content in files(known, number // 2).items()}
        assert expected.items() <= found.items()
        if formula.kind == "picture":
            with Image.open(io.BytesIO(found[f"{key}.png"])) as read:
                np.testing.assert_array_equal(np.asarray(read), known["picture"])
        else:
            np.testing.assert_array_equal(np.load(io.BytesIO(found[f"{key}.npy"])), known[formula.kind])


# Restarts


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", params=FORMS)
def whole(request, tmp_path_factory) -> Path:
    """A set drawn without interruption."""
    out = tmp_path_factory.mktemp(request.param) / "set"
    drain(Render(**SMALL, format=request.param, out=out).run())
    return out


def fmt(whole: Path) -> str:
    return json.loads((whole / "manifest.json").read_text())["format"]


def test_the_manifest_says_what_there_is(whole):
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["formula"].startswith("fractal(mode='patch', ")
    assert "points=2000" in manifest["formula"]
    assert {
        "categories": 3,
        "instances": 7,
        "size": 24,
        "seed": 0,
        "pictures": 21,
        "schema": 1,
    }.items() <= manifest.items()
    assert [record["pictures"] for record in manifest["shards"]] == [4, 4, 4, 4, 4, 1]
    assert set(manifest["versions"]) == {"firstlight", "numpy", "numba"}
    assert not [name for name in tree(whole) if "/." in f"/{name}"], "nothing hidden is left"
    if fmt(whole) == "tar":
        for record in manifest["shards"]:
            content = (whole / record["name"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (record["bytes"], record["sha256"])


def test_threads_do_not_change_a_byte(whole, tmp_path, monkeypatch):
    monkeypatch.setattr("firstlight.data.formula.threads_here", lambda: 3)
    drain(Render(**SMALL, format=fmt(whole), out=tmp_path / "threads").run())
    assert tree(tmp_path / "threads") == tree(whole)


@once
def in_parts(folder: Path) -> dict[str, tuple[list[int], dict[str, bytes]]]:
    """Four processes at a time, each part drawn by two of them: what they end with, and the files of their set."""
    told = {}
    for form in FORMS:
        command = [sys.executable, "-m", "firstlight", "render", SMALL["formula"], "--format", form]
        for name in ("categories", "instances", "size", "shard_size"):
            command += [f"--{name.replace('_', '-')}", str(SMALL[name])]
        command += ["--out", str(folder / form), "--shard"]
        parts = [subprocess.Popen([*command, f"{number % 2 + 1}/2"]) for number in range(4)]
        told[form] = [part.wait(60) for part in parts], tree(folder / form)
    return told


def test_processes_do_not_change_a_byte(whole):
    assert in_parts()[fmt(whole)] == ([0] * 4, tree(whole))


def test_what_is_finished_is_not_drawn_again_and_what_is_altered_is(whole, tmp_path, monkeypatch):
    out = tmp_path / "set"
    shutil.copytree(whole, out)
    drawn = []
    real = shards.draw
    monkeypatch.setattr(shards, "draw", lambda made, shard, *rest: drawn.append(shard) or real(made, shard, *rest))
    again = Render(**SMALL, format=fmt(whole), out=out)
    drain(again.run())
    assert drawn == []
    victims = sorted(path for path in out.rglob("*_*.png" if fmt(whole) == "folders" else "*.tar"))
    content = bytearray(victims[0].read_bytes())
    content[len(content) // 2] ^= 1
    victims[0].write_bytes(content)  # shard 0: another bit
    victims[-1].unlink()  # shard 5
    middle = victims[len(victims) // 2]
    middle.write_bytes(middle.read_bytes()[:-1])  # torn
    said = [event.text for event in again.run() if isinstance(event, Warned)]
    assert len(said) == 3
    assert drawn[0] == 0
    assert drawn[-1] == 5
    assert len(drawn) == 3
    assert tree(out) == tree(whole)


def test_a_lost_manifest_or_record_is_made_again(whole, tmp_path):
    out = tmp_path / "set"
    shutil.copytree(whole, out)
    again = Render(**SMALL, format=fmt(whole), out=out)
    for content in (None, b"", b"[1", b'{"shards": 3}', b'{"shards": [1, 2, 3, 4, 5, 6]}'):
        (out / "manifest.json").unlink()
        if content is not None:
            (out / "manifest.json").write_bytes(content)
        if content and b"1, 2" in content:  # names shards, but not these
            with pytest.raises(CorruptError, match="shard 0 is not the one"):
                drain(again.run())
            continue
        drain(again.run())
        assert tree(out) == tree(whole)


def test_classes_that_were_damaged_are_not_taken_for_the_sets_own(whole, tmp_path):
    out = tmp_path / "set"
    shutil.copytree(whole, out)
    kept = out / shards.CATEGORIES
    content = bytearray(kept.read_bytes())
    content[-5] ^= 32  # still a codebook, of other numbers
    kept.write_bytes(content)
    again = Render(**SMALL, format=fmt(whole), out=out)
    with pytest.raises(CorruptError, match=r"categories.safetensors' is not the one that .*manifest.json' names"):
        drain(again.run())
    kept.unlink()
    drain(again.run())
    assert tree(out) == tree(whole)


def test_parts_of_a_job_array_make_the_whole(whole, tmp_path, capsys):
    out = tmp_path / "set"
    for number in (2, 3, 1):
        assert not (out / "manifest.json").exists()
        drain(Render(**SMALL, format=fmt(whole), shard=f"{number}/3", out=out).run())
    assert tree(out) == tree(whole)
    drain(Render(**SMALL, format=fmt(whole), shard="9/9", out=out).run())  # a part without shards
    assert tree(out) == tree(whole)


def test_resume_reads_the_settings_from_the_folder(whole, tmp_path, monkeypatch):
    out = tmp_path / "set"
    monkeypatch.chdir(tmp_path)
    drain(Render(**SMALL, format=fmt(whole), shard="1/2", out=out).run())
    assert cli.run(["resume", str(out)]) == 0
    assert tree(out) == tree(whole)
    assert cli.run(["run", str(out / "recipe.json"), "--out", str(tmp_path / "other")]) == 0
    assert tree(tmp_path / "other") == tree(whole)
    assert cli.run(["run", str(out / "recipe.json")]) == 0
    assert tree(tmp_path / "runs/render-001") == tree(whole)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": 25}, "size is 24 there and 25 here"),
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"instances": 8}, "instances is 7 there and 8 here"),
        ({"shard_size": 5}, "shard-size is 4 there and 5 here"),
        ({"formula": "fractal(points=2001, min_fill=0.01)"}, "points is 2000 there and 2001 here"),
        ({"formula": "line"}, "formula is 'fractal' there and 'line' here"),
    ],
)
def test_other_settings_are_refused_by_name(whole, change, said):
    before = tree(whole)
    with pytest.raises(InputError, match=said):
        drain(Render(**(SMALL | change), format=fmt(whole), out=whole).run())
    assert tree(whole) == before


def test_settings_may_be_written_otherwise(whole):
    drain(Render(**(SMALL | {"formula": "fractal(min_fill=0.01,points=2000)"}), format=fmt(whole), out=whole).run())


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="is not empty, and holds no rendered set"):
        drain(Render(**SMALL, out=out).run())
    (out / "recipe.json").write_text('{"recipe": "pretrain", "settings": {}}')
    with pytest.raises(InputError, match="something other than a rendered set"):
        drain(Render(**SMALL, out=out).run())
    (out / "recipe.json").write_text('{"recipe"')
    with pytest.raises(CorruptError, match="is not valid JSON"):
        drain(Render(**SMALL, out=out).run())
    assert sorted(tree(out)) == ["recipe.json", "thesis.txt"]


def test_classes_from_a_codebook_are_used_kept_and_held_to(tmp_path):
    drain(Render(**(SMALL | {"seed": 5}), out=tmp_path / "five").run())
    book = tmp_path / "five/categories.safetensors"
    given = Render(**SMALL, codebook=book, out=tmp_path / "set")
    drain(given.run())
    params = FormulaPictures(FEW, categories=3, instances=1, size=24, seed=5).params(1)
    with Image.open(tmp_path / "set/00001/00001_0002.png") as read:
        np.testing.assert_array_equal(np.asarray(read), picture(FEW, 1, 2, size=24, params=params))
    kept = tree(tmp_path / "set")
    with pytest.raises(InputError, match=r"codebook is '.*' there and None here"):
        drain(Render(**SMALL, out=tmp_path / "set").run())
    with pytest.raises(InputError, match="categories=4: the codebook holds 3"):
        drain(Render(**(SMALL | {"categories": 4}), codebook=book, out=tmp_path / "four").run())
    assert not (tmp_path / "four").exists()
    shutil.copy(tmp_path / "five/categories.safetensors", tmp_path / "book")
    drain(Render(**(SMALL | {"seed": 6}), out=tmp_path / "six").run())
    shutil.copy(tmp_path / "six/categories.safetensors", book)
    with pytest.raises(InputError, match="holds other classes than"):
        drain(given.run())
    book.unlink()
    drain(given.run(resume=True))
    assert tree(tmp_path / "set") == kept


def test_categories_are_found_once(tmp_path):
    made = FileSet(FEW, 3, 7, 24)
    (tmp_path / "recipe.json").write_text("{}")
    with open(tmp_path / "recipe.json", "r+b") as held:
        runs.fcntl.flock(held, runs.fcntl.LOCK_EX)
        waiting = shards.open_pictures(made, tmp_path)
        assert "another process is finding the categories" in next(waiting).text
        runs.fcntl.flock(held, runs.fcntl.LOCK_UN)
    drain(waiting)
    assert (tmp_path / "categories.safetensors").exists()
    second = shards.open_pictures(made, tmp_path)
    with pytest.raises(StopIteration):
        next(second)


def test_two_that_create_one_file(tmp_path, monkeypatch):
    assert _disk.create(tmp_path / "file", b"one")
    assert not _disk.create(tmp_path / "file", b"two")

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    assert not _disk.create(tmp_path / "file", b"two")
    assert _disk.create(tmp_path / "other", b"two")
    assert tree(tmp_path) == {"file": b"one", "other": b"two"}


# Disks and signals


def _full_after(calls: int, real, made: list[int]):
    """The same function, until it has been called so often that the disk is full."""

    def call(*arguments, **named):
        made[0] += 1
        if made[0] > calls:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **named)

    return call


@pytest.mark.parametrize(
    "place", [(os, "fsync"), (Path, "replace"), (Path, "write_bytes"), (Archive, "_write")], ids=str
)
def test_a_full_disk_is_named_and_nothing_finished_is_lost(whole, tmp_path, monkeypatch, place):
    if (place[1] == "_write" and fmt(whole) == "folders") or (place[1] == "write_bytes" and fmt(whole) == "tar"):
        pytest.skip("not called in this format")
    real, made = getattr(*place), [0]
    with monkeypatch.context() as patch:
        patch.setattr(*place, _full_after(10**6, real, made))
        drain(Render(**SMALL, format=fmt(whole), out=tmp_path / "counted").run())
    for part in (3, 2):
        out, half = tmp_path / f"set-{part}", made[0] // part
        said = r"(?s)cannot write .*No space left on device; [1-5] of 6 shards are done and kept; the same command"
        with monkeypatch.context() as patch:
            patch.setattr(*place, _full_after(half, real, [0]))
            with pytest.raises(DiskError, match=said) as told:
                drain(Render(**SMALL, format=fmt(whole), out=out).run())
        assert str(out) in str(told.value)
        assert not list(out.glob(".drawing-*"))
        drain(Render(**SMALL, format=fmt(whole), out=out).run())
        assert tree(out) == tree(whole)


ENDINGS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


@once
def signalled(folder: Path) -> dict[int, tuple[Path, int, str]]:
    """Renderings that get a signal after their first shard."""
    told = {}
    for number, _ in ENDINGS:
        out = folder / f"set-{number}"
        command = [sys.executable, "-m", "firstlight", "render", "fractal", "--instances", "2000", "--size", "64"]
        command += ["--shard-size", "50", "--format", "tar", "--out", str(out)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        limit = time.monotonic() + 60
        while not list(out.glob("*.tar")) and time.monotonic() < limit:
            time.sleep(0.01)
        process.send_signal(number)
        said = process.communicate(timeout=240)[1]
        told[int(number)] = out, process.returncode, said
    return told


@pytest.mark.parametrize(("number", "expected"), ENDINGS)
def test_a_signal_ends_it_with_nothing_torn(number, expected):
    out, status, said = signalled()[number]
    assert status == expected, said
    assert "Traceback" not in said
    assert not list(out.glob(".drawing-*"))
    for path in out.glob("*.tar"):
        with tarfile.open(path) as archive:
            assert len(archive.getmembers()) == 100
    assert not (out / "manifest.json").exists()


@pytest.mark.parametrize("form", FORMS)
def test_whatever_is_unfinished_has_a_name_that_is_tidied_up(tmp_path, monkeypatch, form):
    """A kill may come at any flush; what has another name than the finished files must begin like a drawing."""
    seen, real = set(), os.fsync

    def fsync(descriptor: int) -> None:
        seen.update(path.relative_to(tmp_path / "set").as_posix() for path in (tmp_path / "set").rglob("*"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    drain(Render(**SMALL, format=form, out=tmp_path / "set").run())
    left = {path.relative_to(tmp_path / "set").as_posix() for path in (tmp_path / "set").rglob("*")}
    unfinished = {name for name in seen - left if not name.startswith(".shard-")}
    assert any("categories.safetensors" in name for name in unfinished)
    assert {name for name in unfinished if not name.startswith(".drawing-")} == set()


KILLS = 20


@once
def killed(folder: Path) -> dict[str, dict]:
    told = {}
    for form in FORMS:
        (folder / form).mkdir()
        done = subprocess.run(
            [sys.executable, __file__, form, str(folder / form)],
            env=os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told[form] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("form", FORMS)
def test_killed_again_and_again_it_ends_with_the_same_files(form):
    record = killed()[form]
    assert record["kills"] >= KILLS
    assert record["torn"] >= 1, "no kill left anything unfinished: the test shows nothing"
    assert record["finished"] >= 1
    assert record["different"] == []


def _kill_trials(form: str, folder: Path) -> dict:
    """Renders in forked children that are killed after a random time, until sets are whole in spite of it."""
    settings = SMALL | {"instances": 100, "shard_size": 12, "format": form}
    drain(Render(**settings, out=folder / "reference").run())
    expected, draw = tree(folder / "reference"), random.Random(0)
    told, longest = {"kills": 0, "torn": 0, "finished": 0, "different": []}, 0.08
    out = folder / "set-0"
    while told["kills"] < 10 * KILLS and (told["kills"] < KILLS or not told["torn"] or not told["finished"]):
        child = os.fork()
        if not child:
            drain(Render(**settings, out=out).run())
            os._exit(0)
        if told["kills"] < KILLS or told["finished"]:
            time.sleep(draw.uniform(0.002, longest))
            os.kill(child, signal.SIGKILL)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        told["kills"] += killed
        longest *= 1 if told["torn"] else 1.1  # where nothing was begun yet, the machine is slow
        told["torn"] += any(out.glob(".drawing-*"))
        for path in out.glob("*.tar"):  # no kill ever leaves a torn shard under its name
            if path.read_bytes() != expected[path.name]:
                told["different"].append(path.name)
        if not killed:
            told["finished"] += 1
            told["different"] += [] if tree(out) == expected else [out.name]
            out = folder / f"set-{told['finished']}"
    return told


if __name__ == "__main__":
    print(json.dumps(_kill_trials(sys.argv[1], Path(sys.argv[2]))))
