"""dVAE: the loss against torch's own distributions, schedules, monitors, and that it learns to redraw."""

import math

import pytest
import torch
from torch.distributions import Categorical, Laplace, SigmoidTransform, TransformedDistribution, kl_divergence

import tiny
from firstlight.errors import InputError
from firstlight.parts.unfolding import FINEST, logit_laplace
from firstlight.views import Batch
from firstlight.views.random import Salt, gumbel
from parity import equal, equal_each, precisions


def published(method, batch: Batch, t: float) -> torch.Tensor:
    """Minus the paper's bound on the likelihood per value, its Jacobian left out, from torch's distributions."""
    picture = batch.views[0]
    logits = method.codes.logits(method.encoder.tokens(picture)[:, method.encoder.prefix :])
    noise = gumbel(batch.key, logits[0].numel(), Salt.GUMBEL).reshape(logits.shape).to(logits.dtype)
    temperature = 1 / 16 + 15 / 16 * (1 + math.cos(math.pi * min(1, t / 0.5))) / 2
    hot = (logits + noise) / temperature
    shares = (hot - hot.max(-1, keepdim=True).values.detach()).exp()
    shares = shares / shares.sum(-1, keepdim=True)
    vectors = torch.einsum("bnk,kd->bnd", shares, method.codes.book)
    out = method.codes.decoder(vectors.transpose(1, 2).reshape(len(picture), -1, 4, 4))
    mean, spread = out[:, : picture.shape[1]], out[:, picture.shape[1] :]

    x = (picture * 0.5 + 0.5) * 0.8 + 0.1
    likely = TransformedDistribution(Laplace(mean, spread.exp() + 1 / 64), SigmoidTransform()).log_prob(x)
    pixels = -(likely + (x * (1 - x)).log()).mean()
    uniform = Categorical(probs=torch.full_like(logits, 1 / logits.shape[-1]))
    divergence = kl_divergence(Categorical(logits=logits), uniform).sum() / picture.numel()  # both per value
    return pixels + method.kl * (1 - math.cos(math.pi * min(1, t / 0.1))) / 2 * divergence


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("t", [0.0, 0.04, 0.3, 0.8])
@precisions
def test_the_loss_and_its_gradient(dtype, channels, t):
    found = []
    for of in (lambda method, batch: method(batch, t)["loss"], lambda method, batch: published(method, batch, t)):
        method = tiny.fill(tiny.build("dvae", channels=channels, kl=2.0)).to(dtype)
        loss = of(method, tiny.batch(method, samples=2, channels=channels))
        loss.backward()
        found.append((loss, {name: p.grad for name, p in method.named_parameters() if p.grad is not None}))
    (ours, own), (theirs, other) = found
    equal(ours, theirs)
    equal_each(own, other)


def test_codes_harden_as_the_temperature_falls(monkeypatch):
    method, found = tiny.fill(tiny.build("dvae")), []
    monkeypatch.setattr(method.codes, "paint", lambda shares: found.append(shares) or [torch.zeros(4, 3, 32, 32)] * 2)
    for t in (0.0, 0.25, 0.5, 0.99):
        method(tiny.batch(method), t)
    largest = [shares.max(-1).values.mean().item() for shares in found]
    assert largest[0] < largest[1] < largest[2] == largest[3]
    torch.testing.assert_close(found[0].sum(-1), torch.ones(4, 16))


def test_collapse_is_seen():
    method = tiny.build("dvae")
    with torch.no_grad():
        method.codes.logits.weight.zero_()
        method.codes.logits.bias.zero_()
        method.codes.logits.bias[3] = 30.0
    out = method(tiny.batch(method), 0.5)
    assert out["perplexity"] == pytest.approx(1.0)
    assert out["kl"] == pytest.approx(math.log(24), abs=1e-5)
    with torch.no_grad():
        method.codes.logits.bias.zero_()
    assert method(tiny.batch(method), 0.5)["kl"] == pytest.approx(0.0, abs=1e-6)
    used = method.codes.logits(method.encoder.tokens(tiny.batch(method).views[0])[:, 1:]).argmax(-1)
    assert len(used.unique()) == 1
    varied = tiny.filled(method, start=sum(b"tokenizer"))(tiny.batch(method), 0.5)["perplexity"]
    assert 3 < varied < 24


def test_a_flat_background_is_not_infinitely_likely():
    black, sure = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), -100.0)
    mean = torch.full_like(black, math.log(0.1 / 0.9))
    assert logit_laplace(black, mean, sure).mean() == pytest.approx(math.log(2 * FINEST), abs=1e-4)


def test_an_easy_set_is_redrawn():
    method = tiny.build("dvae", kl=0.1)
    colours = torch.tensor([[-0.8, 0.5, 0.0], [0.8, -0.5, 0.2], [0.1, 0.9, -0.9], [-0.3, -0.9, 0.6]])
    picture = colours[:, :, None, None].repeat(1, 1, 32, 32)
    optimizer, first = torch.optim.AdamW(method.parameters(), lr=5e-3), 0.0
    for step in range(40):
        batch = Batch([picture], torch.arange(4), torch.arange(4) + 4 * step, torch.arange(4))
        out = method(batch, step / 40)
        first = first or out["pixels"].item()
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
    assert out["pixels"] < first - 0.5
    with torch.no_grad():
        decoded = method.eval().reconstruct(batch)["decoded"]
    assert (decoded - picture).abs().mean() < 0.6 * (picture - picture.mean(0)).abs().mean()


def test_reconstructions_stand_side_by_side():
    method = tiny.build("dvae").eval()
    shown = method.reconstruct(tiny.batch(method))
    assert list(shown) == ["picture", "decoded"]
    assert all(value.shape == (4, 3, 32, 32) and value.abs().max() <= 1 for value in shown.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"codes": 1}, "codes=1.*nearest: 2"),
        ({"codes": 10**6 + 1}, "codes=1000001.*nearest: 1000000"),
        ({"width": 0}, "width=0"),
        ({"depth": -1}, "depth=-1"),
        ({"kl": -1.0}, "kl=-1"),
        ({"coldest": 0.0}, "coldest=0"),
        ({"cool": 0.0}, "cool=0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        tiny.build("dvae", **settings)


def test_a_single_position_is_no_grid():
    with pytest.raises(InputError, match=r"2x2.*test_resnet.*1 tokens of 32x32.*vit_tiny"):
        tiny.build("dvae", tiny.RESNET)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("dvae")).double())
    assert losses == pytest.approx([1.630665, 1.660981, 1.659330], abs=1e-4)
