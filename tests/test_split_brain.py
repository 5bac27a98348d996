"""The split-brain autoencoder: which network sees what, both losses, the pictures, and that it learns."""

import numpy as np
import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.methods.split_brain import SplitBrain
from firstlight.views.lab import rgb_to_lab
from parity import equal, precisions
from test_colorize import learned


@precisions
def test_the_loss_and_its_gradient_are_the_papers(dtype):
    """Cross-entropy over 313 colours and 100 levels of lightness, the mean over positions, in plain NumPy."""
    method = tiny.build("split_brain", tiny.RESNET, side=4).to(dtype)
    colours, lightness = tiny.outputs(method.paint_colours), tiny.outputs(method.paint_lightness)
    batch = tiny.batch(method, samples=2)
    out = method(batch, 0.0)
    out["loss"].backward()

    lab = rgb_to_lab(batch.views[0].double() / 2 + 0.5).reshape(2, 3, 4, 8, 4, 8).mean((3, 5)).numpy()
    bins = method.gamut.bins.double().numpy()
    losses = []
    for logits, kind in ((colours[0], "ab"), (lightness[0], "L")):
        values = logits.detach().double().numpy()
        gradient, total = np.zeros_like(values), 0.0
        for picture, row, column in np.ndindex(2, 4, 4):
            level, a, b = lab[picture, :, row, column]
            target = int(level) if kind == "L" else np.argmin((bins[:, 0] - a) ** 2 + (bins[:, 1] - b) ** 2)
            z = values[picture, :, row, column]
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            total -= np.log(p[target]) / 32
            gradient[picture, :, row, column] = (p - np.eye(len(p))[target]) / 32
        losses.append(total)
        equal(logits.grad, gradient)
    equal(out["loss"], sum(losses))
    equal(out["lightness"], losses[1])


def test_neither_network_sees_what_it_shall_say():
    method = tiny.build("split_brain", tiny.RESNET).eval()
    batch = tiny.batch(method)
    batch.views[0].requires_grad_()
    grey = batch.views[0].mean(1, keepdim=True).expand(-1, 3, -1, -1).detach().clone()
    with torch.no_grad():
        _, _, lightness = method._painted(grey)
        _, _, other = method._painted(torch.zeros_like(grey))
    torch.testing.assert_close(lightness, other, rtol=0, atol=1e-2), "all greys have the same colour: none"
    colours, of_light = tiny.outputs(method.paint_colours), tiny.outputs(method.paint_lightness)
    method(batch, 0.0)
    second = list(method.encoder.colour.parameters())
    first = list(method.encoder.net.parameters())
    for painted, unseen in ((colours[0], second), (of_light[0], first)):
        found = torch.autograd.grad(painted.sum(), unseen, retain_graph=True, allow_unused=True)
        assert not any(gradient is not None and gradient.any() for gradient in found), "they share nothing"


def test_the_encoder_is_twice_as_wide_and_the_decoders_are_not():
    method = tiny.build("split_brain", tiny.RESNET)
    width = method.encoder.net.num_features
    assert method.encoder.width == 2 * width
    assert method.paint_colours.pooled.in_features == method.paint_lightness.pooled.in_features == width
    assert (method.paint_colours.paint[-1].out_channels, method.paint_lightness.paint[-1].out_channels) == (313, 100)


def test_an_encoder_that_is_divided_already_is_refused():
    encoder = tiny.build("split_brain").encoder
    with pytest.raises(InputError, match="second network already; load it with colour=False"):
        SplitBrain(encoder)


def test_it_learns_and_shows_it():
    method, batches, losses = learned("split_brain")
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    batch = batches.at(1000)
    with torch.no_grad():
        shown = method.eval().reconstruct(batch)
    assert list(shown) == ["picture", "grey", "coloured", "lightness from colours"]
    assert all(picture.shape == batch.views[0].shape for picture in shown.values())
    lab = {name: rgb_to_lab(picture / 2 + 0.5) for name, picture in shown.items()}
    far = (lab["picture"] - lab["coloured"])[:, 1:].norm(dim=1).median()
    assert far < 0.4 * lab["picture"][:, 1:].norm(dim=1).median()
    grey, said = (shown[name][:, 0].mean((1, 2)) for name in ("grey", "lightness from colours"))
    assert torch.corrcoef(torch.stack([grey, said]))[0, 1] > 0.9


@pytest.mark.parametrize("settings", [{"side": 0}, {"width": 0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        tiny.build("split_brain", **settings)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("split_brain", tiny.RESNET)).double())
    assert losses == pytest.approx([11.011576, 10.889606, 10.857381], abs=1e-4)
