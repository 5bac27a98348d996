"""Context prediction: where the tiles lie, their gaps, the colours taken away, the loss, and the pictures of it."""

import numpy as np
import pytest
import torch

import tiny
from firstlight.data.held import HeldPictures
from firstlight.errors import InputError
from firstlight.parts.aberration import one_channel, without_green_magenta
from firstlight.parts.tiles import around, cells_of, cut, laid
from firstlight.views import Batch
from firstlight.views.batches import Batches
from parity import equal, precisions
from plain import cross_entropy
from test_tiles import KEY, ramp

PAPER = {"grid": 3, "gap": 0.5, "jitter": 7 / 24, "layers": 3}
OFFSETS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]


def shown(method, pictures: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return around(cut(pictures, key, **method.cut), key, method.pairs.count)


@pytest.mark.parametrize("neighbours", [1, 8])
def test_the_offset_is_told_from_the_tiles_positions(neighbours):
    method = tiny.build("context", tiny.RESNET, **PAPER, neighbours=neighbours, tile=16)
    tiles, place = shown(method, ramp(400, 72), KEY)
    assert tiles.shape == (400, 1 + neighbours, 3, 16, 16)
    corner = tiles[:, :, :2, 0, 0]  # row and column of the upper left pixel
    offset = corner[:, 1:] - corner[:, :1]
    wanted = 24.0 * torch.tensor(OFFSETS)[place]
    assert (offset - wanted).abs().max() == 2, "each of the two varies by one pixel to either side"
    assert torch.equal((offset / 24).round(), wanted / 24)
    assert set(corner[:, 0].flatten().tolist()) == {27.0, 28.0, 29.0}, "the first is the middle one"
    share = torch.bincount(place.flatten(), minlength=8) / place.numel()
    assert (share - 1 / 8).abs().max() < 0.07
    if neighbours == 8:
        assert torch.equal(place.sort(1).values, torch.arange(8).expand(400, 8))


def test_there_is_always_a_gap():
    """Half a tile in the paper, with 7 of 96 pixels of jitter: 34 to 62 pixels of 96 are between two tiles."""
    method = tiny.build("context", tiny.RESNET, **PAPER, neighbours=8, tile=96)
    tiles, _ = shown(method, ramp(60, 432), KEY[:60])
    corner = tiles[:, :, :2, 0, 0]
    side = tiles.shape[-1]
    gaps = (corner[:, 1:] - corner[:, :1]).abs().amax(2) - side
    assert side == 96
    assert 48 - 14 <= gaps.min() < 38
    assert 58 < gaps.max() <= 48 + 14


def test_cells_run_round_the_middle():
    place = torch.arange(8)[:, None]
    assert cells_of(place).tolist() == [[4, n] for n in (0, 1, 2, 3, 5, 6, 7, 8)]


def test_one_channel_of_each_tile_stays_and_the_others_are_faint_noise():
    tiles = torch.randn(200, 2, 3, 16, 16) * 0.4 + 0.2
    out = one_channel(tiles, KEY[:200])
    stays = (out == tiles).flatten(3).all(3)
    assert (stays.sum(2) == 1).all()
    assert (stays.float().mean((0, 1)) - 1 / 3).abs().max() < 0.1
    assert not torch.equal(stays[:, 0], stays[:, 1]), "each tile by itself"
    kept = tiles[stays].flatten(1).std(1, correction=0)
    noise = out[~stays].view(400, 2, -1)
    ratio = noise.std(2, correction=0) / kept.view(400, 1)
    assert (ratio - 0.01).abs().max() < 0.002
    assert abs(noise.mean().item()) < 1e-4
    assert torch.equal(one_channel(tiles[3:5], KEY[3:5]), out[3:5])
    assert torch.equal(one_channel(tiles[:, :, :1], KEY[:200]), tiles[:, :, :1]), "grey has nothing to drop"


def test_the_projection_is_the_papers_matrix():
    method = tiny.build("context", tiny.RESNET)
    encoder = method.encoder
    encoder.mean, encoder.std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    rgb = torch.rand(2, 2, 3, 4, 4, dtype=torch.float64)
    mean, std = (torch.tensor(x, dtype=torch.float64).view(3, 1, 1) for x in (encoder.mean, encoder.std))
    a = np.array([[-1.0, 2.0, -1.0]])
    matrix = np.eye(3) - a.T @ a / (a @ a.T)
    expected = np.einsum("kc,btchw->btkhw", matrix, rgb.numpy())
    out = without_green_magenta((rgb - mean) / std, encoder) * std + mean
    torch.testing.assert_close(out, torch.from_numpy(expected), rtol=0, atol=1e-9)
    assert (out * torch.tensor([-1.0, 2.0, -1.0]).view(3, 1, 1)).sum(2).abs().max() < 1e-9
    grey = torch.rand(1, 2, 1, 4, 4)
    assert torch.equal(without_green_magenta(grey, encoder), grey)


@pytest.mark.parametrize("colour", ["drop", "project", "keep"])
def test_the_encoder_sees_the_colours_that_were_asked_for(colour):
    method = tiny.build("context", tiny.RESNET, **PAPER, colour=colour).eval()
    given = []
    method.encoder.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    batch = tiny.batch(method)
    method(batch, 0.0)
    tiles, _ = shown(method, batch.views[0], batch.key)
    made = {
        "drop": lambda: one_channel(tiles, batch.key),
        "project": lambda: without_green_magenta(tiles, method.encoder),
        "keep": lambda: tiles,
    }
    assert torch.equal(given[0], made[colour]().flatten(0, 1))


@pytest.mark.parametrize("neighbours", [1, 3])
@precisions
def test_the_loss_and_its_gradient_are_those_of_the_formula(dtype, neighbours):
    method = tiny.build("context", tiny.RESNET, **PAPER, neighbours=neighbours).to(dtype)
    features, logits = tiny.outputs(method.encoder), tiny.outputs(method.head)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    _, place = shown(method, batch.views[0], batch.key)
    rows, labels = logits[0].detach().double().tolist(), place.flatten().tolist()
    assert len(rows) == 4 * neighbours
    total, gradients = cross_entropy(rows, labels)
    equal(loss, total)
    equal(logits[0].grad, gradients)
    each = features[0].detach().view(4, 1 + neighbours, -1)
    pairs = [torch.cat([each[sample, 0], each[sample, 1 + n]]) for sample in range(4) for n in range(neighbours)]
    equal(logits[0], method.head.layers(torch.stack(pairs)), of="the middle first")


def test_bad_settings_are_refused():
    wrong = {"neighbours": (9, "1 to 8"), "gap": (-0.1, "0 to 2"), "jitter": (1.5, "0 to 1"), "tile": (0, "1 to 4,096")}
    for name, (value, allowed) in wrong.items():
        with pytest.raises(InputError, match=rf"context\({name}={value}\): expected .* from {allowed}.*nearest"):
            tiny.build("context", tiny.RESNET, **{name: value})
    with pytest.raises(InputError, match="colour"):
        tiny.build("context", tiny.RESNET, colour="grey")
    with pytest.raises(InputError, match=r"tiles.*choose a resnet"):
        tiny.build("context", "mixer_s32_224")


def test_small_pictures_are_enlarged_until_tiles_measure_16_pixels():
    method = tiny.build("context", tiny.RESNET, **PAPER, tile=16)
    batch = Batches(
        HeldPictures([np.zeros((32, 32, 3), np.uint8)] * 2, np.zeros(2, int)), method.views, size=32, batch=2
    ).at(0)
    assert batch.views[0].shape[-1] == 72
    assert cut(batch.views[0], batch.key, **method.cut).shape[-1] == 16


def test_every_tile_of_four_is_asked_about_from_every_other():
    """Against the tiles' own positions: the offset in cells is the direction that is to be told."""
    method = tiny.build("context", tiny.RESNET, grid=2, tile=16)
    batch = tiny.batch(method, samples=6)
    side = batch.views[0].shape[-1]
    batch.views[0] = ramp(6, side)
    tiles, place = method.pairs(cut(batch.views[0], batch.key, **method.cut), batch.key)
    assert (tiles.shape[:3], place.shape) == ((6, 4, 3), (6, 12))
    cell = (tiles[:, :, :2, 0, 0] / (side // 2)).floor()
    first, second = (cell[:, list(numbers)] for numbers in zip(*method.pairs.numbers))
    assert torch.equal(second - first, torch.tensor(OFFSETS)[place].to(cell.dtype))
    assert sorted(method.pairs.numbers) == [(a, b) for a in range(4) for b in range(4) if a != b]
    assert len(place.unique()) == 8, "all directions occur"


@precisions
def test_the_loss_of_four_tiles_is_that_of_the_formula(dtype):
    method = tiny.build("context", tiny.RESNET, grid=2).to(dtype)
    features, logits = tiny.outputs(method.encoder), tiny.outputs(method.head)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    total, gradients = cross_entropy(
        logits[0].detach().double().tolist(), method.pairs(torch.zeros(4, 4), batch.key)[1].flatten().tolist()
    )
    equal(loss, total)
    equal(logits[0].grad, gradients)
    each = features[0].detach().view(4, 4, -1)
    pairs = [torch.cat([each[sample, a], each[sample, b]]) for sample in range(4) for a, b in method.pairs.numbers]
    equal(logits[0], method.head.layers(torch.stack(pairs)))


def test_reconstruction_of_four_lays_one_pair_for_each_picture():
    method = tiny.build("context", tiny.RESNET, grid=2).eval()
    batch = tiny.batch(method, samples=40)
    with torch.no_grad():
        method.head.layers[-1].bias.copy_(1000 * torch.nn.functional.one_hot(torch.tensor(3), 8))
        out = method.reconstruct(batch)
    side = batch.views[0].shape[-1] // 2
    assert out["two tiles"].shape == (40, 3, 3 * side, 3 * side)
    cells = out["two tiles"].unflatten(2, (3, side)).unflatten(4, (3, side)).abs().sum((1, 3, 5)).flatten(1) > 0
    assert cells[:, 4].all(), "the first is in the middle"
    assert (cells.sum(1) == 2).all()
    assert len(cells.unique(dim=0)) == 8, "the second in any direction"
    guessed = out["as predicted"].unflatten(2, (3, side)).unflatten(4, (3, side)).abs().sum((1, 3, 5)).flatten(1) > 0
    assert torch.equal(guessed, torch.zeros(40, 9).index_fill(1, torch.tensor([3, 4]), 1).bool())


def test_reconstruction_lays_the_neighbour_where_it_is_said_to_be():
    method = tiny.build("context", tiny.RESNET, **PAPER, neighbours=1).eval()
    batch = tiny.batch(method)
    tiles, place = shown(method, batch.views[0], batch.key)
    with torch.no_grad():
        method.head.layers[-1].bias.copy_(1000 * torch.nn.functional.one_hot(place[0, 0], 8))
        out = method.reconstruct(batch)
    assert list(out) == ["picture", "two tiles", "as predicted"]
    assert torch.equal(out["as predicted"][0], out["two tiles"][0])
    side = batch.views[0].shape[-1]
    assert all(value.shape == batch.views[0].shape for value in out.values())
    assert torch.equal(out["two tiles"], laid(tiles[:, :2], cells_of(place[:, :1]), side)), "one of its neighbours"
    wrong = place[:, 0] != place[0, 0]
    assert wrong.any()
    assert (out["as predicted"] != out["two tiles"]).flatten(1).any(1).equal(wrong)


def test_it_learns_where_tiles_of_a_gradient_lie():
    method = tiny.build("context", tiny.RESNET, **PAPER, neighbours=4, colour="keep")
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    side = tiny.batch(method).views[0].shape[-1]
    numbers = torch.arange(32)
    picture = ramp(32, side) / side * 4 - 2
    out = {}
    for step in range(25):
        batch = Batch([picture], numbers * 0, numbers * 7919 + step * 1_000_003, numbers)
        out = method(batch, step / 25)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
    assert out["accuracy"] > 0.5, "chance is 1 in 8"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [2.327573, 2.209959, 2.418440]),
        (PAPER, [2.247740, 2.379249, 2.377827]),
        (PAPER | {"colour": "project"}, [2.270399, 2.439254, 2.554999]),
        (PAPER | {"neighbours": 1, "colour": "drop"}, [2.289061, 2.309334, 1.869751]),
    ],
)
def test_three_steps_are_as_recorded(settings, expected):
    losses = tiny.three_steps(tiny.fill(tiny.build("context", tiny.RESNET, **settings)).double())
    assert losses == pytest.approx(expected, abs=1e-4)
