"""CIE Lab, its bins and their weights: against the standard's formulas in plain Python and published values."""

import math

import numpy as np
import pytest
import torch

import tiny
from firstlight.data.held import HeldPictures
from firstlight.errors import InputError
from firstlight.events import drain
from firstlight.parts.gamut import Gamut, look_for_colours, shrunk, weights
from firstlight.parts.painter import Painter
from firstlight.views import View
from firstlight.views.batches import Batches
from firstlight.views.lab import as_colours, as_grey, lab_of, lab_to_rgb, normalised, rgb_to_lab
from firstlight.views.random import uniforms
from parity import equal, leaves, precisions


def plain_lab(red: float, green: float, blue: float) -> list[float]:
    """IEC 61966-2-1 and CIE 15, one colour at a time."""
    r, g, b = (v / 12.92 if v <= 0.04045 else math.pow((v + 0.055) / 1.055, 2.4) for v in (red, green, blue))
    x = (0.412453 * r + 0.357580 * g + 0.180423 * b) / 0.95047
    y = 0.212671 * r + 0.715160 * g + 0.072169 * b
    z = (0.019334 * r + 0.119193 * g + 0.950227 * b) / 1.08883
    f = [math.cbrt(t) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in (x, y, z)]
    return [116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])]


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
def test_lab_is_the_standards(dtype, atol):
    colours = torch.cat([uniforms(torch.arange(300), 3, 1), uniforms(torch.arange(100), 3, 2) * 0.05]).to(dtype)
    found = rgb_to_lab(colours)
    assert found.dtype == dtype
    expected = torch.tensor([plain_lab(*colour) for colour in colours.tolist()], dtype=dtype)
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)
    torch.testing.assert_close(lab_to_rgb(found), colours, rtol=0, atol=max(1e-6, atol / 10))


def test_known_colours():
    """What scikit-image gives for the primaries."""
    colours = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]], dtype=torch.float64)
    known = [
        [53.2406, 80.0925, 67.2032],
        [87.7351, -86.1830, 83.1797],
        [32.2957, 79.1875, -107.8602],
        [100, 0, 0],
        [0] * 3,
    ]
    torch.testing.assert_close(rgb_to_lab(colours), torch.tensor(known).double(), rtol=0, atol=5e-3)


def test_what_srgb_does_not_have_is_brought_into_it():
    outside = lab_to_rgb(torch.tensor([[50.0, -120.0, 120.0], [0.0, 90.0, 0.0], [120.0, 0.0, 0.0]]))
    assert ((outside >= 0) & (outside <= 1)).all()


@pytest.mark.parametrize("mean", [0.5, (0.485, 0.456, 0.406)])
def test_pictures_are_divided_and_come_back(mean):
    rgb = uniforms(torch.arange(2), 3 * 16, 0).view(2, 3, 4, 4)
    std = 0.25
    lab = lab_of(normalised(rgb, mean, std), mean, std)
    torch.testing.assert_close(lab, rgb_to_lab(rgb), rtol=0, atol=2e-3)
    grey = as_grey(lab, mean, std)
    back = grey * std + torch.as_tensor(mean).view(-1, 1, 1)
    torch.testing.assert_close(back, (lab[:, :1] / 100).expand(-1, 3, -1, -1), rtol=0, atol=1e-6)
    colours = as_colours(lab)
    torch.testing.assert_close(colours[:, :2] * 110, lab[:, 1:])
    assert (colours[:, 2] == 0).all()
    assert colours.abs().max() <= 1
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lab_of(normalised(rgb, mean, std), mean, std), lab)


def test_there_are_313_bins_as_published():
    gamut = Gamut()
    assert len(gamut) == 313
    assert gamut.bins[0].tolist() == [-90, 50], "the first of the published ones"
    assert (gamut.bins % 10 == 0).all()
    assert len(gamut.bins.unique(dim=0)) == 313
    rgb = torch.cartesian_prod(*[torch.linspace(0, 1, 12).double()] * 3)
    ab = rgb_to_lab(rgb)[:, 1:]
    nearest = gamut.double().bins[gamut.nearest(ab[..., None, None])].squeeze()
    torch.testing.assert_close(nearest, (ab / 10).round() * 10), "every colour of sRGB has the bin of its own square"


def plain_shares(a: float, b: float, bins: list) -> dict[int, float]:
    near = sorted(range(len(bins)), key=lambda q: math.dist((a, b), bins[q]))[:5]
    kernel = [math.exp(-(math.dist((a, b), bins[q]) ** 2) / 50) for q in near]
    return {q: k / sum(kernel) for q, k in zip(near, kernel)}


@precisions
def test_the_loss_and_its_gradient_are_the_papers(dtype):
    """Equation 2: -sum v(Z) sum Z log Z^, v the weight of the likeliest bin; here the mean over positions."""
    gamut = Gamut().to(dtype)
    gamut.weight.copy_(uniforms(torch.arange(313), 1, 5)[:, 0] + 0.5)
    ab = (uniforms(torch.arange(2), 2 * 9, 3).view(2, 2, 3, 3).to(dtype) - 0.5) * 120
    logits = uniforms(torch.arange(2), 313 * 9, 4).view(2, 313, 3, 3).to(dtype).requires_grad_()
    loss = gamut.loss(logits, ab)
    loss.backward()

    (theirs,) = leaves([logits])
    bins, total = gamut.bins.tolist(), 0.0
    for picture in range(2):
        for row in range(3):
            for column in range(3):
                shares = plain_shares(*ab[picture, :, row, column].tolist(), bins)
                log_p = theirs[picture, :, row, column].log_softmax(0)
                weight = gamut.weight[max(shares, key=shares.get)].item()
                total = total - weight * sum(share * log_p[q] for q, share in shares.items())
    (total / 18).backward()
    equal(loss, total / 18)
    equal(logits.grad, theirs.grad)


def test_rare_colours_weigh_more_and_one_on_average():
    bins = Gamut().bins.double()
    prior = uniforms(torch.arange(313), 1, 6)[:, 0].double() ** 4
    prior = prior / prior.sum()
    kernel = np.array([[math.exp(-(math.dist(p, q) ** 2) / 50) for q in bins.tolist()] for p in bins.tolist()])
    smooth = (kernel / kernel.sum(0)) @ prior.numpy()
    expected = 1 / (0.5 * smooth + 0.5 / 313)
    expected /= (smooth * expected).sum()
    found = weights(prior, bins)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    assert smooth.sum() == pytest.approx(1), "smoothing keeps the mass"
    assert found.max() < 313 / 0.5
    torch.testing.assert_close(weights(prior, bins, 1.0), torch.ones(313).double())


def test_the_annealed_mean_lies_between_mean_and_mode():
    gamut = Gamut().double()
    logits = torch.full((1, 313, 1, 1), -50.0, dtype=torch.float64)
    p = {10: 0.6, 200: 0.4}
    for q, share in p.items():
        logits[0, q] = math.log(share)
    sharp = {q: share ** (1 / 0.38) for q, share in p.items()}
    expected = sum(gamut.bins[q] * share for q, share in sharp.items()) / sum(sharp.values())
    torch.testing.assert_close(gamut.decode(logits)[0, :, 0, 0], expected)
    torch.testing.assert_close(gamut.decode(logits, 0.01)[0, :, 0, 0], gamut.bins[10])


@pytest.mark.parametrize("parts", [1, 2])
def test_the_prior_is_that_of_the_pictures(parts):
    gamut = Gamut()
    pixels = np.zeros((6, 24, 24, 3), np.uint8)
    pixels[:4], pixels[4:] = (128, 128, 128), (220, 30, 30)
    method = tiny.build("colorize", tiny.RESNET)
    batches = Batches(HeldPictures(pixels, np.zeros(6, int)), method.views, size=32, batch=2, parts=parts)
    drain(gamut.look(batches, 8, "colorize"))
    grey, red = (
        int(gamut.nearest(rgb_to_lab(torch.tensor([c]) / 255)[:, 1:, None, None]))
        for c in ((128.0,) * 3, (220.0, 30, 30))
    )
    prior = torch.zeros(313).double()
    prior[grey], prior[red] = 2 / 3, 1 / 3
    torch.testing.assert_close(gamut.weight, weights(prior, gamut.bins.double()).float())
    assert gamut.weight[red] > gamut.weight[grey]
    assert "weight" in gamut.state_dict(), "a resumed run needs it"


def test_shrinking_is_the_mean():
    x = torch.arange(32.0).view(1, 2, 4, 4)
    torch.testing.assert_close(shrunk(x, 2), x.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)))


@pytest.mark.parametrize("balance", [0.0, -1.0, 1.5])
def test_bad_balances_are_refused(balance):
    with pytest.raises(InputError, match=f"balance={balance}"):
        Gamut(balance)


@pytest.mark.parametrize(
    "model",
    [
        tiny.VIT,
        tiny.RESNET,
        "swin_tiny_patch4_window7_224(window_size=4, depths=(1, 1), num_heads=(1, 2), embed_dim=16)",
    ],
)
@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("side", [8, 32, 6])
def test_a_painter_paints_from_any_encoder(model, tokens, side):
    from firstlight.encoder import Encoder

    encoder = Encoder(model, size=32)
    painter = Painter(encoder, 5, side, width=8, tokens=tokens)
    x = uniforms(torch.arange(2), 3 * 32 * 32, 0).view(2, 3, 32, 32)
    painted = painter(*encoder.pooled_and_tokens(x)) if tokens else painter(encoder(x))
    assert painted.shape == (2, 5, side, side)
    painted.square().sum().backward()
    assert not [name for name, p in painter.named_parameters() if p.grad is None]
    assert not [name for name, p in encoder.named_parameters() if p.grad is None]


@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("side", [13, 25, 31])
def test_odd_sides_need_no_more_weights_than_even_ones(side, tokens):
    """A first map as large as the picture would: 300 million of them for one of 97 pixels."""
    from firstlight.encoder import Encoder

    encoder = Encoder(tiny.RESNET, size=32)
    painter, even = (Painter(encoder, 5, number, width=8, tokens=tokens) for number in (side, -(-side // 8) * 8))
    weights, as_even = (sum(p.numel() for p in each.parameters()) for each in (painter, even))
    assert weights <= as_even
    x = uniforms(torch.arange(2), 3 * 32 * 32, 0).view(2, 3, 32, 32)
    painted = painter(*encoder.pooled_and_tokens(x)) if tokens else painter(encoder(x))
    assert painted.shape == (2, 5, side, side)
    painted.square().sum().backward()
    assert not [name for name, p in painter.named_parameters() if p.grad is None]


def test_a_painter_of_more_positions_than_pixels_is_refused():
    from firstlight.encoder import Encoder

    with pytest.raises(InputError, match=r"side=33: pictures of 32 px.*nearest: 32"):
        Painter(Encoder(tiny.RESNET, size=32), 5, 33)


def test_grey_pictures_are_told_from_coloured_ones():
    pixels = np.repeat(np.random.default_rng(0).integers(0, 256, (6, 32, 32, 1), np.uint8), 3, 3)
    made = lambda: Batches(HeldPictures(pixels, np.zeros(6, int)), (View(),), size=32, batch=2)  # noqa: E731
    for name in ("colorize", "split_brain", "cmc"):
        with pytest.raises(InputError, match=f"{name}: the pictures are all grey.*choose a method that needs none"):
            drain(tiny.build(name, tiny.RESNET).prepare(made()))
    pixels[5, 4:9, 4:9] = (120, 124, 120)
    drain(look_for_colours(made(), "colorize"))


def test_a_painter_knows_where_tokens_are():
    """A token changes what is painted in its own place and beside it, and not at the other end."""
    from firstlight.encoder import Encoder

    torch.manual_seed(0)
    encoder = Encoder(tiny.VIT, size=64)
    painter = Painter(encoder, 1, 16, width=8).eval()
    tokens = torch.zeros(1, 65, 48)
    tokens[0, 1 + 8 * 1 + 6] = 3.0  # row 1, column 6 of 8 x 8, after one prefix token
    change = (painter(torch.zeros(1, 48), tokens) - painter(torch.zeros(1, 48), torch.zeros(1, 65, 48))).abs()[0, 0]
    assert change[2:4, 12:14].min() > 0
    assert change[8:].max() == 0
    assert change[:, :8].max() == 0
