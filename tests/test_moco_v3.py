"""MoCo v3: the loss against the paper, the heads of ViT and ResNet, the frozen patch projection."""

import math

import pytest
import torch
from torch import nn

import tiny
from firstlight.errors import InputError
from firstlight.parts.positions import sincos
from parity import differ, equal, leaves, precisions


def published(queries: list, keys: list, temperature: float) -> float:
    """Algorithm 1 of the paper in plain Python: ``2 T (ctr(q1, k2) + ctr(q2, k1))``."""

    def unit(row: list[float]) -> list[float]:
        return [x / math.sqrt(sum(y * y for y in row)) for x in row]

    total = 0.0
    for view in range(2):
        q, k = [unit(row) for row in queries[view]], [unit(row) for row in keys[1 - view]]
        for i, row in enumerate(q):
            logits = [sum(x * y for x, y in zip(row, other)) / temperature for other in k]
            total += (-logits[i] + math.log(sum(map(math.exp, logits)))) / len(q)
    return 2 * temperature * total


def reference(queries: list[torch.Tensor], keys: list[torch.Tensor], temperature: float) -> torch.Tensor:
    """The same in torch, for its gradient. lightly has no such loss: its NT-Xent also contrasts rows of one view."""
    total = 0.0
    for q, k in zip(queries, reversed(keys)):
        logits = nn.functional.normalize(q) @ nn.functional.normalize(k).T / temperature
        total = total - logits.log_softmax(1).diagonal().mean()
    return 2 * temperature * total


@pytest.mark.parametrize("temperature", [0.2, 1.0])
@precisions
def test_the_loss_and_its_gradient_are_the_papers(dtype, temperature):
    method = tiny.build("moco_v3", tiny.RESNET, temperature=temperature).to(dtype)
    queries, keys = tiny.outputs(method.predictor), tiny.outputs(method.key)
    loss = method(tiny.batch(method, samples=5), 0.0)["loss"]
    loss.backward()
    equal(loss, published([q.tolist() for q in queries], [k.tolist() for k in keys], temperature))
    theirs = leaves(queries)
    reference(theirs, [key.double() for key in keys], temperature).backward()
    for ours, other in zip(queries, theirs):
        equal(ours.grad, other.grad)


def test_lightlys_contrast_is_another():
    from lightly.loss import NTXentLoss

    method = tiny.build("moco_v3", tiny.RESNET)
    queries, keys = tiny.outputs(method.predictor), tiny.outputs(method.key)
    loss = method(tiny.batch(method, samples=5), 0.0)["loss"]
    differ(loss, 2 * 0.2 * sum(NTXentLoss(temperature=0.2)(q, k) for q, k in zip(queries, reversed(keys))))


@pytest.mark.parametrize(("model", "layers", "last_norm"), [(tiny.VIT, 3, True), (tiny.RESNET, 2, False)])
def test_the_heads_are_the_published_ones(model, layers, last_norm):
    method = tiny.build("moco_v3", model)
    for head, count, norm in ((method.projector, layers, True), (method.predictor, 2, last_norm)):
        linear = [layer for layer in head if isinstance(layer, nn.Linear)]
        assert len(linear) == count
        assert all(layer.bias is None for layer in linear)
        assert isinstance(head[-1], nn.BatchNorm1d) == norm
        assert not norm or not head[-1].affine
    assert len(list(method.key.copy.children())) == 2, "encoder and projector; the predictor has no copy"


def test_patches_and_positions_rest():
    method = tiny.build("moco_v3")
    resting = {name: p.clone() for name, p in method.encoder.named_parameters() if not p.requires_grad}
    assert set(resting) == {"net.pos_embed", "net.patch_embed.proj.weight", "net.patch_embed.proj.bias"}
    torch.testing.assert_close(resting["net.pos_embed"][0], sincos(48, 4, prefix=1))
    tiny.three_steps(method)
    assert all(torch.equal(p, resting[name]) for name, p in method.encoder.named_parameters() if name in resting)


def test_an_encoder_with_weights_keeps_its_positions_and_patches_may_learn():
    plain = tiny.build("byol").encoder.state_dict()
    kept = tiny.build("moco_v3", fresh=False, freeze_patches=False)
    assert all(torch.equal(value, plain[name]) for name, value in kept.encoder.state_dict().items())
    assert all(p.requires_grad for p in kept.encoder.parameters())


def test_the_key_network_slows_down_along_a_cosine_once_a_step():
    method = tiny.build("moco_v3", momentum=0.9)
    start = [p.clone() for p in method.key.copy.parameters()]
    method(tiny.batch(method), 0.0)
    method(tiny.batch(method), 0.0)
    assert all(torch.equal(a, b) for a, b in zip(start, method.key.copy.parameters())), "not in a micro-batch"
    source = nn.Sequential(method.encoder, method.projector)
    with torch.no_grad():
        for p in source.parameters():
            p.add_(1.0)
    method.after_step(0.5)
    for mine, old, new in zip(method.key.copy.parameters(), start, source.parameters()):
        torch.testing.assert_close(mine, 0.95 * old + 0.05 * new.detach())


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"momentum": -0.1}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"moco_v3\(.*nearest: 0"):
        tiny.build("moco_v3", **settings)
    with pytest.raises(InputError, match=r"batch=1.*at least 2"):
        tiny.build("moco_v3").check(1)


def test_the_papers_optimisation():
    from firstlight.methods.moco_v3 import MoCoV3

    chosen = MoCoV3.optimisation
    assert (chosen.optimizer, chosen.lr, chosen.weight_decay) == ("adamw", 1.5e-4, 0.1)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("moco_v3")).double())
    assert losses == pytest.approx([1.659988, 1.674319, 1.964680], abs=1e-4)
