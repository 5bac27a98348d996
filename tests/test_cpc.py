"""CPC: the loss against the formula, a context that never looks down, patches that overlap by half, refusals."""

import numpy as np
import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.parts.future import Future, Overlapping, Rows
from firstlight.views.batches import side_of
from parity import equal, equal_each, precisions, slopes

FIRST = {"grid": 4, "patch": 16, "steps": 3, "first": 1, "directions": 1, "drop": 0.0, "flip": 0.0}
"""v1 in small: many patches, from the top alone, in all their colours"""


@pytest.mark.parametrize("first", [1, 2])
@precisions
def test_loss_and_gradient_are_the_formulas(dtype, first):
    torch.manual_seed(0)
    future = Future(6, 5, hidden=8, depth=2, steps=3, first=first, scale=0.3).to(dtype)
    grid = torch.randn(2, 4, 4, 6, dtype=dtype, requires_grad=True)
    loss, _ = future(grid)
    context = future.rows(grid.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    places = [(b, r, c) for b in range(2) for r in range(4) for c in range(4)]
    means = []
    for ahead, predict in zip(range(first, 4), future.predict, strict=True):
        terms = []
        for b, r, c in (place for place in places if place[1] + ahead < 4):
            scores = [0.3 * (predict.weight @ context[b, r, c]) @ (future.target.weight @ grid[p]) for p in places]
            own = scores[places.index((b, r + ahead, c))]
            terms.append(torch.stack(scores).exp().sum().log() - own)
        means.append(sum(terms) / len(terms))
    expected = sum(means) / len(means)
    equal(loss, expected)
    found, wanted = ({"grid": grid} | dict(future.named_parameters()) for _ in range(2))
    for slope, of in ((found, loss), (wanted, expected)):
        slope |= dict(zip(slope, torch.autograd.grad(of, list(slope.values()))))
    equal_each(found, wanted)


def test_no_gradient_comes_from_below():
    torch.manual_seed(0)
    rows, grid = Rows(6, 8, 3).double(), torch.randn(1, 6, 5, 5, dtype=torch.float64, requires_grad=True)
    for row in range(5):
        (grad,) = torch.autograd.grad(rows(grid)[:, :, row].square().sum(), grid)
        assert (grad[:, :, row + 1 :] == 0).all()
        assert (grad[:, :, row] != 0).any()
        assert row == 0 or (grad[:, :, row - 1] != 0).any()
    changed = grid.detach().clone()
    changed[:, :, 3:] += 1
    assert torch.equal(rows(changed)[:, :, :3], rows(grid)[:, :, :3])


def test_patches_overlap_by_half():
    method = tiny.build("cpc", **FIRST | {"grid": 7})
    assert (method.patches.side, round(method.views[0].size * tiny.SIZE)) == (16, 64)
    picture = torch.arange(64.0).expand(2, 3, 64, 64) + 100 * torch.arange(64.0)[:, None]
    patches = method.patches(picture, torch.arange(2))
    assert patches.shape == (2 * 49, 3, 16, 16)
    for number in (0, 6, 24, 48):
        top, left = 8 * (number // 7), 8 * (number % 7)
        assert torch.equal(patches[49 + number], picture[1, :, top : top + 16, left : left + 16])


@pytest.mark.parametrize(("size", "grid", "side", "whole"), [(256, 7, 64, 256), (224, 7, 56, 224), (224, 2, 149, 223)])
def test_patches_cover_larger_pictures_as_they_are(size, grid, side, whole):
    """The paper's are 7 x 7 patches of 64 pixels at 256."""
    method = tiny.build("cpc", tiny.RESNET)
    method.encoder.size = size
    found = Overlapping(method.encoder, "cpc", grid, 16, 0.0)
    assert (found.side, round(found.whole * size)) == (side, whole)


@pytest.mark.parametrize(("grid", "side"), [(4, 48), (5, 48), (6, 64)])
def test_patches_overlap_by_half_whatever_the_sides_a_model_takes(grid, side):
    method = tiny.build("cpc", "vit_tiny_patch16_224(embed_dim=48, depth=1, num_heads=2)", **FIRST | {"grid": grid})
    picture = torch.arange(float(side)).expand(1, 3, side, side)
    assert side_of(method.views[0], tiny.SIZE, 16) == side
    patches = method.patches(picture, torch.arange(1)).unflatten(0, (grid, grid))
    assert patches[0, :, 0, 0, 0].tolist() == [8.0 * column for column in range(grid)]


@pytest.mark.parametrize("settings", [{"grid": 200}, {"patch": 4096}])
def test_patches_that_fill_the_memory_are_refused(settings):
    with pytest.raises(InputError, match=r"cpc\(grid=.*pictures of 32 px would be shown.*allowed is up to 512"):
        tiny.build("cpc", **settings)


def test_dropped_channels():
    method = tiny.build("cpc", drop=0.5, flip=0)
    batch = tiny.batch(method, samples=40)
    patches = method.patches(batch.views[0], batch.key)
    alone = (patches == patches[:, :1]).all((1, 2, 3))
    assert alone.float().mean().item() == pytest.approx(0.5, abs=0.06)


def test_flipped_patches():
    plain, method = (tiny.build("cpc", grid=2, steps=1, first=1, drop=0.5, flip=flip) for flip in (0.0, 0.5))
    batch = tiny.batch(method, samples=100)
    before, after = (each.patches(batch.views[0], batch.key) for each in (plain, method))
    turned, same = ((after == each).all((1, 2, 3)) for each in (before.flip(3), before))
    assert (turned ^ same).all(), "drawn by itself: the same patches show one colour alone"
    assert turned.float().mean().item() == pytest.approx(0.5, abs=0.08)
    assert len(turned.view(100, 4).unique(dim=0)) == 16, "each patch by itself"
    few = method.patches(batch.views[0][7:9], batch.key[7:9])
    assert torch.equal(few, after[28:36]), "by the sample's key, whatever is beside it"


@precisions
def test_directions_are_the_grid_turned(dtype):
    method = tiny.build("cpc", **FIRST | {"directions": 4}).to(dtype)
    batch = tiny.batch(method)
    grid = method.encoder.seen_whole(method.patches(batch.views[0], batch.key)).unflatten(0, (4, 4, 4))
    turned = [grid, grid.transpose(1, 2).flip(1), grid.flip(1, 2), grid.flip(1).transpose(1, 2)]
    expected = sum(future(each)[0] for future, each in zip(method.futures, turned, strict=True)) / 4
    loss = method(batch, 0.0)["loss"]
    equal(loss, expected)
    equal_each(slopes(loss, method), slopes(expected, method))


@pytest.mark.parametrize(
    "wrong", [{"steps": 5}, {"first": 4}, {"first": 0}, {"directions": 2}, {"drop": 2.0}, {"flip": -1}]
)
def test_refusals(wrong):
    with pytest.raises(InputError, match=r"cpc\(.*(try|nearest)"):
        tiny.build("cpc", **wrong)


def test_it_learns_what_continues():
    """Pictures of vertical stripes of one colour each: what is below is what is above."""
    torch.manual_seed(0)
    method = tiny.build("cpc", **FIRST | {"first": 2})
    optimizer = torch.optim.Adam(method.parameters(), lr=2e-3)
    random, losses = np.random.default_rng(0), []
    for step in range(12):
        batch = tiny.batch(method, samples=8, seed=step)
        side = batch.views[0].shape[-1]
        batch.views[0] = torch.from_numpy(random.normal(size=(8, 3, 1, side // 8))).float().repeat_interleave(8, 3)
        batch.views[0] = batch.views[0].expand(-1, -1, side, -1)
        loss = method(batch, 0.0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("cpc", **FIRST | {"grid": 5})).double())
    assert losses == pytest.approx([4.616467, 4.643155, 4.649989], abs=1e-4)
