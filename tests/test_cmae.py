"""CMAE: both losses against the paper's, what the target sees, the shift of the crops, and a target at one pace."""

import math

import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.parts.decoder import Decoder
from firstlight.parts.masks import random_mask
from firstlight.parts.shift import SHIFTED, Shift
from firstlight.views import View
from firstlight.views.make import make
from parity import equal, equal_each, leaves, precisions, slopes
from plain import contrast


def pieces(method, batch) -> tuple[torch.Tensor, ...]:
    """Painted patches, predictions and keys, put together from the method's parts by hand."""
    picture, other = (method.shift(view, batch.key, number) for number, view in enumerate(batch.views))
    keep, hidden = random_mask(batch.key, 16, 0.65)
    tokens = method.encoder.tokens(picture, keep)
    query = method.predictor(method.projector(method.features(tokens, keep).mean(1)))
    net = method.target.copy.encoder.net
    with torch.no_grad():
        x = net.blocks(net.norm_pre(net._pos_embed(net.patch_embed(other))))  # the final norm has no part in it
        key = method.target.copy.head(x[:, 1:].mean(1))
    return picture, method.pixels(tokens, keep), hidden, query, key


def published(picture, painted, hidden, query, key) -> float:
    """The paper's two losses in plain Python."""
    errors = []
    for n, place in hidden.nonzero().tolist():
        top, left = place // 4 * 8, place % 4 * 8
        values = [picture[n, c, top + y, left + x].item() for y in range(8) for x in range(8) for c in range(3)]
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) + 1e-6)
        guess = painted[n, place].tolist()
        errors.append(sum((g - (v - mean) / deviation) ** 2 for g, v in zip(guess, values)) / len(values))
    return sum(errors) / len(errors) + 2 * 0.07 * contrast(query.tolist(), key.tolist(), 0.07)


@precisions
def test_the_loss_is_the_papers(dtype):
    method = tiny.build("cmae").to(dtype)
    batch = tiny.batch(method)
    equal(method(batch, 0.0)["loss"], published(*pieces(method, batch)))


def in_torch(picture, painted, hidden, query, key) -> torch.Tensor:
    """The same with torch, for its gradient."""
    patches = picture.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 4, 5, 1).flatten(1, 2).flatten(2)
    target = (patches - patches.mean(2, True)) / (patches.var(2, keepdim=True) + 1e-6).sqrt()
    loss = ((painted - target).square().mean(2) * hidden).sum() / hidden.sum()
    query, key = (torch.nn.functional.normalize(rows, dim=1) for rows in (query, key))
    return loss + 0.14 * torch.nn.functional.cross_entropy(query @ key.T / 0.07, torch.arange(len(query)))


@precisions
def test_the_gradient_at_both_ends_is_that_of_the_same_loss_written_with_torch(dtype):
    method = tiny.build("cmae").to(dtype)
    batch = tiny.batch(method)
    picture, _, hidden, _, key = pieces(method, batch)
    painted, queries = tiny.outputs(method.pixels), tiny.outputs(method.predictor)
    method(batch, 0.0)["loss"].backward()
    theirs = leaves([painted[0], queries[0]])
    in_torch(picture.double(), theirs[0], hidden, theirs[1], key.double()).backward()
    for ours, other in zip((painted[0], queries[0]), theirs):
        equal(ours.grad, other.grad)


def test_the_gradient_reaches_every_weight():
    method = tiny.build("cmae").double()
    batch = tiny.batch(method)
    equal_each(slopes(method(batch, 0.0)["loss"], method), slopes(in_torch(*pieces(method, batch)), method))


def test_hidden_patches_reach_only_the_target():
    method = tiny.build("cmae", shift=0.0).double()
    batch = tiny.batch(method)
    before = method(batch, 0.0)
    _, hidden = random_mask(batch.key, 16, 0.65)
    hole = hidden.view(-1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert hidden.sum(1).tolist() == [11] * 4, "5 of 16 stay"

    plain, coloured = batch.views
    inside = torch.where(hole, 0.5 * plain[..., :32, :32], plain[..., :32, :32])
    batch.views = [torch.nn.functional.pad(inside, (0, 8, 0, 8)), coloured]
    after = method(batch, 0.0)
    assert torch.equal(after["contrast"], before["contrast"])
    batch.views = [plain, torch.nn.functional.pad(torch.where(hole, 0, coloured[..., :32, :32]), (0, 8, 0, 8))]
    assert method(batch, 0.0)["contrast"] != before["contrast"], "the target sees all patches"
    assert method(batch, 0.0)["repair"] == before["repair"]


def test_crops_lie_less_than_32_of_224_pixels_apart():
    class Size:
        size, multiple = 224, 16

    shift = Shift(Size(), "cmae", 1 / 7)
    assert shift.pixels == 32
    assert [round(view.size * 224) for view in shift.views] == [256, 256]
    place = torch.arange(256.0)
    canvas = (place[:, None] * 256 + place)[None, None].expand(400, -1, -1, -1)
    corners = [shift(canvas, torch.arange(400), number)[:, 0, 0, 0].long() for number in range(2)]
    rows, columns = (torch.stack([f(corner) for corner in corners]) for f in (lambda c: c // 256, lambda c: c % 256))
    for axis in (rows, columns):
        assert (axis.min(), axis.max()) == (0, 31)
        assert (axis[0] - axis[1]).abs().max() > 24
    assert (rows != columns).any()


def test_the_two_views_are_of_one_crop_and_only_the_second_has_other_colours():
    assert [view.like for view in SHIFTED] == [None, 0]
    torch.manual_seed(0)
    pixels, key = torch.randint(0, 256, (8, 24, 20, 3), dtype=torch.uint8), torch.arange(8)
    plain = View(size=1.0, rotate=0.5, flip_vertical=0.5)
    first, second, free = (
        make(pixels, key, view, side=16, number=number)
        for number, view in ((0, plain), (1, View(rotate=0.5, flip_vertical=0.5, like=0)), (1, plain))
    )
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(a, b) for a, b in zip(vars(first[1]).values(), vars(second[1]).values()))
    assert not torch.equal(first[0], free[0])

    coloured = make(pixels, key, SHIFTED[1], side=16, number=1)
    same, other = make(pixels, key, SHIFTED[0], side=16, number=0), make(pixels, key, SHIFTED[0], side=16, number=1)
    assert torch.equal(coloured[1].box, same[1].box)
    assert torch.equal(coloured[1].flipped, same[1].flipped)
    assert not torch.equal(coloured[0], same[0])
    assert not torch.equal(other[1].box, same[1].box)


def test_the_target_moves_at_one_pace_from_beginning_to_end():
    method = tiny.build("cmae", momentum=0.5)
    name = "encoder.net.blocks.0.mlp.fc1.weight"
    copy, source = dict(method.target.copy.named_parameters())[name], dict(method.named_parameters())[name]
    for t in (0.0, 0.9):
        with torch.no_grad():
            copy.zero_()
            source.fill_(1.0)
        method.after_step(t)
        assert torch.equal(copy, torch.full_like(copy, 0.5))


def test_the_feature_decoder_has_two_blocks_of_its_own():
    method = tiny.build("cmae", depth=3)
    blocks = [len([b for b in decoder.blocks if not isinstance(b, torch.nn.LayerNorm)])
              for decoder in (method.pixels, method.features)]  # fmt: skip
    assert blocks == [3, 2]
    assert isinstance(method.features, Decoder)
    assert method.features.leave.out_features == 48, "the projector takes the width that the target's tokens have"


def test_it_draws_what_it_made():
    method = tiny.build("cmae").eval()
    batch = tiny.batch(method)
    with torch.no_grad():
        shown = method.reconstruct(batch)
    predicted = "predicted (mean and contrast given)"
    assert list(shown) == ["picture", "masked", predicted]
    assert all(pictures.shape == (4, 3, 32, 32) for pictures in shown.values())
    torch.testing.assert_close(shown["picture"], method.shift(batch.views[0], batch.key, 0))
    _, hidden = random_mask(batch.key, 16, 0.65)
    seen = ~hidden.view(-1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3).expand(-1, 3, -1, -1)
    for name in ("masked", predicted):
        assert torch.equal(shown[name][seen], shown["picture"][seen])
    assert (shown["masked"][~seen] == 0).all()


def test_it_learns():
    method = tiny.build("cmae")
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=3e-3)
    batch = tiny.batch(method, samples=8)
    losses = []
    for step in range(30):
        out = method(batch, step / 30)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        method.after_step(step / 30)
        losses.append([out[key].item() for key in ("repair", "contrast")])
    assert losses[-1][0] < losses[0][0]
    assert losses[-1][1] < 0.5 * losses[0][1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mask": 1.0}, r"cmae\(mask=1\.0\).*nearest: 0\.937"),
        ({"mask": 0.0}, r"cmae\(mask=0\.0\).*nearest: 0\.063"),
        ({"temperature": 0.0}, r"0\.001 to 100.*nearest: 0\.001"),
        ({"weight": -1.0}, "0 to 1,000.*nearest: 0"),
        ({"shift": 1.5}, "0 to 1.*nearest: 1"),
        ({"momentum": 1.5}, "0 to 1.*nearest: 1"),
    ],
)
def test_impossible_settings_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        tiny.build("cmae", **settings)


def test_models_that_cannot_leave_patches_out_are_refused():
    with pytest.raises(InputError, match=r"vit_tiny_patch16_224.*test_resnet"):
        tiny.build("cmae", tiny.RESNET)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("cmae")).double())
    assert losses == pytest.approx([2.993198, 3.019414, 2.369709], abs=1e-4)
