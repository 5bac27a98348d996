"""SimMIM: exact counts of hidden squares, the published L1 and its gradient, the one-layer decoder, Swin and ViT."""

import numpy as np
import pytest
import torch

import tiny
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.methods.simmim import SimMIM
from firstlight.parts.losses import hidden_distance
from firstlight.parts.masks import exact_mask
from parity import equal, precisions

SWIN = "swin_tiny_patch4_window7_224(patch_size=2, window_size=4, embed_dim=24, depths=(1, 1, 1), num_heads=(1, 2, 4))"
LARGE_SWIN = "swin_tiny_patch4_window7_224(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))"
VIT = "vit_tiny_patch16_224(patch_size={}, embed_dim=16, depth=1, num_heads=1)"


def published(pictures: np.ndarray, painted: np.ndarray, hidden: np.ndarray) -> float:
    """``(|x - x'| * mask).sum() / (mask.sum() + 1e-5) / C`` in plain loops over pixels."""
    error, count = 0.0, 0
    samples, channels, side, _ = pictures.shape
    for sample, row, column in np.ndindex(samples, side, side):
        if hidden[sample, row, column]:
            count += 1
            error += sum(
                abs(painted[sample, c, row, column] - pictures[sample, c, row, column]) for c in range(channels)
            )
    return error / (count + 1e-5) / channels


@pytest.mark.parametrize(
    ("model", "size", "unit", "cells", "count"),
    [
        (LARGE_SWIN, 192, 32, 36, 22),  # the paper's
        (LARGE_SWIN, 224, 32, 49, 30),
        (VIT.format(16), 224, 32, 49, 30),
        (VIT.format(16), 192, 32, 36, 22),
        (VIT.format(4), 32, 4, 64, 39),
        (VIT.format(4), 48, 8, 36, 22),
        (VIT.format(4), 64, 8, 64, 39),
        (SWIN, 32, 8, 16, 10),
    ],
)
def test_squares_are_one_token_or_several_and_exactly_so_many_are_hidden(model, size, unit, cells, count):
    method = SimMIM(Encoder(model, size=size))
    assert (method.unit, method.cells, method.count) == (unit, cells, count)
    hidden = exact_mask(torch.arange(40) * 7919, method.cells, method.count)
    assert (hidden.sum(1) == count).all()


@precisions
@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_and_its_gradient_are_the_published(dtype, channels):
    torch.manual_seed(channels)
    pictures, painted = torch.randn(2, 2, channels, 6, 6, dtype=dtype).unbind()
    painted.requires_grad_()
    hidden = torch.rand(2, 1, 6, 6) < 0.6
    loss = hidden_distance(painted, pictures, hidden)
    loss.backward()
    equal(loss, published(pictures.double().numpy(), painted.detach().double().numpy(), hidden[:, 0].numpy()))
    equal(painted.grad, slope(painted, pictures, hidden))


def slope(painted: torch.Tensor, pictures: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """The gradient of that: the sign of each hidden error over their number."""
    return (painted - pictures).sign().double() * hidden / (int(hidden.sum()) + 1e-5) / pictures.shape[1]


def test_nothing_hidden_is_no_error():
    assert hidden_distance(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), torch.zeros(1, 1, 2, 2).bool()) == 0


@pytest.mark.parametrize("model", [tiny.VIT, SWIN])
@precisions
def test_the_method_is_the_encoder_with_holes_and_a_layer_of_pixels(dtype, model):
    method = tiny.build("simmim", model).to(dtype).eval()
    batch = tiny.batch(method, samples=2)
    side = 32 // method.grid
    square = exact_mask(batch.key, method.cells, method.count)
    hidden = np.kron(square.view(2, method.grid, method.grid).numpy(), np.ones((side, side), bool))
    tokens = method.encoder.tokens(batch.views[0], hidden=square, hole=method.hole[0]).detach()
    tokens = tokens[:, method.encoder.prefix :].view(2, method.grid, method.grid, -1).double().numpy()
    weight, bias = (p.detach().double().numpy().reshape(3, side, side, -1) for p in method.decoder[0].parameters())
    painted = np.zeros((2, 3, 32, 32))
    for row, column in np.ndindex(32, 32):
        token, inside = tokens[:, row // side, column // side], (row % side, column % side)
        painted[:, :, row, column] = token @ weight[:, *inside].T + bias[:, *inside, 0]

    found, where = method.paint(batch)
    equal(found, painted)
    assert np.array_equal(where[:, 0].numpy(), hidden)
    outputs = tiny.outputs(method.decoder)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    equal(loss, published(batch.views[0].double().numpy(), painted, hidden))
    equal(outputs[0].grad, slope(outputs[0], batch.views[0], where))


@pytest.mark.parametrize("model", [tiny.VIT, SWIN])
def test_hidden_pixels_are_not_seen(model):
    method = tiny.build("simmim", model).eval()
    batch = tiny.batch(method)
    painted, hidden = method.paint(batch)
    batch.views[0] = torch.where(hidden, torch.randn_like(batch.views[0]), batch.views[0])
    assert torch.equal(method.paint(batch)[0], painted)


def test_the_distance_is_that_of_all_hidden_pixels_of_all_processes(monkeypatch):
    """Two processes, one with fewer hidden pixels: the mean of what they find is what one process would find."""
    from firstlight import ranks

    torch.manual_seed(0)
    pictures, painted, hidden = torch.randn(4, 1, 4, 4), torch.randn(4, 1, 4, 4), torch.rand(4, 1, 4, 4) < 0.5
    whole = hidden_distance(painted, pictures, hidden)
    monkeypatch.setattr(ranks, "world", lambda: 2)
    monkeypatch.setattr(ranks, "mean", lambda count: hidden.sum() / 2)
    parts = [hidden_distance(*(x[some] for x in (painted, pictures, hidden))) for some in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_reconstructions_paint_the_hidden_squares():
    method = tiny.build("simmim").eval()
    batch = tiny.batch(method)
    painted, hidden = method.paint(batch)
    shown = method.reconstruct(batch)
    assert list(shown) == ["picture", "masked", "predicted"]
    assert torch.equal(shown["predicted"], torch.where(hidden, painted, batch.views[0]))
    assert torch.equal(shown["masked"], batch.views[0] * ~hidden)


def test_it_learns_pictures_of_one_colour():
    method = tiny.build("simmim")
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    losses = []
    for step in range(30):
        batch = tiny.batch(method, samples=8, seed=step)
        batch.views[0] = batch.views[0][:, :, :1, :1].expand(-1, -1, 32, 32)
        losses.append(method(batch, step / 30)["loss"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("model", "settings", "said"),
    [
        (tiny.VIT, {"mask": 0.0}, r"simmim\(mask=0.0\).*16 squares.*nearest: 0.063"),
        (tiny.VIT, {"mask": 0.95}, "16 squares.*nearest: 0.937"),
        (tiny.VIT, {"unit": 12}, r"unit=12.*\[8, 16\]; nearest: 8"),
        (tiny.VIT, {"unit": 32}, r"\[8, 16\]; nearest: 16"),
        (tiny.RESNET, {}, "test_resnet.*vit_ or swin_"),
        (LARGE_SWIN, {}, "1x1 tokens of 8x8 patches.*smaller patch_size"),
    ],
)
def test_what_cannot_be_is_refused(model, settings, said):
    with pytest.raises(InputError, match=said):
        tiny.build("simmim", model, **settings)


def test_larger_squares_hide_whole_patches():
    method = tiny.build("simmim", unit=16)
    assert (method.cells, method.count) == (4, 3)
    _, hidden = method.paint(tiny.batch(method))
    squares = hidden.unfold(2, 16, 16).unfold(3, 16, 16).flatten(4)
    assert (squares.all(-1) == squares.any(-1)).all()


@pytest.mark.parametrize(
    ("model", "losses"), [(tiny.VIT, [0.878638, 0.851242, 0.865709]), (SWIN, [0.945372, 0.899616, 0.858525])]
)
def test_three_steps_are_as_recorded(model, losses):
    found = tiny.three_steps(tiny.fill(tiny.build("simmim", model)).double())
    assert found == pytest.approx(losses, abs=1e-4)
