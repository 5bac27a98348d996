"""BEiT: cross-entropy on hidden patches alone, published masks, blocks that start small, and who needs a tokenizer."""

import math

import pytest
import torch
import torch.nn.functional as F

import tiny
from firstlight.errors import InputError
from firstlight.parts.masks import crop_masks
from firstlight.views import Batch
from parity import differ, equal, equal_each, precisions, slopes


def masks(method, batch: Batch) -> torch.Tensor:
    grid, share = method.holes.grid, method.holes.share
    return crop_masks(batch.key, 1, grid, 1.0, share, method.holes.smallest)


def said(method, batch: Batch, hidden: torch.Tensor) -> torch.Tensor:
    """The logits of all patches, put together by hand."""
    return method.head(method.encoder.tokens(batch.views[0], hidden=hidden, hole=method.holes.vector[0])[:, 1:])


@precisions
def test_the_loss_and_its_gradient(dtype):
    method = tiny.fill(tiny.build("beit", tiny.VIT.replace("=8", "=4"))).to(dtype)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    codes, hidden = method.tokenizer(batch.views[0]), masks(method, batch)
    assert len(hidden.sum(1).unique()) > 1, "pictures with more hidden patches count more"
    logits = said(method, batch, hidden)
    total = 0.0
    for sample, place in hidden.nonzero().tolist():
        row = logits[sample, place].tolist()
        total += math.log(sum(map(math.exp, row))) - row[codes[sample, place]]
    equal(loss, total / int(hidden.sum()))
    equal_each(slopes(loss, method), slopes(F.cross_entropy(logits[hidden], codes[hidden]), method))


def test_the_words_are_a_tokenizers():
    """stable-pretraining's, unless another is given, are a hash of the pixels by random weights, which nothing learned.

    Here there is no method without a tokenizer, and a word says what the tokenizer sees.
    """
    method = tiny.fill(tiny.build("beit", tiny.VIT.replace("=8", "=4"))).double()
    batch = tiny.batch(method)
    codes, hidden = method.tokenizer(batch.views[0]), masks(method, batch)
    cells = batch.views[0].unfold(2, 4, 4).unfold(3, 4, 4).flatten(2, 3).permute(0, 2, 1, 3, 4).flatten(2)
    weights = torch.randn(cells.shape[2], 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hashed = ((cells @ weights > 0) * 2 ** torch.arange(8)).sum(2) % 24
    loss, logits = method(batch, 0.0)["loss"], said(method, batch, hidden)[hidden]
    differ(loss, F.cross_entropy(logits, hashed[hidden]))
    spoilt = batch.views[0] + 0.01 * torch.randn(batch.views[0].shape, generator=torch.Generator().manual_seed(1))
    assert (method.tokenizer(spoilt) == codes).double().mean() > 0.9, "pictures that look alike have the same words"


def test_hidden_pixels_are_not_seen_and_visible_codes_do_not_matter(monkeypatch):
    method = tiny.build("beit")
    batch = tiny.batch(method)
    codes, hidden = method.tokenizer(batch.views[0]), masks(method, batch)
    batch.views[0].requires_grad_()
    monkeypatch.setattr(method.tokenizer, "forward", lambda _: codes)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    grad = batch.views[0].grad.unfold(2, 8, 8).unfold(3, 8, 8).abs().sum((1, 4, 5)).flatten(1)
    assert (grad[hidden] == 0).all()
    assert (grad[~hidden] > 0).all()
    monkeypatch.setattr(method.tokenizer, "forward", lambda _: torch.where(hidden, codes, (codes + 1) % 24))
    assert method(batch, 0.0)["loss"] == loss


def test_masks_are_the_papers():
    method = tiny.build("beit", tiny.VIT.replace("patch_size=8", "patch_size=2"))
    assert (method.holes.grid, method.holes.smallest) == (16, 16)
    share = method.holes.share
    assert 196 * share[0] == 75
    count = crop_masks(torch.arange(400), 1, 14, 1.0, share, 16).sum(1)
    assert count.max() == 75
    assert count.min() >= 60
    assert count.float().mean() == pytest.approx(74.5, abs=0.5)
    assert 0.5 < (count == 75).float().mean() < 0.85, "some stop short"
    assert tiny.build("beit").holes.smallest == 1


def test_blocks_start_small_unless_there_are_weights_to_keep():
    fresh, kept, untouched = (
        dict(method.encoder.named_parameters())
        for method in (tiny.build("beit"), tiny.build("beit", fresh=False), tiny.build("classify"))
    )
    for name, weight in untouched.items():
        block = int(name.split(".")[2]) + 1 if name.endswith(("attn.proj.weight", "mlp.fc2.weight")) else 0
        torch.testing.assert_close(fresh[name], weight / (2 * block) ** 0.5 if block else weight)
        assert torch.equal(kept[name], weight)


def test_the_tokenizer_stays_as_it_is():
    method = tiny.build("beit")
    before = {name: value.clone() for name, value in method.tokenizer.state_dict().items()}
    tiny.three_steps(method)
    assert all(torch.equal(value, before[name]) for name, value in method.tokenizer.state_dict().items())


def test_an_easy_set_is_read_better_than_by_chance():
    method = tiny.build("beit")
    picture = tiny.batch(method, samples=4).views[0][:, :, :8, :8].repeat(1, 1, 4, 4)
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=3e-3)
    for step in range(40):
        out = method(Batch([picture], torch.arange(4), torch.arange(4) + 4 * step, torch.arange(4)), step / 40)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
    codes = method.tokenizer(picture)
    assert out["accuracy"] > 1.5 * codes.flatten().bincount().max() / codes.numel()


def test_reconstructions_show_the_words_as_pictures():
    method = tiny.build("beit").eval()
    batch = tiny.batch(method)
    shown = method.reconstruct(batch)
    assert list(shown) == ["picture", "masked", "predicted", "decoded"]
    assert all(value.shape == (4, 3, 32, 32) for value in shown.values())
    blank = (shown["masked"] == 0).all(1).unfold(1, 8, 8).unfold(2, 8, 8).all((3, 4)).flatten(1)
    assert torch.equal(blank, masks(method, batch))
    torch.testing.assert_close(shown["decoded"], method.tokenizer.pictures(method.tokenizer(batch.views[0])))
    method.tokenizer.decodes = False
    assert method.reconstruct(batch) == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokenizer": ""}, "pretrain --method dvae"),
        ({"tokenizer": "/nowhere"}, "nowhere"),
        ({"mask": 0.0}, r"beit\(mask=0\.0\).*16 patches.*nearest: 0\.063"),
        ({"mask": 1.0}, r"mask=1\.0"),
        ({"smallest": 0}, "smallest=0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        tiny.build("beit", **settings)


def test_a_model_without_patches_is_refused():
    with pytest.raises(InputError, match="choose a vit_ or swin_"):
        tiny.build("beit", tiny.RESNET)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("beit")).double())
    assert losses == pytest.approx([3.201053, 2.737632, 2.962936], abs=1e-4)
