"""Walking folders: every picture once, in an order that names alone decide, and nothing odd is ever opened."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstlight.data.folder import arrange, walk
from firstlight.errors import InputError
from firstlight.events import drain


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, dtype=np.uint8)).save(path, "PNG")
    return path


def test_files_and_folders_are_sorted_and_nested_ones_found(tmp_path):
    for name in ("b/2.png", "a/deep/er/1.png", "a/10.png", "a/9.png", "root.png"):
        picture(tmp_path / name)
    found = drain(walk(tmp_path))
    assert found.files == ["a/10.png", "a/9.png", "a/deep/er/1.png", "b/2.png", "root.png"]
    assert found.folders == ["a", "a/deep", "a/deep/er", "b"]
    assert [found.others, found.junk, found.outside, found.refused] == [{}, {}, [], []]


def test_odd_names(tmp_path):
    names = ["日本語 🐈.png", "two\nlines.png", "50%.png", "-rf.png", "a b.png", "e\u0301.png", "\u00e9b.png"]
    for name in names:
        picture(tmp_path / "c" / name)
    try:
        Path(os.fsdecode(os.fsencode(tmp_path / "c") + b"/bad\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system holds Unicode names only")
    found = drain(walk(tmp_path))
    assert len(found.files) == 8
    entries, remarks = arrange(tmp_path, found)
    assert not remarks
    assert all(os.path.exists(entry.path) for entry in entries)
    for entry in entries:
        entry.name.encode("utf-8")
        assert "\n" not in entry.name
    assert {"c/bad\\xff.png", "c/two\\nlines.png", "c/\u00e9.png"} <= {entry.name for entry in entries}
    composed = [unicodedata.normalize("NFC", name) for name in found.files]
    assert composed == sorted(composed)


def test_links(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    picture(root / "a/1.png")
    picture(elsewhere / "far/2.png")
    picture(tmp_path / "3.png")
    os.symlink(root / "a", root / "a/loop")
    os.symlink(root, root / "a/up")
    os.symlink("/", root / "everything")
    os.symlink(root / "a", root / "same")
    os.symlink(elsewhere, root / "out")
    os.symlink(root, elsewhere / "back")
    os.symlink(tmp_path / "3.png", root / "a/3.png")
    os.symlink(root / "a/1.png", root / "a/1 again.png")
    os.symlink("nowhere", root / "a/dangling.png")
    os.symlink("itself", root / "a/itself")
    found = drain(walk(root))
    assert found.files == ["a/1 again.png", "a/1.png", "a/3.png", "out/far/2.png"]
    assert found.outside == ["a/3.png", "out"]
    assert found.refused == ["a/dangling.png", "a/itself", "a/up", "everything", "out/back"]


def test_a_root_that_is_a_link(tmp_path):
    picture(tmp_path / "real/a/1.png")
    os.symlink(tmp_path / "real", tmp_path / "root")
    found = drain(walk(tmp_path / "root"))
    assert found.files == ["a/1.png"]
    assert not found.outside


def test_junk_is_counted_and_pipes_are_never_opened(tmp_path, monkeypatch):
    picture(tmp_path / "a/1.png")
    for name in (".DS_Store", "Thumbs.db", "._1.png", "desktop.ini"):
        (tmp_path / "a" / name).write_bytes(b"x")
    picture(tmp_path / "__MACOSX/a/2.png")
    picture(tmp_path / ".cache/3.png")
    (tmp_path / "a/empty.png").touch()
    os.mkfifo(tmp_path / "a/pipe.png")
    os.mkfifo(tmp_path / "a/pipe")
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args: opened.append(self.name) or real(self, *args))
    found = drain(walk(tmp_path))
    assert found.files == ["a/1.png"]
    assert found.junk == {"hidden or system": 6, "empty": 1, "not a file": 2}
    assert opened == []


def test_files_of_other_kinds_are_counted_and_pictures_without_suffix_found(tmp_path):
    picture(tmp_path / "a/no suffix")
    picture(tmp_path / "a/odd.bin")
    for name in ("notes.txt", "more.TXT", "drawing.svg", "BMW", "readme"):
        (tmp_path / "a" / name).write_bytes(b"BMW is a firm")
    (tmp_path / "a/page.jpg").write_bytes(b"<html>")
    found = drain(walk(tmp_path))
    assert found.files == ["a/no suffix", "a/odd.bin", "a/page.jpg"]
    assert found.others == {".txt": 2, ".svg": 1, "no suffix": 2}


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="gone"):
        drain(walk(tmp_path / "gone"))


def test_labels_of_one_level_of_classes(tmp_path):
    for name in ("cat/1.png", "dog/x/2.png", "stray.png"):
        picture(tmp_path / name)
    (tmp_path / "empty").mkdir()
    entries, remarks = arrange(tmp_path, drain(walk(tmp_path)))
    assert [(entry.name, entry.label, entry.side) for entry in entries] == [
        ("cat/1.png", "cat", None),
        ("dog/x/2.png", "dog", None),
        ("stray.png", None, None),
    ]
    assert remarks == ["no pictures in empty; left out"]


def test_labels_and_sides_of_train_and_test(tmp_path):
    for name in (
        "Train/cat/1.png",
        "validation/cat/2.png",
        "test/dog/x/3.png",
        "test/4.png",
        "extra/cat/5.png",
        "6.png",
    ):
        picture(tmp_path / name)
    (tmp_path / "Train/empty").mkdir()
    entries, remarks = arrange(tmp_path, drain(walk(tmp_path)))
    assert [(entry.name, entry.label, entry.side) for entry in entries] == [
        ("Train/cat/1.png", "cat", "train"),
        ("test/4.png", None, "test"),
        ("test/dog/x/3.png", "dog", "test"),
        ("validation/cat/2.png", "cat", "val"),
    ]
    assert sorted(remarks) == [
        "left out because there is a train folder: extra/ (1)",
        "left out because there is a train folder: the folder itself (1)",
        "no pictures in Train/empty; left out",
    ]
