"""MultiMAE: tokens shared out exactly, the losses of the paper written out, and samples that lack a modality."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import tiny
from firstlight.data.maps import place_of, with_maps
from firstlight.data.source import open_pictures
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.events import Step, drain
from firstlight.methods import Optimisation
from firstlight.methods.multimae import MultiMAE
from firstlight.parts.decoder import CrossDecoder
from firstlight.parts.masks import shared_mask
from firstlight.parts.modalities import truncated
from firstlight.train import Setup
from firstlight.train.loop import train
from firstlight.views.batches import Batches
from parity import equal, equal_each, leaves, precisions, slopes

ALL = torch.ones(4000, 3, dtype=torch.bool)


def parts(batch, method):
    """What each modality's patches hold and what of them is known, from the batch alone, as nested lists of floats."""
    read = {"rgb": batch.views[0], "depth": batch.maps["depth"], "classes": batch.maps["classes"][:, :, 1::2, 1::2]}
    sides = {"rgb": 8, "depth": 8, "classes": 4}
    cells = {}
    for name, maps in read.items():
        side = sides[name]
        cells[name] = [
            [maps[b, :, r : r + side, c : c + side].permute(1, 2, 0).flatten().tolist() for r in steps for c in steps]
            for b in range(len(maps))
            for steps in [range(0, maps.shape[2], side)]
        ]
    for sample in cells["depth"]:  # each map's own mean and deviation, lowest and highest tenth left out
        values = sorted(value for patch in sample for value in patch if value > 0)
        middle = values[len(values) // 10 : len(values) - len(values) // 10]
        mean = sum(middle) / max(1, len(middle))
        var = sum((value - mean) ** 2 for value in middle) / max(1, len(middle) - 1)
        for patch in sample:
            patch[:] = [(value - mean) / (var + 1e-6) ** 0.5 if value > 0 else None for value in patch]
    return cells


def published(batch, method, hidden, painted) -> dict[str, float]:
    """The losses in plain loops: the mean over a sample's hidden, known numbers, then over the samples with any."""
    cells, found = parts(batch, method), {}
    for place, name in enumerate(cells):
        means = []
        for sample, patches in enumerate(cells[name]):
            errors = []
            for patch, values in enumerate(patches):
                if not hidden[sample, place, patch]:
                    continue
                out = painted[place][sample, patch]
                if name == "rgb":
                    target = torch.tensor(values, dtype=torch.float64)
                    target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
                    errors += ((out - target) ** 2).tolist()
                if name == "depth":
                    errors += [abs(guess - value) for guess, value in zip(out.tolist(), values) if value is not None]
                if name == "classes":
                    scores = out.view(16, 5).log_softmax(1)
                    errors += [-scores[cell, int(value)].item() for cell, value in enumerate(values) if value >= 0]
            means += [sum(errors) / len(errors)] if errors else []
        found[name] = sum(means) / len(means) if means else 0.0
    return found


def made(**settings):
    return tiny.fill(tiny.build("multimae", **settings)).double()


def lacking(method, samples=5):
    """A batch in which the second picture has no depth, the third no classes, and the fourth neither."""
    batch = tiny.batch(method, samples=samples)
    batch.maps["depth"][[1, 3]] = 0
    batch.maps["classes"][[2, 3]] = -1
    return batch


@pytest.mark.parametrize("make", [tiny.batch, lacking])
@precisions
def test_the_losses_are_the_papers(dtype, make):
    method = made().to(dtype)
    batch = make(method)
    _, hidden, painted = method.painted(batch)
    expected = published(batch, method, hidden, leaves(painted))
    out = method(batch, 0.0)
    for name, value in expected.items():
        equal(out[name], value, of=name)
    equal(out["loss"], sum(expected.values()))


@precisions
def test_the_gradients_are_the_papers(dtype):
    method = made().to(dtype)
    batch = lacking(method)
    given, hidden, painted = method.painted(batch)
    losses = []
    for place, ((values, known), out) in enumerate(zip(given, painted)):
        means = []
        for sample in range(len(values)):
            counted = known[sample] & hidden[sample, place][:, None]
            if not counted.any():
                continue
            true, guess = values[sample], out[sample]
            if place == 0:
                true = (true - true.mean(1, keepdim=True)) / (true.var(1, keepdim=True) + 1e-6).sqrt()
                means.append(F.mse_loss(guess[counted], true[counted]))
            elif place == 1:
                means.append(F.l1_loss(guess[counted], true[counted]))
            else:
                means.append(F.cross_entropy(guess.view(-1, 16, 5)[counted], true[counted]))
        losses.append(torch.stack(means).mean())
    equal_each(slopes(method(batch, 0.0)["loss"], method), slopes(sum(losses), method))


def test_tokens_are_shared_out_exactly():
    for count in (1, 7, 98, 195):
        keep, hidden = shared_mask(torch.arange(500) * 7919, ALL[:500], 196, count)
        assert keep.shape == (500, count)
        visible = ~hidden.flatten(1)
        assert (visible.sum(1) == count).all()
        assert torch.equal(visible, torch.zeros_like(visible).scatter(1, keep, True))
    assert (keep.diff(dim=1) > 0).all(), "ascending, so none twice"


def test_shares_follow_a_symmetric_dirichlet_and_tokens_are_uniform_within():
    _, hidden = shared_mask(torch.arange(4000) * 7919, ALL, 196, 98)
    share = (~hidden).sum(-1).double() / 98
    assert share.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.015)
    assert share.var(0).tolist() == pytest.approx([1 / 18] * 3, abs=0.004)  # Beta(1, 2)
    assert (share < 0.1).double().mean(0).tolist() == pytest.approx([1 - 0.9**2] * 3, abs=0.025)
    seen = (~hidden).double().mean(0)
    assert seen.mean().item() == pytest.approx(98 / 588, abs=1e-9)
    assert (seen - 1 / 6).abs().max() < 5 * (1 / 6 * 5 / 6 / 4000) ** 0.5
    assert hidden[:3].logical_not().sum(-1).tolist() == [[15, 57, 26], [28, 32, 38], [22, 56, 20]]


def test_a_modality_that_is_not_there_gets_no_token():
    there = torch.tensor([[True, False, True], [True, True, False], [True, False, False]]).repeat(50, 1)
    _, hidden = shared_mask(torch.arange(150) * 31, there, 16, 8)
    counts = (~hidden).sum(-1)
    assert (counts[~there] == 0).all()
    assert (counts.sum(1) == 8).all()
    assert (counts[2::3, 0] == 8).all()


@pytest.mark.parametrize("visible", [1 / 16, 0.5, 15 / 16])
def test_what_is_missing_gives_no_nan(visible):
    method = made(visible=visible)
    for maps in ({}, {"depth": torch.zeros(5, 1, 32, 32).double()}, lacking(method).maps):
        method.zero_grad()
        batch = lacking(method)
        batch.maps = maps
        out = method(batch, 0.0)
        out["loss"].backward()
        assert all(value.isfinite() for value in out.values())
        assert all(p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)
    alone = method(tiny.rows(lacking(method), slice(3, 4)), 0.0)
    assert alone["depth"] == alone["classes"] == 0
    assert alone["rgb"] > 0


def test_hidden_tokens_are_not_seen():
    method = made()
    batch = tiny.batch(method)
    batch.views[0].requires_grad_()
    given = method.kinds.read(batch)
    depth = given[1][0].detach().requires_grad_()
    method.kinds.read = lambda _: [given[0], (depth, given[1][1]), given[2]]
    _, hidden, painted = method.painted(batch)
    sum(out.square().sum() for out in painted).backward()
    rgb = batch.views[0].grad.unfold(2, 8, 8).unfold(3, 8, 8).abs().sum((1, 4, 5)).flatten(1)
    for seen, away in ((rgb, hidden[:, 0]), (depth.grad.abs().sum(-1), hidden[:, 1])):
        assert (seen[away] == 0).all()
        assert (seen[~away] > 0).all()
        assert (~away).any()


def test_depth_is_standardised_by_its_middle():
    values = np.random.default_rng(0).normal(5, 2, 100)
    values[:5], values[-5:] = 1e6, 1e-3  # outliers change nothing
    known = torch.ones(1, 130, dtype=torch.bool)
    known[0, 100:] = False
    given = torch.cat([torch.from_numpy(values), torch.full((30,), 123.0, dtype=torch.float64)])[None]
    middle = np.sort(values)[10:90]
    expected = (values - middle.mean()) / np.sqrt(middle.var(ddof=1) + 1e-6)
    found = truncated(given, known)[0].numpy()
    np.testing.assert_allclose(found[:100], expected, atol=1e-9)
    assert (found[100:] == 0).all()
    assert (truncated(given, torch.zeros_like(known)) == 0).all()
    single = torch.zeros_like(known).index_fill(1, torch.tensor([7]), True)
    assert truncated(given, single).isfinite().all()


def test_tokens_beside_the_patches_are_encoded_with_them():
    method = made()
    encoder, view = method.encoder, tiny.batch(method).views[0]
    beside = torch.randn(4, 32, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    keep = torch.tensor([[0, 5, 16, 47]] * 4)
    net = encoder.net
    embedded = net._pos_embed(net.patch_embed(view))
    both = torch.cat([embedded[:, [0, 1, 6]], beside[:, [0, 31]]], 1)
    torch.testing.assert_close(encoder.tokens(view, keep, beside=beside), net.norm(net.blocks(both)))
    torch.testing.assert_close(encoder.tokens(view, keep[:, :2], beside=beside), encoder.tokens(view, keep[:, :2]))
    with pytest.raises(InputError, match="vit_"):
        Encoder("test_resnet", size=32).tokens(view.float(), beside=beside)


def test_the_decoder_knows_tokens_by_their_numbers_alone():
    decoder = CrossDecoder(12, 16, 7, place=1, modalities=3, width=16, depth=1, heads=2).eval()
    tokens = torch.randn(2, 1 + 6, 12, generator=torch.Generator().manual_seed(0))
    keep, order = torch.tensor([[1, 17, 20, 31, 32, 40]] * 2), torch.tensor([3, 5, 0, 1, 4, 2])
    out = decoder(tokens, keep)
    assert out.shape == (2, 16, 7)
    mixed = torch.cat([tokens[:, :1], tokens[:, 1:][:, order]], 1)
    torch.testing.assert_close(decoder(mixed, keep[:, order]), out)
    assert not torch.allclose(decoder(tokens, keep + 1), out, atol=1e-3)


def test_the_encoder_stays_a_plain_vit(tmp_path):
    method = tiny.build("multimae")
    assert method.encoder.state_dict().keys() == Encoder(tiny.VIT, size=32).state_dict().keys()
    view = tiny.batch(method).views[0]
    tiny.three_steps(method)
    kept = Encoder.load(method.encoder.save(tmp_path))
    torch.testing.assert_close(kept.eval()(view), method.encoder.eval()(view))


@pytest.mark.parametrize(("patch", "cells"), [(4, 4), (8, 4), (16, 4), (2, 2)])
def test_classes_have_four_by_four_places_where_they_fit(patch, cells):
    model = f"vit_tiny_patch16_224(patch_size={patch}, embed_dim=48, depth=1, num_heads=2)"
    method = tiny.build("multimae", model)
    batch = tiny.batch(method)
    values, _ = method.kinds["classes"].read(batch.maps["classes"])
    assert values.shape == (4, (32 // patch) ** 2, cells**2)
    assert method(batch, 0.0)["loss"].isfinite()


@pytest.mark.parametrize("channels", [1, 3])
def test_what_people_see(channels):
    method = tiny.build("multimae", channels=channels).eval()
    batch = tiny.batch(method, channels=channels)
    with torch.no_grad():
        shown = method.reconstruct(batch)
        _, hidden, _ = method.painted(batch)
    names = [f"{how}{what}" for what in ("picture", "depth", "classes") for how in ("", "visible ", "predicted ")]
    assert list(shown) == names
    assert all(picture.shape == (4, channels, 32, 32) and picture.isfinite().all() for picture in shown.values())
    away = hidden.view(4, 3, 1, 4, 4).repeat_interleave(8, 3).repeat_interleave(8, 4)
    for place, what in enumerate(("picture", "depth", "classes")):
        mask = away[:, place].expand_as(shown[what])
        assert torch.equal(shown[f"visible {what}"][~mask], shown[what][~mask])
        assert (shown[f"visible {what}"][mask] == (0 if what == "picture" else -1)).all()
        assert not torch.equal(shown[f"predicted {what}"][mask], shown[what][mask])
    assert torch.equal(shown["picture"], batch.views[0])


@pytest.mark.parametrize("model", ["test_resnet", "mixer_s32_224"])
def test_models_that_cannot_leave_patches_out_are_refused(model):
    with pytest.raises(InputError, match=r"vit_tiny_patch16_224.*" + model):
        tiny.build("multimae", model)


@pytest.mark.parametrize("visible", [0.0, 1.0])
def test_some_tokens_must_be_seen_and_not_as_many_as_a_picture_has(visible):
    with pytest.raises(InputError, match=rf"visible={visible}.* 1 to 15 of 16 tokens; try 0\.5"):
        tiny.build("multimae", visible=visible)


def test_modalities_that_are_not_there_have_no_weights():
    alone = tiny.build("multimae", has_depth=False, classes=0)
    assert list(alone.kinds) == ["rgb"]
    assert not [name for name, _ in alone.kinds.named_parameters()]
    assert set(alone(tiny.batch(alone), 0.0)) == {"loss", "rgb"}


def test_a_short_training_on_real_maps_lowers_every_loss(shared_data):
    place = place_of(shared_data / "mosd_rgbd_320")
    pictures = drain(with_maps(drain(open_pictures(place / "rgb", size=32)), place))
    assert (pictures.maps, len(pictures)) == (("depth", "classes"), 16)
    torch.manual_seed(0)
    method = MultiMAE(Encoder(tiny.VIT, size=32), classes=pictures.map_classes, width=64, depth=1, heads=4)
    batches = Batches(pictures, method.views, size=32, batch=16, multiple=8, maps=method.maps)
    setup = Setup(steps=40, batch=16, precision="fp32", optimisation=Optimisation(lr=0.03), log_every=1)
    losses = [event.values for event in train(method, batches, setup) if isinstance(event, Step)]
    for name, most in (("rgb", 0.8), ("depth", 0.8), ("classes", 0.6)):
        first, last = (sum(values[name] for values in some) / 8 for some in (losses[:8], losses[-8:]))
        assert last < most * first, f"{name}: {first} to {last}"


def test_three_steps_are_as_recorded():
    assert tiny.three_steps(made()) == pytest.approx([8.221904, 9.710320, 8.391105], abs=1e-5)
