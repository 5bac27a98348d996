"""``firstlight render`` as a person meets it: what is refused, labelled sheets of every family, and the gallery."""

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

import firstlight
from conftest import ROOT
from firstlight import cli, spec
from firstlight.data.formula import FormulaPictures
from firstlight.data.source import open_pictures
from firstlight.events import drain
from firstlight.formulas import Formula
from firstlight.recipe import _sheet
from firstlight.recipe.render import Render

FEW = "fractal(points=2000, min_fill=0.01)"
FAMILIES = spec.names("formulas")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--shard", "0/4"], "shard must be K/N with K from 1 to N, such as 1/64 to 64/64; got '0/4'"),
        (["--shard", "5/4"], "got '5/4'"),
        (["--shard", "3"], "got '3'"),
        (["--shard", "1/0"], "got '1/0'"),
        (["--shard", "-1/4"], "got '-1/4'"),
        (["--shard", "1/2/3"], "got '1/2/3'"),
        (["--shard-size", "0"], "shard-size must be above 0, got 0"),
        (["--categories", "0"], "categories must be above 0, got 0"),
        (["--instances", "-2"], "instances must be above 0, got -2"),
        (["--size", "7"], "size=7"),
        (["--size", "1000000"], "1000000"),
        (["--order", "shuffled"], "order is a setting of tar shards"),
        (["--codebook", "nothing.safetensors"], "there is no codebook 'nothing.safetensors'"),
        (["--instances", "1000000000000"], "are 10,000,000,000,000 pictures; allowed is up to 1,073,741,824"),
        (["--ray-address", "here:6379"], "ray-address is a setting of --engine ray"),
        (["--sheet", "--shard", "1/2"], "it takes no shard and no engine"),
        (["--sheet", "--out", "."], "'.' is no name of a file"),
        (
            ["--sheet", "--size", "8192", "--categories", "40", "--instances", "40"],
            "lower categories, instances or size",
        ),
        (["--out", "/dev/null/pictures"], "'/dev/null' is a file"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_what_cannot_be_is_refused_before_anything_is_written(flags, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["render", FEW, *flags]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"format": "zip"}, r"render\(format='zip'\): expected one of 'folders', 'tar'"),
        ({"engine": "slurm"}, "expected one of 'local', 'ray'"),
        ({"size": 32.0}, "expected int"),
        ({"formula": "fractal(min_fill=0.99, tries=20)"}, "min_fill"),
        ({"formula": "line", "categories": 10**6}, "categories=1000000"),
        ({"formula": "perlin(grid=30)", "categories": 900, "size": 24}, r"frequencies \[30, 30\]"),
    ],
)
def test_what_python_callers_get_wrong(settings, said, tmp_path):
    with pytest.raises(firstlight.errors.InputError, match=said):
        drain(Render(**({"formula": FEW} | settings), out=tmp_path / "set").run())
    assert not (tmp_path / "set").exists()


def test_class_folders_are_data_for_training(tmp_path):
    from torchvision.datasets import ImageFolder

    out = tmp_path / "set"
    assert cli.run(["render", FEW, "--categories", "3", "--instances", "4", "--size", "24", "--out", str(out)]) == 0
    assert ImageFolder(out).classes == ["00000", "00001", "00002"]
    pictures = drain(open_pictures(str(out), size=24))
    assert pictures.classes == ("00000", "00001", "00002")
    assert len(pictures) == 12
    drawn = FormulaPictures(spec.build("formulas", FEW, Formula), categories=3, instances=4, size=24)
    for mine, theirs in zip(drawn.read(np.arange(12)), pictures.read(np.arange(12))):
        np.testing.assert_array_equal(mine, theirs)


def test_there_are_ten_classes_or_as_many_as_there_are(tmp_path):
    drain(Render(formula=FEW, instances=1, size=24, out=tmp_path / "ten").run())
    assert json.loads((tmp_path / "ten/manifest.json").read_text())["categories"] == 10
    book = tmp_path / "ten/categories.safetensors"
    drain(Render(formula=FEW, instances=1, size=24, codebook=book, out=tmp_path / "book").run())
    assert json.loads((tmp_path / "book/manifest.json").read_text())["categories"] == 10
    drain(Render(formula="several(of='bezier', classes=3)", instances=1, size=24, out=tmp_path / "three").run())
    assert json.loads((tmp_path / "three/manifest.json").read_text())["categories"] == 3


# Sheets


def sheet_of(formula: str, size: int = 32, rows: int = 2, columns: int = 3) -> tuple[np.ndarray, FormulaPictures]:
    built = spec.build("formulas", formula, Formula)
    pictures = FormulaPictures(built, categories=rows, instances=columns, size=size)
    return _sheet.labelled(pictures, formula, range(rows), columns), pictures


def places(sheet: np.ndarray, picture: np.ndarray) -> list[tuple[int, int]]:
    """Where on a sheet a picture is, to the pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, picture.shape)
    found = np.argwhere((windows == picture).reshape(*windows.shape[: picture.ndim], -1).all(-1))
    return [(int(row), int(column)) for row, column, *_ in found]


def test_categories_go_down_and_instances_across():
    sheet, pictures = sheet_of(FEW)
    assert sheet.ndim == 2, "nothing is coloured"
    corners = [places(sheet, picture) for picture in pictures.read(np.arange(6))]
    assert all(len(found) == 1 for found in corners)
    (top, left), second = corners[0][0], corners[3][0][0]
    step = 32 + _sheet.GAP
    assert [found[0] for found in corners] == [(top + r * step, left + c * step) for r in range(2) for c in range(3)]
    for column in range(3):  # a number above each column, and one beside each row
        assert sheet[top - 20 : top - 2, left + column * step : left + column * step + 32].min() < 100
    for row in (top, second):
        assert sheet[row : row + 32, : left - 2].min() < 100
    assert sheet[:30, : len(sheet)].min() < 100, "the formula stands above"


def test_labels_say_how_classes_differ():
    params = [
        {"waves": np.array([2, 13]), "kind": np.array(7), "scale": np.array(0.12345), "maps": np.zeros((n, 7))}
        for n in (2, 3)
    ]
    assert _sheet._labels(params, 64) == [["2 maps"], ["3 maps"]]
    assert _sheet._labels(params[:1], 128) == [["waves 2, 13", "kind 7", "scale 0.123", "2 maps"]]
    assert _sheet._labels(params[:1], 24) == [[]]
    long = {"a rather long name for a parameter": np.array([0.1234, 5.6789, 9.1011])}
    (shortened,) = _sheet._labels([long], 64)[0]
    assert shortened.endswith("…")
    assert _sheet._font(_sheet.SMALL).getlength(shortened) <= _sheet.WIDEST


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_sheet(family, tmp_path):
    path = tmp_path / "sheet.png"
    flags = ["--categories", "2", "--instances", "2", "--size", "32", "--out", str(path)]
    assert cli.run(["render", family, "--sheet", *flags]) == 0
    with Image.open(path) as sheet:
        assert sheet.height > 64
        assert len(set(np.asarray(sheet).reshape(-1).tolist())) > 4
    assert [item.name for item in tmp_path.iterdir()] == ["sheet.png"]
    assert cli.run(["render", family, "--sheet", *flags]) == 2, "nothing is overwritten"


def test_masks_boxes_frames_and_clouds_are_shown():
    sheet, pictures = sheet_of("contour_scene", 64, rows=1, columns=1)
    known = pictures.annotated(np.array([0]))[0]
    ((top, left),) = places(sheet, np.repeat(known["picture"][..., None], 3, 2))
    beside = sheet[top : top + 64, left + 65 : left + 129]
    assert np.array_equal(beside.any(-1), known["mask"] > 0)
    assert len(np.unique(beside.reshape(-1, 3), axis=0)) == len(np.unique(known["mask"]))

    clip, pictures = sheet_of("perlin(frames=9)", 32, rows=1, columns=1)
    frames = pictures.read(np.array([0]))[0]
    corners = [places(clip, frames[number]) for number in (0, 3, 5, 8)]
    assert [found[0][1] - corners[0][0][1] for found in corners] == [0, 33, 66, 99]

    member = {
        "picture": np.zeros((32, 32), np.uint8),
        "boxes": np.array([[4, 6, 20, 28]], np.float32),
        "labels": np.array([3]),
    }
    cell = _sheet._cell(member, 32)
    lit = cell.any(-1)
    assert lit[6, 4:20].all()
    assert lit[27, 4:20].all()
    assert lit[6:28, 4].all()
    assert lit[6:28, 19].all()
    assert lit.sum() == 2 * 16 + 2 * 20

    from firstlight.formulas._project import look

    cloud, pictures = sheet_of("points(classes=30)", 32, rows=1, columns=1)
    assert len(places(cloud, look(pictures.read(np.array([0]))[0], 32))) == 1


# The gallery


@pytest.fixture(scope="module")
def gallery():
    found = importlib.util.spec_from_file_location("gallery", ROOT / "docs" / "gallery.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gallery_shows_every_family(family, gallery):
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert f"## {family}\n" in text
    for name in gallery.sheets(family):
        path = ROOT / "docs" / "gallery" / f"{name}.png"
        assert f"(gallery/{path.name})" in text
        assert path.stat().st_size < 150_000
        with Image.open(path) as sheet:
            assert sheet.height > gallery.CATEGORIES * gallery.SIZE


def test_the_gallerys_page_is_generated_and_small(gallery):
    assert (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8") == gallery.page(), "run python docs/gallery.py"
    drawn = {path.stem for path in (ROOT / "docs" / "gallery").glob("*.png")}
    assert drawn == {name for family in FAMILIES for name in gallery.sheets(family)}
    assert sum(path.stat().st_size for path in (ROOT / "docs" / "gallery").iterdir()) < 2_000_000
