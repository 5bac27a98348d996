"""Masked patch prediction: exact counts, the three corruptions, the 3-bit colours, and the loss with its gradient."""

import math

import pytest
import torch
from torch import Tensor

import tiny
from firstlight.errors import InputError
from firstlight.parts.masks import corruption
from firstlight.parts.patches import class_colour, colour_class, patchify
from parity import equal, equal_each, precisions, slopes


def published(method, batch, colours: list[list[int]]) -> Tensor:
    """The mean cross-entropy of corrupted patches, whose *embeddings* are replaced one by one, in timm's own blocks."""
    net = method.encoder.net
    corrupted, blank, source = corruption(batch.key, len(colours[0]), method.count, method.blank, method.swapped)
    embedded, terms = net.patch_embed(batch.views[0]), []
    pictures = []
    for sample, patches in enumerate(embedded.flatten(1, -2)):
        places = range(len(patches))
        pictures.append(
            torch.stack([method.hole[0] if blank[sample, p] else patches[source[sample, p]] for p in places])
        )
    tokens = net.norm(net.blocks(net._pos_embed(torch.stack(pictures).view_as(embedded))))[:, 1:]
    for sample, place in corrupted.nonzero().tolist():
        logits = method.head.weight @ tokens[sample, place] + method.head.bias
        terms.append(logits.exp().sum().log() - logits[colours[sample][place]])
    return sum(terms) / len(terms)


def colours_of(pictures: Tensor, patch: int, mean: float = 0.5, std: float = 0.5) -> list[list[int]]:
    """min(floor(8 c), 7) of each channel's mean in 0..1, in plain loops."""
    found = []
    for picture in pictures.double():
        row = []
        for top in range(0, picture.shape[1], patch):
            for left in range(0, picture.shape[2], patch):
                number = 0
                for channel in picture:
                    values = channel[top : top + patch, left : left + patch].flatten().tolist()
                    number = 8 * number + min(math.floor(8 * (sum(values) / len(values) * std + mean)), 7)
                row.append(number)
        found.append(row)
    return found


@pytest.mark.parametrize("channels", [1, 3])
@precisions
def test_the_loss_and_its_gradient_are_the_papers(dtype, channels):
    method = tiny.fill(tiny.build("masked_patch", channels=channels)).to(dtype)
    batch = tiny.batch(method, samples=3, channels=channels)
    loss, expected = method(batch, 0.0)["loss"], published(method, batch, colours_of(batch.views[0], 8))
    equal(loss, expected)
    equal_each(slopes(loss, method), slopes(expected, method))


def test_exactly_half_is_corrupted_in_three_ways():
    corrupted, blank, source = corruption(torch.arange(400) * 7919, 196, 98, 0.8, 0.1)
    assert (corrupted.sum(1) == 98).all()
    place = torch.arange(196)
    swapped = source != place
    assert not (blank & ~corrupted).any()
    assert not (swapped & ~corrupted).any(), "the others are as they were"
    assert not (swapped & blank).any()
    for kind, share in ((blank, 0.8), (swapped, 0.1), (corrupted & ~blank & ~swapped, 0.1)):
        assert kind.sum() / corrupted.sum() == pytest.approx(share, abs=0.006), "four standard errors"
    distance = ((source - place) % 196)[swapped].bincount(minlength=196)
    assert distance[0] == 0
    assert distance[1:].min() > 0, "another patch from anywhere"


def test_a_patch_is_never_its_own_other():
    for length in (2, 3, 4, 5):
        _, _, source = corruption(torch.arange(2000), length, length, 0.0, 1.0)
        assert (source != torch.arange(length)).all()
        assert (source.sort(1).values >= 0).all()


def test_the_corruption_belongs_to_its_sample():
    key = torch.arange(64) * 7919
    for whole, some in zip(corruption(key, 16, 8, 0.8, 0.1), corruption(key[10:13], 16, 8, 0.8, 0.1)):
        assert torch.equal(whole[10:13], some)


@pytest.mark.parametrize(
    ("colour", "number"),
    [
        ((0, 0, 0), 0),
        ((1, 1, 1), 511),
        ((0.5, 0.25, 0.125), 273),
        ((0.124, 0, 0.99), 7),
        ((1, 0, 0), 448),
        ((1.1, -0.1, 0), 448),  # bicubic resizing overshoots
    ],
)
def test_colours_are_three_bits_a_channel(colour, number):
    assert colour_class(torch.tensor(colour, dtype=torch.float64)) == number


def test_what_is_no_number_has_a_class_and_no_loss():
    """So that the training skips the step, and does not fail."""
    assert colour_class(torch.full((1, 3), math.nan)) == 0
    method = tiny.build("masked_patch")
    batch = tiny.batch(method)
    batch.views[0] = batch.views[0] * math.nan
    assert method(batch, 0.0)["loss"].isnan()


def test_the_middle_of_a_class_is_in_it():
    for channels in (1, 3):
        every = torch.arange(8**channels)
        assert torch.equal(colour_class(class_colour(every, channels)), every)
    assert class_colour(torch.tensor(273), 3).tolist() == [0.5625, 0.3125, 0.1875]


def test_colours_are_those_before_the_normalisation():
    method = tiny.build("masked_patch").double()
    batch = tiny.batch(method)
    plain = method.colours(patchify(batch.views[0], 8))
    assert plain.tolist() == colours_of(batch.views[0], 8)
    method.encoder.mean, method.encoder.std = (0.4, 0.5, 0.3), (0.2, 0.3, 0.25)
    mean, std = (torch.tensor(x).double().view(3, 1, 1) for x in (method.encoder.mean, method.encoder.std))
    same = ((batch.views[0] * 0.5 + 0.5) - mean) / std
    assert torch.equal(method.colours(patchify(same, 8)), plain)


def test_blank_patches_are_not_seen():
    method = tiny.build("masked_patch").eval()
    batch = tiny.batch(method)
    _, _, _, blank, logits = method.guess(batch)
    square = blank.view(-1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    # What is blank may still be shown elsewhere, in the place of another patch.
    _, _, source = corruption(batch.key, 16, 8, 0.8, 0.1)
    alone = [not blank[i][source[i][~blank[i]]].any() for i in range(len(blank))]
    assert any(alone)
    batch.views[0] = torch.where(square, torch.randn_like(batch.views[0]), batch.views[0])
    assert torch.equal(method.guess(batch)[4][alone], logits[alone])


def test_reconstructions_paint_the_named_colours():
    method = tiny.build("masked_patch").eval()
    batch = tiny.batch(method)
    patches, corrupted, seen, blank, logits = method.guess(batch)
    shown = method.reconstruct(batch)
    assert list(shown) == ["picture", "masked", "predicted"]
    torch.testing.assert_close(shown["picture"], batch.views[0])
    masked, predicted = (patchify(shown[name], 8) for name in ("masked", "predicted"))
    assert (masked[blank] == 0).all()
    assert torch.equal(masked[~blank], seen[~blank])
    assert torch.equal(predicted[~corrupted], patches[~corrupted])
    assert torch.equal(method.colours(predicted)[corrupted], logits.argmax(2)[corrupted])


def test_it_learns_pictures_of_one_colour():
    method = tiny.build("masked_patch")
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    for step in range(40):
        batch = tiny.batch(method, samples=8, seed=step)
        batch.views[0] = batch.views[0][:, :, :1, :1].sign().expand(-1, -1, 32, 32)
        out = method(batch, step / 40)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
    assert out["accuracy"] > 0.9, "eight colours of 512"


@pytest.mark.parametrize(
    ("model", "settings", "said"),
    [
        (tiny.RESNET, {}, r"needs a ViT, such as 'vit_tiny_patch16_224'; 'test_resnet'"),
        (tiny.VIT, {"mask": 0.0}, "16 patches and leave some; nearest: 0.063"),
        (tiny.VIT, {"mask": 1.0}, "16 patches and leave some; nearest: 0.937"),
        (tiny.VIT, {"mask": 1.2}, "from 0 to 1"),
        (tiny.VIT, {"blank": 0.8, "swapped": 0.3}, "try 0.8 and 0.1"),
        (tiny.VIT, {"blank": 0.0, "swapped": 0.0}, "try 0.8 and 0.1"),
        (tiny.VIT, {"blank": -0.1}, r"blank=-0.1.*nearest: 0"),
    ],
)
def test_what_cannot_be_is_refused(model, settings, said):
    with pytest.raises(InputError, match=said):
        tiny.build("masked_patch", model, **settings)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("masked_patch")).double())
    assert losses == pytest.approx([6.347148, 5.429342, 5.66595], abs=1e-4)
