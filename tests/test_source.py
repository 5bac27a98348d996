"""Opening users' pictures: every layout, every remark, every refusal, and the same set on every machine."""

import math
import os
import threading
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstlight.data import Subset
from firstlight.data.files import FilePictures
from firstlight.data.held import HeldPictures, available_memory, read_all
from firstlight.data.source import open_pictures, open_split
from firstlight.data.split import digests
from firstlight.errors import InputError
from firstlight.events import Note, Progress, Warned, drain


def picture(path: Path, value: int) -> Path:
    """A picture that differs with ``value``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(value).integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(path, "PNG")
    return path


def tree(root: Path, **counts: int) -> Path:
    """Class folders with so many different pictures each."""
    start = 0
    for name, count in counts.items():
        for number in range(count):
            picture(root / name / f"{number:03}.png", start + number)
        start += count
    return root


def heard(events):
    """What a generator returned, the texts of its notes and those of its warnings."""
    notes, warned = [], []
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value, notes, warned
        if isinstance(event, Note):
            notes.append(event.text)
        if isinstance(event, Warned):
            warned.append(event.text)


def write_list(root: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = root / "list.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def names(pictures) -> list[str]:
    return [pictures.name(number) for number in range(len(pictures))]


def test_class_folders_are_divided_by_content(tmp_path):
    split, notes, warned = heard(open_split(tree(tmp_path, cat=20, dog=8), size=8))
    assert split.train.classes == split.test.classes == ("cat", "dog")
    assert np.bincount(split.train.labels).tolist() == [15, 6]
    assert np.bincount(split.test.labels).tolist() == [5, 2]
    assert not set(names(split.train)) & set(names(split.test))
    assert warned == []
    assert any("7 are set aside by content" in note for note in notes)
    for number, pixels in enumerate(split.train.read(np.arange(21))):
        assert split.train.name(number).startswith(split.train.classes[split.train.labels[number]])
        assert pixels.shape == (10, 13, 3)  # the short side is a quarter more than 8


@pytest.mark.parametrize("other", ["test", "val", "Validation"])
def test_train_and_test_folders(tmp_path, other):
    tree(tmp_path / "train", cat=4, dog=3)
    picture(tmp_path / other / "dog/a.png", 100)
    picture(tmp_path / other / "cat/b.png", 101)
    split, _, warned = heard(open_split(tmp_path, size=None))
    assert (len(split.train), names(split.test)) == (7, [f"{other}/cat/b.png", f"{other}/dog/a.png"])
    assert split.test.labels.tolist() == [0, 1]
    assert warned == []


def test_validation_pictures_are_left_out_where_there_are_test_pictures(tmp_path):
    tree(tmp_path / "train", cat=4, dog=3)
    for number, name in enumerate(("val/cat/v.png", "test/cat/t.png", "test/dog/t.png")):
        picture(tmp_path / name, 100 + number)
    split, notes, _ = heard(open_split(tmp_path, size=8))
    assert names(split.test) == ["test/cat/t.png", "test/dog/t.png"]
    assert any("validation pictures (1)" in note for note in notes)


def test_a_train_folder_alone_is_divided(tmp_path):
    tree(tmp_path / "train", cat=8, dog=8)
    split, _, _ = heard(open_split(tmp_path, size=8))
    assert (len(split.train), len(split.test)) == (12, 4)


def test_leaks_are_reported_and_leave_the_training_set(tmp_path):
    tree(tmp_path / "train", cat=4, dog=3)
    picture(tmp_path / "test/cat/copy.png", 1)
    picture(tmp_path / "test/dog/new.png", 100)
    split, _, warned = heard(open_split(tmp_path, size=8))
    assert len(split.test) == 2
    assert "train/cat/001.png" not in names(split.train)
    assert len(split.train) == 6
    assert len(warned) == 1
    assert "left out of training because the test set holds them too (1)" in warned[0]
    assert "train/cat/001.png" in warned[0]


def test_a_class_that_leaks_wholly_is_refused(tmp_path):
    tree(tmp_path / "train", cat=4, dog=1)
    picture(tmp_path / "test/dog/copy.png", 4)
    with pytest.raises(InputError, match="no training picture is left in dog"):
        drain(open_split(tmp_path, size=8))


def test_one_picture_under_two_classes(tmp_path):
    tree(tmp_path, cat=6, dog=6)
    picture(tmp_path / "dog/copy.png", 2)
    split, _, warned = heard(open_split(tmp_path, size=8))
    assert any("cat/002.png = dog/copy.png" in text for text in warned)
    keys = [set(map(bytes, digests(side))) for side in (split.train, split.test)]
    assert not keys[0] & keys[1]


def test_classes_with_no_or_one_picture(tmp_path):
    tree(tmp_path, cat=6, dog=6, lone=1)
    (tmp_path / "none").mkdir()
    split, _, warned = heard(open_split(tmp_path, size=8))
    assert split.train.classes == ("cat", "dog", "lone")
    assert (2 in split.train.labels, 2 in split.test.labels) == (True, False)
    assert warned == ["no pictures in none; left out", "no test pictures, only training pictures, in lone (1)"]


def test_classes_that_differ_by_case_only(tmp_path):
    tree(tmp_path, Cat=3, cat=3, dog=3)
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system does not tell upper from lower case")
    split, _, warned = heard(open_split(tmp_path, size=8))
    assert split.train.classes == ("Cat", "cat", "dog")
    assert any("Cat, cat" in text for text in warned)


def test_one_class_only(tmp_path):
    tree(tmp_path / "photos", cat=3, dog=3)
    with pytest.raises(InputError, match=r"only one class, 'photos'.*did you mean .*photos, with cat, dog"):
        drain(open_split(tmp_path, size=8))
    pictures = drain(open_pictures(tmp_path, size=8))
    assert (len(pictures), pictures.classes, set(pictures.labels.tolist())) == (6, (), {-1})


def test_sides_are_not_taken_for_classes(tmp_path):
    tree(tmp_path / "val", cat=3, dog=3)
    tree(tmp_path / "test", dog=3, cat=3)
    with pytest.raises(InputError, match="has test, val but no train folder"):
        drain(open_split(tmp_path, size=8))


def test_test_classes_must_be_known(tmp_path):
    tree(tmp_path / "train", cat=3, dog=3)
    tree(tmp_path / "test", dog=1, cats=1)
    with pytest.raises(InputError, match=r"without training pictures: cats; is 'cats' 'cat'\?"):
        drain(open_split(tmp_path, size=8))


@pytest.mark.parametrize(("count", "stops"), [(3, False), (4, True)])
def test_broken_pictures_are_named_and_skipped_under_a_cap(tmp_path, count, stops):
    tree(tmp_path, cat=20, dog=20)
    for number in range(count):
        path = tmp_path / f"cat/{number:03}.png"
        path.write_bytes(path.read_bytes()[:200])
    if stops:
        with pytest.raises(InputError, match=r"\(4 of 40, allowed are 1%\): .*cat/000\.png: .*truncated"):
            drain(open_split(tmp_path, size=8))
        return
    split, _, warned = heard(open_split(tmp_path, size=8))
    assert len(split.train) + len(split.test) == 37
    assert "left out as unreadable (3 of 40 pictures): cat/000.png" in warned[0]


def test_the_cap_is_one_percent_of_a_larger_set(tmp_path):
    tree(tmp_path, a=250, b=250)
    for number in range(5):
        (tmp_path / f"a/{number:03}.png").write_bytes(b"<html>")
    assert len(drain(open_pictures(tmp_path, size=8))) == 495
    (tmp_path / "b/000.png").write_bytes(b"<html>")
    with pytest.raises(InputError, match="6 of 500"):
        drain(open_pictures(tmp_path, size=8))
    assert len(drain(open_pictures(tmp_path, size=8, max_broken=0.1))) == 494


def test_nothing_readable(tmp_path):
    for name in ("a/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"none of 2 pictures can be read: a/1\.jpg: an HTML page"):
        drain(open_split(tmp_path, size=8))


def test_values_that_are_not_finite_are_named(tmp_path):
    tree(tmp_path, cat=5, dog=5)
    Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)).save(tmp_path / "cat/nan.tif")
    _, _, warned = heard(open_split(tmp_path, size=8))
    assert "cat/nan.tif" in warned[0]
    assert "not finite" in warned[0]


def test_odd_names_and_junk_survive_the_whole_way(tmp_path):
    tree(tmp_path, **{"日本 🐈": 4, "-rf %s": 4})
    for number, name in enumerate((b"-rf %s/bad\xff.png", b"-rf %s/two\nlines.png")):
        try:
            os.rename(picture(tmp_path / "tmp.png", 100 + number), os.fsencode(tmp_path) + b"/" + name)
        except OSError:
            pytest.skip("this file system holds Unicode names only")
    os.mkfifo(tmp_path / "-rf %s" / "pipe.png")
    (tmp_path / "-rf %s" / ".DS_Store").write_bytes(b"x")
    split, notes, warned = heard(open_split(tmp_path, size=8))
    assert len(split.train) + len(split.test) == 10
    for text in (*names(split.train), *names(split.test), *split.train.classes, *notes, *warned):
        text.encode("utf-8")
        assert "\n" not in text
    assert any("1 hidden or system, 1 not a file" in note for note in notes)


def test_composed_and_decomposed_names_give_the_same_set(tmp_path):
    sets = []
    for form in ("NFC", "NFD"):
        root = tmp_path / form
        tree(root, **{unicodedata.normalize(form, "é"): 6, "ea": 6, "f": 6})
        sets.append(drain(open_split(root, size=8)))
    for side in ("train", "test"):
        first, second = (getattr(split, side) for split in sets)
        assert first.classes == second.classes == ("ea", "f", "\u00e9")
        assert names(first) == names(second)
        assert first.fingerprint() == second.fingerprint()


def test_neither_names_nor_folders_nor_threads_matter(tmp_path):
    tree(tmp_path / "one", cat=20, dog=20)
    tree(tmp_path / "two", cat=20, dog=20)
    for path in (tmp_path / "two/cat").iterdir():
        path.rename(path.with_name(f"z{path.name}.JPG"))
    one = drain(open_split(tmp_path / "one", size=8, seed=1, threads=1))
    two = drain(open_split(tmp_path / "two", size=8, seed=1, threads=4))
    assert one.train.fingerprint() == two.train.fingerprint()
    for first, second in zip(one.test.read(np.arange(10)), two.test.read(np.arange(10))):
        np.testing.assert_array_equal(first, second)
    assert drain(open_split(tmp_path / "one", size=8, seed=2)).train.fingerprint() != one.train.fingerprint()


def test_what_does_not_fit_is_read_from_its_files(tmp_path):
    tree(tmp_path, cat=9, dog=9)
    held = drain(open_split(tmp_path, size=8, threads=3))
    split, notes, _ = heard(open_split(tmp_path, size=8, threads=3, budget=1000))
    assert isinstance(held.train, Subset)
    assert isinstance(split.train, Subset)
    assert isinstance(held.train.pictures, HeldPictures)
    assert isinstance(split.train.pictures, FilePictures)
    assert any("decoded whenever it is needed" in note for note in notes)
    assert held.train.fingerprint() == split.train.fingerprint()
    assert names(held.train) == names(split.train)
    for numbers in (np.arange(len(split.train)), np.array([3]), np.array([], dtype=int)):
        for first, second in zip(held.train.read(numbers), split.train.read(numbers), strict=True):
            np.testing.assert_array_equal(first, second)
    name = split.train.name(0)
    (tmp_path / name).write_bytes(b"gone bad")
    with pytest.raises(InputError, match=name):
        split.train.read(np.array([0, 1]))


def test_progress_is_told_and_reading_can_be_cancelled(tmp_path):
    tree(tmp_path, cat=40, dog=40)
    seen = [event for event in open_split(tmp_path, size=8, threads=1) if isinstance(event, Progress)]
    assert [event.done for event in seen] == [32, 64, 80]
    assert {(event.task, event.total) for event in seen} == {("read pictures", 80)}
    events = open_split(tmp_path, size=8, threads=1)
    assert isinstance(next(events), Progress)
    events.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
    assert list(drain(read_all([], short=8, budget=0)).broken) == []


def test_nothing_is_written_beside_the_pictures(tmp_path):
    tree(tmp_path, cat=4, dog=4)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [tmp_path, *tmp_path.rglob("*")]}
    folders = [path for path in before if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert len(drain(open_pictures(tmp_path, size=8))) == 8
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [tmp_path, *tmp_path.rglob("*")]} == before


def test_flat_folders_are_unlabelled(tmp_path):
    for number in range(3):
        picture(tmp_path / f"{number}.png", number)
    pictures = drain(open_pictures(tmp_path, size=8))
    assert (len(pictures), pictures.classes, pictures.labels.tolist()) == (3, (), [-1] * 3)
    with pytest.raises(InputError, match=r"neither class folders nor labels; understood are PHOTOS/CLASS"):
        drain(open_split(tmp_path, size=8))


def test_learning_without_labels_leaves_the_test_pictures_alone(tmp_path):
    tree(tmp_path / "train", cat=4, dog=3)
    picture(tmp_path / "test/cat/t.png", 100)
    pictures, notes, _ = heard(open_pictures(tmp_path, size=8))
    assert len(pictures) == 7
    assert pictures.classes == ("cat", "dog")
    assert any(note == "left out as test pictures: 1" for note in notes)


def test_wrong_places(tmp_path):
    tree(tmp_path / "photos", cat=1, dog=1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.svg").write_text("<svg/>")
    for path, message in {
        "phots": r"no folder or list .*did you mean .*photos",
        "phots/train": r"did you mean .*photos",
        "empty": "holds no pictures; understood are",
        "texts": r"holds no pictures \(but files that are none: .svg 1\)",
        "photos/cat/000.png": "is a file, not a folder or a CSV list",
        "x" * 300: "no folder or list",
        "nul\0": "no folder or list",
    }.items():
        for opened in (open_split, open_pictures):
            with pytest.raises(InputError, match=message):
                drain(opened(str(tmp_path / path), size=8))
    with pytest.raises(InputError, match="did you mean digits"):
        drain(open_split("digit", size=8))
    with pytest.raises(InputError, match="no folder or list '~nobody/photos'"):
        drain(open_split("~nobody/photos", size=8))
    with pytest.raises(InputError, match="no folder or list ''"):
        drain(open_split("", size=8))
    with pytest.raises(InputError, match=r"between 0 and 1, got 1\.5"):
        drain(open_split("digits", size=8, test_fraction=1.5))


def test_only_test_pictures(tmp_path):
    tree(tmp_path / "pictures", cat=2, dog=2)
    path = write_list(tmp_path, "path,label,split", "pictures/cat/000.png,a,test", "pictures/dog/000.png,b,test")
    with pytest.raises(InputError, match="no training pictures"):
        drain(open_split(path, size=8))
    with pytest.raises(InputError, match="test pictures only"):
        drain(open_pictures(path, size=8))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lists(tmp_path, separator, encoding):
    tree(tmp_path / "all", cat=3, dog=3)
    picture(tmp_path / "all/é, 1.png", 50)
    lines = [separator.join((" Label", "PATH ", "Split"))]
    for number in range(3):
        side = ("train", "Train", "val")[number]
        lines += [separator.join((label, f"all/{label}/00{number}.png", side)) for label in ("dog", "cat")]
    lines += ["", separator.join(("cat", '"all/é, 1.png"', "training"))]
    split, _, warned = heard(open_split(write_list(tmp_path, *lines, encoding=encoding), size=8))
    assert split.train.classes == ("cat", "dog")
    assert names(split.train)[-1] == "all/é, 1.png"
    assert (split.train.labels.tolist(), names(split.test)) == ([0, 0, 1, 1, 0], ["all/cat/002.png", "all/dog/002.png"])
    assert warned == []


def test_a_list_without_split_is_divided_and_numbers_are_labels(tmp_path):
    tree(tmp_path, a=8, b=8)
    rows = [f"a/00{number}.png,1" for number in range(4)] + [f"a/00{number}.png,1.0" for number in range(4, 8)]
    rows += [f"b\\00{number}.png,10" for number in range(8)]
    split = drain(open_split(write_list(tmp_path, "path,label", *rows), size=8))
    assert split.train.classes == ("1", "10")
    assert (len(split.train), len(split.test)) == (12, 4)


def test_faults_in_lists(tmp_path):
    tree(tmp_path, a=2, b=2)
    good = ["a/000.png,x", "a/001.png,x", "b/000.png,y", "b/001.png,y"]
    for lines, message in {
        ("",): "is empty; expected a first line 'path,label'",
        ("path,label",): "lists no picture",
        ("path,lable", *good): "no column 'label', only 'path', 'lable'; is it 'lable'",
        ("file,label", *good): "no column 'path', only 'file', 'label'",
        ("path,path,label", "a,b,c"): "more than one column 'path'",
        ("path,label", *good, ",x"): r"line 6: no usable path \(''\)",
        ("path,label", *good, "a, b.png,x"): "line 6: 3 fields under 2 columns; quote paths",
        ("path,label", *good, "a/000.png,y"): "lines 2 and 6 both list 'a/000.png', but not alike",
        ("path,label,split", "a/000.png,x,tset"): "line 2: no split named 'tset'; did you mean 'test'",
        ("path,label,split", "a/000.png,x,"): "line 2: no split named ''",
        ("path,label", "a/000.png,x", "a/001.png,x"): "only one class, 'x'",
        ("path,label", "a/000.png,", "a/001.png,"): "neither class folders nor labels",
        ("path,label", "gone/1.png,x", "gone/2.png,y"): "none of 2 pictures can be read: gone/1.png: cannot be read",
    }.items():
        with pytest.raises(InputError, match=message):
            drain(open_split(write_list(tmp_path, *lines), size=8))
    (tmp_path / "list.csv").write_bytes("path,label\né,x".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8 text"):
        drain(open_split(tmp_path / "list.csv", size=8))
    (tmp_path / "list.csv").write_bytes(b'path,label\n"' + b"a" * 200_000)
    with pytest.raises(InputError, match="not a readable CSV file"):
        drain(open_split(tmp_path / "list.csv", size=8))


def test_missing_repeated_and_unlabelled_rows(tmp_path):
    tree(tmp_path, a=6, b=6, c=1)
    rows = [f"{name}/00{number}.png,{name}" for name in "ab" for number in range(6)]
    path = write_list(tmp_path, "path,label", *rows, rows[0], "a/../a/001.png,a", "gone.png,a", "c/000.png,")
    split, _, warned = heard(open_split(path, size=8))
    assert len(split.train) + len(split.test) == 12
    assert any("more than once (again in lines 14, 15)" in text for text in warned)
    assert any("left out for want of a label (1): c/000.png" in text for text in warned)
    assert any("left out as unreadable (1 of 13 pictures): gone.png" in text for text in warned)
    pictures = drain(open_pictures(path, size=8))
    assert (len(pictures), sorted(set(pictures.labels.tolist()))) == (13, [-1, 0, 1])


def test_digits_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    split, notes, _ = heard(open_split("digits", size=32))
    assert len(split.train) + len(split.test) == 1797
    assert any("./digits" in note for note in notes)
    assert len(drain(open_pictures("digits", size=32))) == 1797


def test_memory_is_shared_by_the_processes_of_a_machine(monkeypatch):
    alone = available_memory()
    assert 2**26 < alone < 2**50
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert math.isclose(available_memory(), alone / 4, rel_tol=0.3)


def test_real_photographs(shared_data):
    split, _, warned = heard(open_split(shared_data / "flowers17_128", size=32))
    assert (len(split.train), len(split.test), len(split.train.classes)) == (982, 310, 17)
    assert warned == []
    assert {pixels.shape[2] for pixels in split.test.read(np.arange(310))} == {3}
    assert {min(pixels.shape[:2]) for pixels in split.test.read(np.arange(310))} == {40}
    grey = drain(open_split(shared_data / "magnetic_tile_128", size=32))
    assert {pixels.ndim for pixels in grey.train.read(np.arange(50))} == {2}


def test_masks_of_a_rendered_set_are_no_pictures(tmp_path):
    from firstlight.recipe.render import Render

    drain(Render(formula="contour_scene", categories=2, instances=2, size=32, out=tmp_path / "set").run())
    pictures = drain(open_pictures(tmp_path / "set", size=32))
    assert len(pictures) == 4
    assert pictures.classes == ("00000", "00001")
