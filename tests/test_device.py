"""Pictures drawn on a device against the formulas that they are twins of: on the CPU, pixel for pixel.

The promise is less: half a per cent of the pixels may differ. A device whose float32 is IEEE, and which is asked for
products and sums one by one, has no reason to use it, so any difference here is a mistake.
"""

import json
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import firstlight.views.batches
from firstlight import spec
from firstlight.data import Subset, device
from firstlight.data.device import _chaos, _draws, _lines, _raster, refusal, render_batch
from firstlight.data.formula import FormulaPictures
from firstlight.errors import InputError
from firstlight.events import Note, drain
from firstlight.formulas import Draw, Formula, picture
from firstlight.formulas import _lines as cpu_lines
from firstlight.formulas import _raster as cpu_raster
from firstlight.formulas._contour import figure
from firstlight.formulas.atom import Atom
from firstlight.formulas.contour import Contour
from firstlight.formulas.fractal import Fractal
from firstlight.formulas.fractal3d import Fractal3d
from firstlight.formulas.perlin import Perlin
from firstlight.recipe.pretrain import Pretrain
from firstlight.views import PAIR
from firstlight.views.batches import Batches

PROMISED = 0.005
SIZE = 40
SETTINGS = [
    *(f"fractal(mode={mode!r})" for mode in ("point", "fixed_patch", "picture_patch", "patch", "density")),
    *(f"fractal(mode={mode!r}, colour=True)" for mode in ("point", "fixed_patch", "picture_patch", "patch", "density")),
    "fractal(sampler='svd', rotations=True, interval=0.4)",
    "fractal(oversample=1, pad=3, points=5000, brightness=1)",
    "fractal3d",
    "fractal3d(shaded=True, oversample=1)",
    "fractal3d(camera='ring', weights=145, points=700)",
    "contour",
    "contour(form='code', removed=0.3, background=40)",
    "contour(vertices=(3, 4), lines=(1, 2), spread=2000)",
    "atom(lines=(1, 60))",
    "atom(defaults='argparse', lines=(1, 60), oversample=1)",
    "perlin",
    "perlin(grid=36, octaves=4, contrast=2.0)",
    "perlin(frames=6)",
    "perlin(frames=9, octaves=3, times=2)",
]
SYSTEM = np.array([
    [0.5, 0.1, -0.1, 0.5, 0.3, 0.2, 0.5],
    [-0.4, 0.3, 0.2, 0.6, -0.5, 0.1, 0.3],
    [0.3, 0.0, 0.0, 0.3, 0.9, -0.9, 0.2],
])  # fmt: skip
FLYING = np.array([[1.5, 0.2, 0.1, 1.4, 0.5, 0.5, 0.6], [0.9, 0.3, -0.6, 0.8, -0.7, 0.1, 0.4]])


def members(formula, count=20, size=SIZE, classes=5):
    """Parameters and keys as ``render_batch`` wants them, and the CPU's pictures."""
    most = formula.categories or 1 << 30
    known = [formula.category(Draw(3, 7 * category % most)) for category in range(classes)]
    params, keys, expected = [], [], []
    for number in range(count):
        category, instance = 7 * (number % classes) % most, 13 * number
        draw = Draw(3, category, instance)
        params.append(formula.instance(known[number % classes], draw))
        keys.append(draw.split(1).key)
        expected.append(picture(formula, category, instance, size=size, seed=3, params=known[number % classes]))
    return params, keys, np.stack(expected)


# --- agreement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", SETTINGS)
def test_pictures_agree_with_the_formula(text):
    formula = spec.build("formulas", text, Formula)
    assert refusal(formula) is None
    params, keys, expected = members(formula)
    drawn = render_batch(formula, params, SIZE, keys)
    assert drawn.dtype == torch.uint8
    assert drawn.shape == expected.shape
    different = (drawn.numpy() != expected).mean((*range(1, expected.ndim),))
    assert different.max() == 0 <= PROMISED, different


@pytest.mark.parametrize("text", ["fractal", "fractal(mode='density')", "fractal3d", "contour", "atom", "perlin"])
def test_full_sized_pictures_agree_too(text):
    formula = spec.build("formulas", text, Formula)
    params, keys, expected = members(formula, count=3, size=224, classes=3)
    assert np.array_equal(render_batch(formula, params, 224, keys).numpy(), expected)


def test_every_family_with_a_twin_is_tested():
    assert {text.partition("(")[0] for text in SETTINGS} == set(spec.names("data/device"))
    assert set(spec.names("data/device")) <= set(spec.names("formulas"))


@pytest.mark.parametrize("points", [1, 255, 256, 257, 4096, 4097, 9000])
def test_any_number_of_points_is_drawn_to_the_last(points):
    for mode in ("point", "density", "patch"):
        formula = Fractal(mode=mode, points=points, oversample=1)
        params, keys, expected = members(formula, count=4, classes=2)
        assert np.array_equal(render_batch(formula, params, SIZE, keys).numpy(), expected), mode
    formula = Fractal3d(points=points)
    params, keys, expected = members(formula, count=4, classes=2)
    assert np.array_equal(render_batch(formula, params, SIZE, keys).numpy(), expected)


def test_systems_that_fly_apart_are_shrunk_alike():
    formula = Fractal(mode="point", points=2000)
    systems = [SYSTEM, FLYING, SYSTEM * [1, 1, 1, 1, 1, 1, 2], FLYING * 1.1]
    params, keys = [{"maps": system} for system in systems], [11, 12, 13, 14]
    draws = [Draw(0, 0, 0) for _ in systems]
    for draw, key in zip(draws, keys):
        draw.key = key
    expected = [formula.render(entry, SIZE, draw) for entry, draw in zip(params, draws)]
    drawn = render_batch(formula, params, SIZE, keys).numpy()
    assert np.array_equal(drawn, np.stack(expected))
    assert drawn.any((1, 2)).all()


@pytest.mark.parametrize("worst", [np.nan, np.inf, 1e30])
def test_systems_out_of_all_bounds_are_refused(worst):
    broken = SYSTEM.copy()
    broken[0, 4] = worst
    with pytest.raises(InputError, match="out of all bounds"):
        render_batch(Fractal(points=100), [{"maps": SYSTEM}, {"maps": broken}], 32, [1, 2])


def test_lines_are_those_of_the_formulas_wherever_they_leave_the_picture():
    size, draw = 37, Draw(0, 0)
    for reach in (size, 3 * size, 1 << 19):
        x0, y0, x1, y1 = draw.integers(-reach, reach + 1, (4, 400)) + (size // 2 if reach > size else 0)
        x1[:40], y1[40:80] = x0[:40], y0[40:80]
        expected = np.zeros((size, size), np.uint8)
        for number, ends in enumerate(zip(x0, y0, x1, y1), 1):
            cpu_lines.segment(expected, *ends, number % 255 + 1)
        canvas = torch.zeros(size**2, dtype=torch.int32)
        number = torch.arange(1, 401)
        value = (number * 256 + number % 255 + 1).int()
        start = torch.zeros(400, dtype=torch.int64)
        _lines.draw(canvas, start, size, [torch.from_numpy(ends) for ends in (x0, y0, x1, y1)], value)
        assert np.array_equal((canvas & 255).byte().view(size, size).numpy(), expected), reach


@pytest.mark.parametrize("mask", [None, 0b101010101])
def test_patches_of_the_largest_numbers(mask):
    last = np.zeros((12, 12), np.uint32)
    last[1:-1, 1:-1] = Draw(1, 2).integers(0, 3, (10, 10)) * (_raster.MOST_POINTS // 2)
    expected = np.empty_like(last)
    cpu_raster.patches(last, mask or 0, np.uint32(77), 0, expected)
    masks = None if mask is None else torch.tensor([mask])
    given = (torch.from_numpy(last.astype(np.int32))[None], masks, torch.tensor([77]))
    assert np.array_equal(_raster.patches(*given, 0)[0].numpy(), expected)
    assert np.array_equal(_raster.patches(*given, 200)[0].numpy(), np.where(expected, 200, 0))


def test_streams_are_those_of_draw():
    singles = [Draw(0, 5, instance) for instance in range(4)]
    batch = _draws.Draws(torch.from_numpy(np.array([draw.key for draw in singles], np.uint64).view(np.int64)))
    for step in (lambda d: d.bits(3), lambda d: d.uniform(-1.0, 3.5, (2, 2)), lambda d: d.integers(-4, 1000, (5,))):
        expected = np.stack([step(draw) for draw in singles])
        assert np.array_equal(step(batch).numpy(), expected.view(np.int64) if expected.dtype == np.uint64 else expected)
    expected = [draw.split(9).uniform() for draw in singles]
    assert batch.split(9).uniform().tolist() == expected


def test_no_tensor_strays_from_its_device():
    """Shapes and devices on a GPU that is not there; the values have no part."""
    with FakeTensorMode():
        gpu = torch.device("cuda", 0)
        key, maps = torch.zeros(3, dtype=torch.int64, device=gpu), torch.zeros(3, 8, 6, dtype=torch.float64, device=gpu)
        steps = torch.zeros(3, 8, dtype=torch.int32, device=gpu)
        state, walk, low, high, _ = _chaos.survey(_chaos.seeded(key), steps, maps.float())
        pixels, walk = _chaos.to_pixels(maps, low, high, 64, 2, walk)
        drawn = [_chaos.drop(state, walk, steps, pixels, 64, 5000, kind, 9) for kind in (0, 1, 2)]
        for mode in ("fixed_patch", "picture_patch", "patch", "density"):
            for colour in (False, True):
                painted = device.fractal._painted(
                    device.fractal.Kernels(), Fractal(mode, colour), drawn[2], 7, _draws.Draws(key)
                )
                assert painted.shape == (3, 64, 64, 3)[: 3 + colour]
                drawn.append(_raster.shrink(painted, 4))
        path = device.fractal3d.advance(
            20, _chaos.seeded(key, 128), walk.new_zeros(3, 3, 128), steps, maps.repeat(1, 1, 2)
        )
        view = torch.zeros(3, 3, 3, dtype=torch.float64, device=gpu)
        drawn.append(device.fractal3d._projected(path[1], device.fractal3d._frame(path[1]), view, 64, 2000, True))
        for frames in (0, 5):
            frequency = {"frequency": np.array([2, 3, 4][: 3 if frames else 2])}
            drawn.append(device.perlin._draw(Perlin(frames=frames, octaves=2), 64, [frequency] * 3, key))
        lines = device.contour._contour._Lay([figure("atom", Atom().category(Draw(0, 0)), 1.0, 1.0)] * 3, [0] * 3, key)
        drawn += [*lines.grown(), *lines.chosen(), lines.following()]
        assert {(tensor.device, len(tensor) % 3) for tensor in drawn} == {(gpu, 0)}


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["fractal", "fractal(colour=True)", "fractal3d", "contour", "atom", "perlin(octaves=2)"]
)
def test_neighbours_and_slices_leave_a_picture_alone(text, monkeypatch):
    formula = spec.build("formulas", text, Formula)
    params, keys, expected = members(formula, count=7, size=24)
    order = [4, 0, 6, 2]
    some = render_batch(formula, [params[i] for i in order], 24, [keys[i] for i in order])
    assert np.array_equal(some.numpy(), expected[order])
    monkeypatch.setattr(device, "MEMORY", 1)
    one_by_one = render_batch(formula, params, 24, keys)
    assert np.array_equal(one_by_one.numpy(), expected)


def test_slices_hold_what_fits():
    assert list(device._slices([3, 3, 3, 9, 1], 7)) == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert list(device._slices([5], 1)) == [(0, 1)]


def test_keys_may_be_integers_or_words():
    params, keys, expected = members(Fractal(points=500), count=8)
    assert max(keys) > 1 << 63
    words = np.array(keys, np.uint64)
    for form in (keys, words, words.view(np.int64), tuple(words)):
        drawn = render_batch(Fractal(points=500), params, SIZE, form)
        assert np.array_equal(drawn.numpy(), expected)


# --- what is refused --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Own(Formula):
    """A family that somebody else wrote."""


@pytest.mark.parametrize(("formula", "message"), [
    (Fractal(mode="point", official=True), "allowed on a device is official=False"),
    (Fractal(points=1 << 27), "allowed on a device is up to 134,217,727"),
    (Contour(filled=True), "allowed on a device is filled=False"),
    (Own(), r"drawn on a device are atom, contour, fractal"),
    (spec.build("formulas", "line", Formula), "line is drawn by the CPU only"),
])  # fmt: skip
def test_what_has_no_twin_says_so(formula, message):
    with pytest.raises(InputError, match=message):
        render_batch(formula, [{"maps": SYSTEM}], 32, [1])


@pytest.mark.parametrize(("params", "keys", "message"), [
    ([], [], "expected one each a picture"),
    ([{"maps": SYSTEM}], [1, 2], "got 1 params and 2 seeds"),
    ([{"maps": SYSTEM}], [-1], "whole numbers from 0"),
    ([{"maps": SYSTEM}], [1 << 64], "whole numbers from 0"),
    ([{"maps": SYSTEM}], [1.5], "whole numbers from 0"),
    ([{"maps": np.tile(SYSTEM, (3, 1))}], [1], "N from 1 to 8"),
    ([{"maps": SYSTEM[:, :6]}], [1], "check the codebook"),
    ([{"maps": SYSTEM[:0]}], [1], "check the codebook"),
])  # fmt: skip
def test_wrong_inputs_are_refused(params, keys, message):
    with pytest.raises(InputError, match=message):
        render_batch(Fractal(), params, 32, keys)


@pytest.mark.parametrize("formula", [Fractal(), Fractal3d(), Contour(), Atom(), Perlin()])
@pytest.mark.parametrize("size", [-1, 0, 7, 8193])
def test_sizes_out_of_range_are_refused(formula, size):
    with pytest.raises(InputError, match="8 to 8192 pixels"):
        render_batch(formula, [{}], size, [1])


@pytest.mark.parametrize(("formula", "size", "params"), [
    (Fractal(oversample=200), 64, {"maps": SYSTEM}),
    (Fractal(pad=20), 40, {"maps": SYSTEM}),
    (Fractal3d(oversample=200), 64, {}),
    (Contour(oversample=200), 64, {}),
    (Perlin(grid=36), 24, {"frequency": np.array([30, 2])}),
    (Perlin(frames=4), 24, {"frequency": np.array([3, 2])}),
])  # fmt: skip
def test_what_the_formula_refuses_is_refused(formula, size, params):
    for draw in (
        lambda: formula.render(params, size, Draw(0, 0, 0)),
        lambda: render_batch(formula, [params], size, [1]),
    ):
        with pytest.raises(InputError):
            draw()


# --- a set of pictures, its batches and the recipe --------------------------------------------------------------------


def test_a_set_draws_the_same_on_a_device():
    pictures = FormulaPictures(Fractal(points=2000), categories=4, instances=50, size=SIZE, seed=5)
    numbers = np.array([0, 199, 7, 120, 7])
    drawn = pictures.tensor(numbers, "cpu")
    assert np.array_equal(drawn.numpy(), np.stack(pictures.read(numbers)))
    with pytest.raises(InputError, match="no picture 200"):
        pictures.tensor(np.array([200]), "cpu")


@pytest.mark.parametrize("text", ["fractal(points=2000)", "perlin", "contour(lines=(1, 20))"])
def test_views_do_not_depend_on_where_pictures_are_drawn(text):
    formula = spec.build("formulas", text, Formula)
    pictures = FormulaPictures(formula, categories=6, instances=5, size=32)
    by_cpu, on_device = (Batches(pictures, PAIR, size=32, batch=6, draw=draw).at(2) for draw in ("cpu", "device"))
    assert torch.equal(by_cpu.label, on_device.label)
    for a, b in zip(by_cpu.views, on_device.views, strict=True):
        assert torch.equal(a, b)


def test_batches_say_where_pictures_are_drawn():
    pictures = FormulaPictures(Fractal(points=500), categories=2, instances=8, size=32)
    official = FormulaPictures(Fractal(mode="point", official=True), categories=2, instances=8, size=32)
    assert Batches(pictures, PAIR, size=32, batch=4).drawn == ""
    assert Batches(pictures, PAIR, size=32, batch=4, draw="device").drawn == "pictures are drawn on cpu"
    where = firstlight.views.batches._where_drawn
    assert where(pictures, torch.device("cuda", 0), "auto") == (True, "pictures are drawn on cuda:0")
    assert where(pictures, torch.device("cuda", 0), "cpu") == (False, "")
    assert where(pictures, torch.device("mps"), "auto") == (False, "")
    on_device, sentence = where(official, torch.device("cuda", 0), "auto")
    assert not on_device
    assert "drawn by the CPU: fractal(official=True)" in sentence
    assert where(Subset(official, [0, 1]), torch.device("cuda", 0), "auto") == (False, "")


def test_batches_refuse_what_cannot_be_drawn_there():
    official = FormulaPictures(Fractal(mode="point", official=True), categories=2, instances=8, size=32)
    with pytest.raises(InputError, match=r"draw='device': fractal\(official=True\)"):
        Batches(official, PAIR, size=32, batch=4, draw="device")
    with pytest.raises(InputError, match="are read, not drawn"):
        Batches(Subset(official, [0, 1]), PAIR, size=32, batch=2, draw="device")
    plain = FormulaPictures(Fractal(), categories=2, instances=8, size=32)
    with pytest.raises(InputError, match="mps has no double precision"):
        firstlight.views.batches._where_drawn(plain, torch.device("mps"), "device")
    with pytest.raises(InputError, match="expected 'auto', 'cpu' or 'device'"):
        Batches(official, PAIR, size=32, batch=4, draw="gpu")


def test_pretraining_learns_the_same_from_pictures_drawn_on_its_device(tmp_path):
    losses = {}
    for draw in ("cpu", "device"):
        recipe = Pretrain(
            data="fractal(points=1000)", model="resnet10t", size=32, categories=3, instances=6, steps=2, batch=6,
            device="cpu", draw=draw, out=tmp_path / draw,
        )  # fmt: skip
        events = list(recipe.run())
        losses[draw] = [event.values["loss"] for event in events if hasattr(event, "values")]
        said = [event.text for event in events if isinstance(event, Note)]
        assert ("pictures are drawn on cpu" in said) == (draw == "device")
    assert losses["cpu"]
    assert losses["cpu"] == losses["device"]


def test_pretraining_refuses_before_it_writes(tmp_path):
    recipe = Pretrain(
        data="digits", method="simclr", model="resnet10t", device="cpu", draw="device", size=32, out=tmp_path / "run"
    )
    with pytest.raises(InputError, match="are read, not drawn"):
        drain(recipe.run())
    assert not (tmp_path / "run").exists()


def test_the_benchmark_runs_without_a_gpu(tmp_path, monkeypatch, capsys):
    script = Path(__file__).parent.parent / "benchmarks" / "render_gpu.py"
    benchmark = runpy.run_path(str(script))
    if not torch.cuda.is_available():
        monkeypatch.setattr(sys, "argv", [str(script)])
        benchmark["main"]()
        assert "no GPU" in capsys.readouterr().out
    out = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", [str(script), "--device", "cpu", "--json", str(out)])
    benchmark["main"]()
    record = json.loads(out.read_text())
    assert {"date", "machine", "versions", "settings", "rows"} == set(record)
    assert {row["formula"].partition("(")[0] for row in record["rows"]} == set(spec.names("data/device"))
    assert all(row["torch differs"] == 0 for row in record["rows"])
    assert "times a core" in capsys.readouterr().out
