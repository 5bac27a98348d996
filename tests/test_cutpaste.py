"""CutPaste: the published damage, pixel by pixel, and three classes in every batch."""

import math

import pytest
import torch
import torch.nn.functional as F

import tiny
from firstlight.errors import InputError
from firstlight.parts import cutpaste as parts
from firstlight.parts.cutpaste import cut_and_pasted, scarred
from firstlight.views.colour import draw_jitter, jitter
from firstlight.views.random import Salt, branch, uniforms
from parity import equal, precisions

KINDS = {"cut": cut_and_pasted, "scar": scarred}


def numbered(samples: int, height: int, width: int) -> torch.Tensor:
    """Pictures whose every pixel tells its own place: row in red, column in green, in the views' normalisation."""
    rows = torch.arange(height).view(-1, 1).expand(height, width) / 512
    columns = torch.arange(width).expand(height, width) / 512
    one = torch.stack([rows, columns, torch.zeros(height, width)])
    return (2 * one - 1).expand(samples, -1, -1, -1).clone()


def places(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each pixel was, as ``numbered`` wrote it."""
    values = ((pictures + 1) * 256).round().long()
    return values[:, 0], values[:, 1]


@pytest.fixture
def colours_stay(monkeypatch):
    monkeypatch.setattr(parts, "JITTER", (0.0, 0.0, 0.0, 0.0))


@pytest.mark.parametrize("sides", [(64, 64), (40, 100), (100, 40)])
def test_a_rectangle_is_moved_as_it_is(sides, colours_stay):
    """Drawn again in plain Python from the same numbers.

    Height and width are not exchanged, as they are in pytorch-cutpaste, which takes PIL's (width, height) for shapes.
    """
    height, width = sides
    key = torch.arange(60) * 31 + 5
    before = numbered(len(key), height, width)
    rows, columns = places(cut_and_pasted(before, key, 0.5, 0.5))
    draws = uniforms(branch(key, Salt.CUT), 6, 0).double().tolist()
    for number, (area, aspect, *corner) in enumerate(draws):
        area, aspect = (0.02 + 0.13 * area) * height * width, math.exp(math.log(1 / 0.3) * (2 * aspect - 1))
        high = min(max(round(math.sqrt(area * aspect)), 1), height)
        wide = min(max(round(math.sqrt(area / aspect)), 1), width)
        top, left, to_top, to_left = (
            math.floor(draw * (side - extent + 1))
            for draw, side, extent in zip(corner, (height, width) * 2, (high, wide) * 2)
        )
        expected = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
        inside = slice(to_top, to_top + high), slice(to_left, to_left + wide)
        expected[:, *inside] = expected[:, top : top + high, left : left + wide].clone()
        assert torch.equal(rows[number], expected[0])
        assert torch.equal(columns[number], expected[1])


def test_the_rectangles_sizes_are_the_papers(colours_stay):
    before = numbered(1000, 64, 64)
    rows, columns = places(cut_and_pasted(before, torch.arange(1000), 0.5, 0.5))
    there = torch.arange(64)
    changed = (rows != there[:, None]) | (columns != there)
    high, wide = changed.any(2).sum(1), changed.any(1).sum(1)
    moved = high > 0
    share = (high * wide)[moved] / 64**2
    assert moved.float().mean() > 0.99
    assert 0.015 < share.min() < 0.025
    assert 0.14 < share.max() < 0.157
    assert share.mean().item() == pytest.approx(0.085, abs=0.005)
    aspect = (high[moved] / wide[moved]).log()
    assert aspect.mean().item() == pytest.approx(0, abs=0.08)
    assert 0.9 * math.log(1 / 0.3) < aspect.abs().max() < 1.15 * math.log(1 / 0.3)
    assert (aspect > 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("sides", [(256, 256), (256, 300), (32, 32)])
def test_scars_are_thin_turned_and_inside(sides, colours_stay):
    height, width = sides
    key = torch.arange(60) * 13
    rows, columns = places(scarred(numbered(len(key), height, width), key, 0.5, 0.5))
    draws = uniforms(branch(key, Salt.SCAR), 7, 0).double().tolist()
    scale = max(min(sides), 64) / 256
    down, across = torch.arange(height).view(-1, 1), torch.arange(width)
    for number, (high, wide, turn, *middles) in enumerate(draws):
        high, wide = max((10 + 15 * high) * scale, 1), max((2 + 14 * wide) * scale, 1)
        angle = (2 * turn - 1) * math.pi / 4
        boxes = (
            (high, wide),
            (
                high * math.cos(angle) + wide * abs(math.sin(angle)),
                wide * math.cos(angle) + high * abs(math.sin(angle)),
            ),
        )
        row, column = (e / 2 + d * (s - e) for d, s, e in zip(middles[:2], sides, boxes[0]))
        to_row, to_column = (math.floor(e / 2 + d * (s - e)) + 0.5 for d, s, e in zip(middles[2:], sides, boxes[1]))
        y, x = down + 0.5 - to_row, across + 0.5 - to_column
        along, beside = math.cos(angle) * y + math.sin(angle) * x, math.cos(angle) * x - math.sin(angle) * y
        inside = (along.abs() < high / 2 - 1e-3) & (beside.abs() < wide / 2 - 1e-3)
        outside = (along.abs() > high / 2 + 1e-3) | (beside.abs() > wide / 2 + 1e-3)
        assert inside.any()
        assert torch.equal(rows[number][outside], down.expand(sides)[outside])
        assert torch.equal(columns[number][outside], across.expand(sides)[outside])
        for found, expected in ((rows[number], row + along), (columns[number], column + beside)):
            assert ((found - expected.floor())[inside].abs() <= 1).all()
            assert ((found - expected.floor())[inside] != 0).float().mean() < 0.02, "but for rounding at a border"


@pytest.mark.parametrize("side", [32, 48, 64, 96])
def test_scars_of_small_pictures_can_be_seen(side):
    pictures = torch.rand(400, 3, side, side) * 2 - 1
    changed = (scarred(pictures, torch.arange(400), 0.5, 0.5) != pictures).any(1).sum((1, 2))
    assert changed.median() >= 8, "three pixels of 1,024 would be nothing to learn from"
    assert changed.max() <= 26 * max(1, side / 64) ** 2


@pytest.mark.parametrize("side", [1, 4, 8])
def test_scars_fit_into_any_picture(side):
    pictures = torch.rand(50, 3, side, side)
    assert scarred(pictures, torch.arange(50), 0.5, 0.5).shape == pictures.shape


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_moved_is_recoloured_and_nothing_else(kind):
    """The damage is the picture's or the jittered picture's values; every sample has its own."""
    batch = torch.rand(6, 3, 32, 32) * 2 - 1
    key = torch.arange(6)
    salt = Salt.CUT if kind == "cut" else Salt.SCAR
    damaged = KINDS[kind](batch, key, 0.5, 0.5)
    jittered = jitter((batch + 1) / 2, *draw_jitter(branch(key, salt), (0.1,) * 4, 1.0)) * 2 - 1
    changed = (damaged != batch).any(1)
    assert changed.flatten(1).any(1).all()
    for number in range(6):
        where = changed[number]
        allowed = {tuple(pixel) for pixel in jittered[number].flatten(1).T.tolist()}
        found = damaged[number][:, where].T
        assert all(any(torch.allclose(pixel, torch.tensor(a), atol=1e-5) for a in allowed) for pixel in found[:5])
    alone = KINDS[kind](batch[3:4], key[3:4], 0.5, 0.5)
    assert torch.equal(alone[0], damaged[3])
    assert not torch.equal(changed[0], changed[1])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_values_stay_in_the_range_of_pictures(kind, channels):
    mean, std = ((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)) if channels == 3 else (0.4, 0.2)
    centre, unit = (torch.tensor(x).view(-1, 1, 1) for x in (mean, std))
    batch = (torch.rand(8, channels, 24, 24).round() - centre) / unit
    found = KINDS[kind](batch, torch.arange(8), mean, std) * unit + centre
    assert found.min() > -1e-5
    assert found.max() < 1 + 1e-5


@precisions
def test_the_loss_and_its_gradient_are_three_way_cross_entropy(dtype):
    method = tiny.build("cutpaste", tiny.RESNET).to(dtype)
    batch = tiny.batch(method)
    logits = tiny.outputs(method.head)
    shown = []
    method.encoder.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    out = method(batch, 0.0)
    out["loss"].backward()

    picture = batch.views[0]
    expected = torch.cat([picture, cut_and_pasted(picture, batch.key, 0.5, 0.5), scarred(picture, batch.key, 0.5, 0.5)])
    assert torch.equal(shown[0], expected)
    rows = logits[0].detach().double().tolist()
    terms = [math.log(sum(math.exp(x) for x in row)) - row[place // 4] for place, row in enumerate(rows)]
    equal(out["loss"], sum(terms) / 12)
    right = sum(max(range(3), key=row.__getitem__) == place // 4 for place, row in enumerate(rows))
    assert out["accuracy"].item() == pytest.approx(right / 12)
    truth = F.one_hot(torch.arange(3).repeat_interleave(4), 3)
    equal(logits[0].grad, (logits[0].double().softmax(1) - truth) / 12)


def test_the_head_is_the_published_one():
    head = tiny.build("cutpaste", hidden=512, dim=128).head
    widths = [layer.out_features for layer in head.modules() if isinstance(layer, torch.nn.Linear)]
    assert widths == [512, 128, 3]
    assert len([m for m in head.modules() if isinstance(m, torch.nn.BatchNorm1d)]) == 2


@pytest.mark.parametrize("settings", [{"layers": -1}, {"hidden": 0}, {"dim": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"cutpaste.*nearest"):
        tiny.build("cutpaste", **settings)


def test_people_see_the_three_pictures():
    method = tiny.build("cutpaste")
    batch = tiny.batch(method)
    shown = method.eval().reconstruct(batch)
    assert list(shown) == ["picture", "cut and pasted", "scarred"]
    assert all(pictures.shape == batch.views[0].shape for pictures in shown.values())


def test_it_learns_to_see_damage():
    """Stripes, in which what is moved is seen: better than chance after a few steps."""
    method = tiny.build("cutpaste", tiny.RESNET)
    wave = torch.sin(torch.arange(32) / 2.5).expand(32, 32)
    optimizer, losses = torch.optim.AdamW(method.parameters(), lr=3e-3), []
    for step in range(60):
        batch = tiny.batch(method, samples=16, seed=step)
        batch.views[0] = wave.expand(16, 3, 32, 32).roll(step, -1).clone() * 0.8
        out = method(batch, step / 60)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        losses.append(out["loss"].item())
    assert sum(losses[-10:]) / 10 < 0.75 < math.log(3) < losses[0] + 0.4


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("cutpaste", tiny.RESNET)).double())
    assert losses == pytest.approx([1.107343, 1.355155, 1.414677], abs=1e-4)
