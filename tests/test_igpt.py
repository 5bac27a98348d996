"""iGPT: colours, the loss against the formula, nothing from the future, features from the middle, completion."""

import math

import numpy as np
import pytest
import torch

import tiny
from firstlight.data.held import HeldPictures
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.events import drain
from firstlight.parts.kmeans import kmeans, nearest
from firstlight.views.batches import Batches
from parity import differ, equal, equal_each, precisions, slopes

both = pytest.mark.parametrize("objective", ["causal", "bert"])


def built(objective: str = "causal", **settings):
    return tiny.fill(tiny.build("igpt", objective=objective, **settings)).double()


def colours(picture: torch.Tensor, palette: torch.Tensor) -> list[int]:
    """The nearest colour of every patch, in loops."""
    found = []
    for place in range(16):
        top, left = place // 4 * 8, place % 4 * 8
        mean = (picture[:, top : top + 8, left : left + 8].mean((1, 2)) * 0.5 + 0.5).tolist()
        far = [sum((a - b) ** 2 for a, b in zip(mean, row)) for row in palette.tolist()]
        found.append(far.index(min(far)))
    return found


def told(method, codes: torch.Tensor, hidden: torch.Tensor | None, may: torch.Tensor | None) -> torch.Tensor:
    """The logarithms of all colours' probabilities, ``[B, 17, colours]``, in timm's own blocks.

    Args:
        method: an iGPT.
        codes: the colours ``[B, 16]``.
        hidden: which of them a learned vector takes the place of, if any.
        may: bool ``[17, 17]``, which tokens (columns) each token (row) may attend to, as timm wants it; None for all.
    """
    painted = ((method.palette.rows[codes] - 0.5) / 0.5).view(-1, 4, 4, 3).permute(0, 3, 1, 2)
    net, painted = method.encoder.net, painted.repeat_interleave(8, 2).repeat_interleave(8, 3)
    x = net.patch_embed(painted)
    if hidden is not None:
        x = torch.where(hidden.view(-1, 4, 4, 1), method.pixels.hole[0], x)
    x = net.norm_pre(net._pos_embed(x))
    for block in net.blocks:
        x = block(x, attn_mask=may)
    return method.pixels.head(net.norm(x)).log_softmax(-1)


@both
@precisions
def test_loss_and_gradient_are_the_papers(dtype, objective):
    method = built(objective).to(dtype)
    batch, causal = tiny.batch(method), objective == "causal"
    codes = torch.tensor([colours(picture, method.palette.rows) for picture in batch.views[0]])
    assert torch.equal(method.palette.codes(batch.views[0]), codes)
    hidden = method.pixels.wanted(batch.key, codes)
    log_p = told(method, codes, None if causal else hidden, torch.ones(17, 17).bool().tril() if causal else None)
    shift = 0 if causal else 1
    terms = [-log_p[b, n + shift, codes[b, n]] for b in range(4) for n in range(16) if hidden[b, n]]
    expected = sum(terms) / len(terms)
    assert len(terms) == (64 if causal else int(hidden.sum()))
    loss = method(batch, 0.0)["loss"]
    equal(loss, expected)
    equal_each(slopes(loss, method), slopes(expected, method))


@torch.no_grad()
def test_unlike_stable_pretrainings_a_pixel_is_told_from_those_before_it():
    """It hands True for what is barred to timm, where True may attend: a pixel is told from itself and what follows."""
    method = built()
    batch = tiny.batch(method)
    codes = method.palette.codes(batch.views[0])
    other, barred = codes.clone(), torch.ones(17, 17).bool().triu(1)
    other[:, 9:] = (other[:, 9:] + 1) % 16
    barred[-1] = True  # of the last token everything is barred, and a mean of nothing is no number
    (ours, same), (theirs, another) = (
        [told(method, given, None, may) for given in (codes, other)]
        for may in (~torch.ones(17, 17).bool().triu(1), barred)
    )
    equal(ours[:, :10], same[:, :10])
    differ(theirs[:, 9], another[:, 9])
    differ(method(batch, 0.0)["loss"], -theirs[:, :16].gather(2, codes[..., None]).mean())


def test_no_gradient_comes_from_the_future():
    method = built()
    x = tiny.batch(method).views[0].requires_grad_()
    nothing = torch.zeros(4, 16, dtype=torch.bool)
    for place in range(16):
        (grad,) = torch.autograd.grad(method.pixels(method.encoder, x, nothing)[:, place].sum(), x, allow_unused=True)
        of = grad.unfold(2, 8, 8).unfold(3, 8, 8).abs().sum((1, 4, 5)).flatten(1)
        assert (of[:, place:] == 0).all(), "neither the pixel that is told nor any behind it"
        assert (of[:, :place] > 0).all(), "all before it"


def test_later_pixels_change_nothing_before_them():
    method = built().eval()
    codes = torch.arange(16)[None] % 7
    other = codes.clone()
    other[:, 9:] = 12
    nothing = torch.zeros(1, 16, dtype=torch.bool)
    first, second = (method.pixels(method.encoder, method.palette.paint(c), nothing) for c in (codes, other))
    torch.testing.assert_close(first[:, :10], second[:, :10], rtol=0, atol=1e-12)
    assert not torch.allclose(first[:, 10], second[:, 10])


def test_hidden_pixels_are_not_seen():
    method = built("bert").eval()
    hidden = (torch.arange(16) % 5 == 0)[None]
    codes = torch.arange(16)[None]
    other = torch.where(hidden, 3, codes)
    first, second = (method.pixels(method.encoder, method.palette.paint(c), hidden) for c in (codes, other))
    assert torch.equal(first, second)
    share = method.pixels.wanted(torch.arange(500), torch.zeros(500, 64)).double().mean().item()
    assert share == pytest.approx(0.15, abs=0.01)


def test_nothing_hidden_is_no_loss():
    method = tiny.build("igpt", objective="bert", mask=1e-7)
    assert method(tiny.batch(method), 0.0)["loss"].item() == 0


@both
@torch.no_grad()
def test_features_are_from_the_middle_and_come_back(objective, tmp_path):
    method = tiny.build("igpt", objective=objective).eval()
    assert (method.encoder.reading.block, method.encoder.causal) == (1, objective == "causal")
    assert tiny.build("igpt", middle=0).encoder.reading.block == 0
    x = tiny.batch(method).views[0]
    again = Encoder.load(method.encoder.save(tmp_path)).eval()
    assert torch.equal(again(x), method.encoder(x))


def test_patches_stay_blind_to_all_but_their_mean():
    method = tiny.build("igpt")
    tiny.three_steps(method)
    weight = method.encoder.net.patch_embed.proj.weight
    torch.testing.assert_close(weight, weight.mean((2, 3), keepdim=True).expand_as(weight), rtol=0, atol=1e-6)


def textbook(rows: list, counts: list, centroids: list, iterations: int) -> list:
    for _ in range(iterations):
        near = [min(range(len(centroids)), key=lambda k: math.dist(row, centroids[k])) for row in rows]
        for k in range(len(centroids)):
            mine = [(row, count) for row, count, label in zip(rows, counts, near) if label == k]
            if mine:
                total = sum(count for _, count in mine)
                centroids[k] = [sum(row[d] * count for row, count in mine) / total for d in range(len(rows[0]))]
    return centroids


def test_kmeans_is_the_textbooks():
    rows, counts = torch.rand(60, 3, generator=torch.Generator().manual_seed(0)).double(), torch.arange(60) % 4 + 1
    start = kmeans(rows, counts, 7, iterations=0)
    assert len(start.unique(dim=0)) == 7
    expected = textbook(rows.tolist(), counts.tolist(), start.tolist(), 20)
    torch.testing.assert_close(kmeans(rows, counts, 7), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(nearest(rows, start), torch.cdist(rows, start).argmin(1))
    with pytest.raises(InputError, match="allowed are 1 to 60"):
        kmeans(rows, counts, 61)


def looked(levels: list[int], batch: int = 6, parts: int = 1, **settings):
    pixels = np.repeat(np.array(levels, np.uint8)[:, None, None, None], 32, 1).repeat(32, 2).repeat(3, 3)
    method = tiny.build("igpt", **settings)
    batches = Batches(HeldPictures(pixels, np.zeros(len(levels))), method.views, size=32, batch=batch, parts=parts)
    drain(method.prepare(batches))
    return method.palette.rows


def test_the_palette_is_of_the_pictures_however_they_are_divided():
    levels = [0, 51, 102, 153, 204, 255]
    rows = looked(levels, colours=6)
    assert rows.mean(1).sort().values.tolist() == pytest.approx([level / 255 for level in levels], abs=1e-3)
    assert torch.equal(rows, looked(levels, batch=2, colours=6))
    assert torch.equal(rows, looked(levels, batch=6, parts=3, colours=6))
    with pytest.raises(InputError, match="nearest: colours=6"):
        looked(levels, colours=7)


@both
@torch.no_grad()
def test_pictures_are_completed(objective):
    method = tiny.build("igpt", objective=objective).eval()
    batch = tiny.batch(method)
    shown = method.reconstruct(batch)
    assert list(shown) == ["picture", "given", "predicted"]
    assert all(value.shape == batch.views[0].shape for value in shown.values())
    if objective == "causal":
        assert torch.equal(shown["picture"][:, :, :16], shown["predicted"][:, :, :16])
        assert torch.equal(shown["picture"][:, :, :16], shown["given"][:, :, :16])
        assert (shown["given"][:, :, 16:] == 0).all()
        batch.views[0][:, :, 16:] = 0.9
        assert torch.equal(method.reconstruct(batch)["predicted"], shown["predicted"]), (
            "the lower half is not looked at"
        )


def test_drawn_colours_have_their_probabilities():
    method = tiny.build("igpt", colours=3)
    logits = torch.tensor([0.2, 0.5, 0.3]).log().expand(3000, 16, 3)
    found, hidden = method.pixels.filled(torch.zeros(3000, 16).long(), torch.arange(3000), lambda *_: logits)
    assert hidden.sum(1).unique().tolist() == [8]
    shares = found[hidden].bincount(minlength=3) / hidden.sum()
    assert shares.tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.02)


@pytest.mark.parametrize("wrong", [{"colours": 1}, {"mask": 0.0}, {"mask": 1.0}, {"middle": 2}, {"objective": "bort"}])
def test_refusals(wrong):
    with pytest.raises(InputError, match=r"allowed|bert|nearest: 2"):
        tiny.build("igpt", **wrong)


@pytest.mark.parametrize(
    "model", [tiny.RESNET, "vit_tiny_patch16_224(patch_size=8, depth=2, class_token=False, global_pool='avg')"]
)
def test_models_without_a_start_are_refused(model):
    with pytest.raises(InputError, match="vit_tiny_patch16_224"):
        tiny.build("igpt", model)


@both
def test_three_steps_are_as_recorded(objective):
    losses = tiny.three_steps(built(objective))
    expected = {"causal": [3.953544, 0.781150, 0.855324], "bert": [2.353471, 1.202600, 0.804047]}
    assert losses == pytest.approx(expected[objective], abs=1e-4)
