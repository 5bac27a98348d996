"""Several: what stands where, what is seen of it, and boxes and labels that say so."""

import json

import numpy as np
import pytest

from firstlight import spec
from firstlight.data import codebook
from firstlight.errors import InputError
from firstlight.formulas import Draw, Formula, annotated, picture
from firstlight.formulas._background import empty, paste
from firstlight.formulas._inner import inner
from firstlight.formulas.several import Several

FRACTAL = "fractal(mode='density', sampler='svd', points=100_000)"
SOLID = f"painted(of=\"{FRACTAL}\", background='plain', blur=0)"
COLOURED = f'painted(of="{FRACTAL}", background=None, blur=0)'
PICTURES = [
    name
    for name in spec.names("formulas")
    if name != "several" and spec.find("formulas", name, Formula)().kind == "picture"
]


def members(formula: Several, category: int = 0, instances: int = 400) -> list[dict[str, np.ndarray]]:
    """What stands where in the first pictures of a class."""
    params = formula.category(Draw(0, category))
    return [formula.instance(params, Draw(0, category, i)) for i in range(instances)]


def put(objects, frames, turns=None) -> dict[str, np.ndarray]:
    """Parameters of a picture arranged by hand."""
    turns = np.zeros(len(objects), np.int64) if turns is None else np.array(turns)
    return {
        "class": np.array(objects[0][0]),
        "objects": np.array(objects),
        "frames": np.array(frames, float),
        "turns": turns,
    }


def by_hand(formula: Several, params: dict[str, np.ndarray], size: int):
    """The picture and each pixel's object, with slices in place of a kernel, and every class searched for anew."""
    member = inner(formula.of)
    nothing = empty(member)
    drawn = [
        picture(member, int(c), int(i), size=min(size, max(8, int(share * size))))
        for (c, i), (share, _, _) in zip(params["objects"], params["frames"])
    ]
    colour = drawn[0].shape[2:]
    canvas = np.zeros((size, size, *colour), np.uint8)
    canvas[:] = 0 if nothing is None else nothing if colour else nothing[0]
    owner = np.zeros((size, size), int)
    for k in reversed(range(len(drawn))):
        square, side, (_, across, down) = drawn[k], len(drawn[k]), params["frames"][k]
        turn = params["turns"][k]
        square = square.swapaxes(0, 1) if turn & 1 else square
        square = square[::-1] if turn & 2 else square
        square = square[:, ::-1] if turn & 4 else square
        if k == 0:
            left, top = int(across * (size - side + 1)), int(down * (size - side + 1))
        else:
            left, top = int(across * size) - side // 2, int(down * size) - side // 2
        rows, columns = np.arange(max(top, 0), min(top + side, size)), np.arange(max(left, 0), min(left + side, size))
        part = square[np.ix_(rows - top, columns - left)]
        shown = np.ones(part.shape[:2], bool)
        if nothing is not None:
            shown = (part != nothing).any(-1) if colour else part != nothing[0]
        canvas[np.ix_(rows, columns)] = np.where(
            shown[..., None] if colour else shown, part, canvas[np.ix_(rows, columns)]
        )
        owner[np.ix_(rows, columns)] = np.where(shown, k + 1, owner[np.ix_(rows, columns)])
    return canvas, owner


def boxes_of(owner: np.ndarray) -> dict[int, list[int]]:
    found = {}
    for k in sorted(set(owner.ravel()) - {0}):
        rows, columns = np.nonzero(owner == k)
        found[k - 1] = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return found


@pytest.mark.parametrize("of", [FRACTAL, COLOURED, SOLID, *PICTURES])
def test_pictures_boxes_and_labels_equal_a_plain_composition(of):
    formula = Several(of=of, classes=2, members=50)
    for category, instance in ((0, 0), (1, 3), (1, 4)):
        params = formula.category(Draw(0, category))
        params = formula.instance(params, Draw(0, category, instance))
        for size in (24, 70):
            known = annotated(formula, category, instance, size=size)
            canvas, owner = by_hand(formula, params, size)
            boxes = boxes_of(owner)
            assert np.array_equal(known["picture"], canvas)
            assert known["boxes"].dtype == np.float32
            assert known["boxes"].tolist() == [list(map(float, box)) for box in boxes.values()]
            assert known["labels"].tolist() == params["objects"][list(boxes), 0].tolist()
            assert known["labels"].dtype == np.int64
            expected = [int(label in known["labels"]) for label in range(2)]
            assert known["present"].tolist() == expected
            assert known["present"].dtype == np.uint8
            assert np.array_equal(picture(formula, category, instance, size=size), canvas)


def test_what_is_empty_is_found_by_looking():
    assert empty(inner(FRACTAL)).tolist() == [0, 0, 0]
    assert empty(inner("several")).tolist() == [0, 0, 0]
    assert empty(inner(COLOURED)).tolist() == [0, 0, 0]
    assert empty(inner(SOLID)) is None
    assert empty(inner("painted")) is None
    found = {name: empty(inner(name)) for name in PICTURES}
    for name in {"perlin", "spectrum", "leaves", "moire"} & set(found):
        assert found[name] is None, name
    for name in {"fractal", "bezier", "line", "atom", "contour_scene", "fractal3d"} & set(found):
        assert found[name].tolist() == [0, 0, 0], name
    for name in {"contour"} & set(found):
        assert found[name].tolist() == [255, 255, 255], name


def test_counts_sizes_places_and_classes_are_even():
    found = members(Several(classes=10, members=7), category=3, instances=2000)
    counts = np.bincount([len(p["objects"]) for p in found], minlength=6)
    assert counts[0] == 0
    assert (abs(counts[1:] - 400) < 90).all(), counts
    objects, frames = np.concatenate([p["objects"] for p in found]), np.concatenate([p["frames"] for p in found])
    assert {int(p["objects"][0, 0]) for p in found} == {3}
    others = np.bincount(np.concatenate([p["objects"][1:, 0] for p in found]), minlength=10)
    assert (abs(others - others.sum() / 10) < 5 * np.sqrt(others.sum() / 10)).all()
    assert set(objects[:, 1]) == set(range(7))
    assert 0.15 <= frames[:, 0].min() < 0.155 < 0.595 < frames[:, 0].max() <= 0.6
    assert abs(frames.mean(0) - [0.375, 0.5, 0.5]).max() < 0.02
    turns = np.bincount(np.concatenate([p["turns"] for p in found]), minlength=8)
    assert (abs(turns - turns.sum() / 8) < 5 * np.sqrt(turns.sum() / 8)).all()
    assert all(not p["turns"].any() for p in members(Several(flips=False), instances=20))
    assert {len(p["objects"]) for p in members(Several(count=(3, 3)), instances=20)} == {3}


def test_the_class_of_the_picture_is_always_seen_whole():
    formula = Several(classes=30, count=(5, 5))
    for instance in range(30):
        known = annotated(formula, 7, instance, size=48)
        assert known["labels"][0] == 7
        params = formula.instance(formula.category(Draw(0, 7)), Draw(0, 7, instance))
        alone = {name: value[:1] if name in ("objects", "frames", "turns") else value for name, value in params.items()}
        first = formula.annotated(alone, 48, Draw(0, 7, instance))
        assert np.array_equal(first["boxes"][0], known["boxes"][0]), "nothing lies over the first object"


def test_hidden_objects_have_no_box():
    formula = Several(of=SOLID, classes=3)
    whole, small = [1.0, 0, 0], [0.2, 0.5, 0.5]
    under = formula.annotated(put([[0, 0], [1, 0], [2, 0]], [whole, small, small]), 40, Draw(0, 0, 0))
    assert under["labels"].tolist() == [0]
    assert under["boxes"].tolist() == [[0, 0, 40, 40]]
    assert under["present"].tolist() == [1, 0, 0]
    twice = formula.annotated(put([[0, 0], [1, 0], [1, 0]], [[0.2, 0, 0], small, small]), 40, Draw(0, 0, 0))
    assert twice["labels"].tolist() == [0, 1], "of two in one place, the earlier is seen"
    beside = formula.annotated(put([[0, 0], [2, 0]], [[0.2, 0, 0], [0.2, 0.999, 0.5]]), 40, Draw(0, 0, 0))
    assert beside["boxes"].tolist() == [[0, 0, 8, 8], [35, 16, 40, 24]], "clipped at the border"
    assert beside["present"].tolist() == [1, 0, 1]


def test_partly_hidden_objects_have_tight_boxes():
    formula = Several(of=SOLID, classes=2)
    known = formula.annotated(put([[0, 0], [1, 0]], [[0.5, 0, 0], [0.5, 0.5, 0.25]]), 40, Draw(0, 0, 0))
    assert known["boxes"].tolist() == [[0, 0, 20, 20], [20, 0, 30, 20]]


def test_objects_are_the_inner_familys_members():
    formula = Several(flips=False, classes=9)
    params = formula.category(Draw(5, 4)) | put([[4, 11]], [[1.0, 0, 0]])
    drawn = formula.render(params, 64, Draw(5, 4, 0))
    assert np.array_equal(drawn, picture(inner(formula.of), 4, 11, size=64, seed=5))


@pytest.mark.parametrize("turn", range(8))
def test_turns(turn):
    square = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    canvas, owner = np.zeros(16, np.uint8), np.zeros(16, np.uint8)
    paste(square.reshape(-1), 4, 1, np.zeros(3, np.uint8), False, turn, 0, 0, 3, 4, canvas, owner)
    expected = square.T if turn & 1 else square
    expected = expected[::-1] if turn & 2 else expected
    expected = expected[:, ::-1] if turn & 4 else expected
    assert np.array_equal(canvas.reshape(4, 4), expected)
    assert (owner == 3).all()


def test_a_codebook_keeps_the_class(tmp_path):
    formula = Several(classes=4)
    path = codebook.save(tmp_path / "several.safetensors", [formula.category(Draw(0, c)) for c in range(4)])
    for category, params in enumerate(codebook.load(path)):
        assert int(params["class"]) == category
        known = picture(formula, category, 2, size=40, params=params)
        assert np.array_equal(known, picture(formula, category, 2, size=40))


def test_nested_text_survives_parsing():
    text = str(spec.Spec("painted", {"of": str(spec.Spec("several", {"of": COLOURED, "classes": 5})), "colour": False}))
    formula = spec.build("formulas", text, Formula)
    assert str(spec.Spec.parse(text)) == text
    assert inner(inner(formula.of).of) == inner(COLOURED)
    assert formula.categories == 5
    assert spec.build("formulas", json.loads(json.dumps(text)), Formula) == formula
    assert picture(formula, 0, 0, size=32).shape == (32, 32, 3)


def test_lists_from_json_become_tuples():
    assert Several(count=[2, 3], sizes=[0.2, 0.3]) == Several(count=(2, 3), sizes=(0.2, 0.3))


def test_no_class_beyond_the_last():
    formula = Several(classes=6)
    assert formula.categories == 6
    with pytest.raises(InputError, match=r"classes=6.*no class 6"):
        formula.category(Draw(0, 6))


@pytest.mark.parametrize("settings", [
    {"count": (0, 3)}, {"count": (4, 3)}, {"count": (1, 256)}, {"count": (1,)}, {"classes": 0}, {"members": 0},
    {"members": 1 << 32}, {"sizes": (0, 0.5)}, {"sizes": (0.5, 0.2)}, {"sizes": (0.5, 1.1)},
    {"sizes": (float("nan"), 0.5)}, {"of": "several"}, {"of": 'painted(of="several")'},
    {"of": "several(classes=3)", "classes": 4}, {"of": SOLID, "classes": 1 << 21},
    {"of": "line(classes=8)", "classes": 9},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"allowed (is|are)"):
        Several(**settings)


def test_a_bad_inner_formula_is_named():
    with pytest.raises(InputError, match="did you mean 'fractal'"):
        Several(of="fractl")
    with pytest.raises(InputError, match="no setting 'point'"):
        Several(of="fractal(point=3)")
    with pytest.raises(InputError, match="points=0"):
        Several(of="fractal(points=0)")
    with pytest.raises(InputError, match="expected 'name'"):
        Several(of="fractal(")
    for name in spec.names("formulas"):
        if (kind := spec.find("formulas", name, Formula)().kind) != "picture":
            with pytest.raises(InputError, match=f"draws {kind}s"):
                Several(of=name)


@pytest.mark.parametrize("size", [7, 8193])
def test_bad_sizes_are_refused(size):
    with pytest.raises(InputError, match="allowed is 8 to 8192"):
        picture(Several(), 0, 0, size=size)
