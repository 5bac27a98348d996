"""Optimisers, parameter groups, clipping and schedules against the papers' formulas written out."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import tiny as small
from firstlight import spec
from firstlight.errors import InputError
from firstlight.methods import Optimisation
from firstlight.train import optimisers, schedules
from firstlight.train.optimisers import LARS
from tiny_training import tiny


def _by_hand(rule: str, weights: list[np.ndarray], gradients: list[list[np.ndarray]], decay: float) -> list[np.ndarray]:
    """Three LARS rules as the official codes have them, in float64; the last weight is a bias, excluded."""
    lr, momentum, trust = 0.3, 0.9, 0.001
    weights = [w.copy() for w in weights]
    velocity = [np.zeros_like(w) for w in weights]
    for step in gradients:
        for i, g in enumerate(step):
            w, bias = weights[i], i == len(weights) - 1
            if rule == "swav":
                adapted = trust * np.linalg.norm(w) / (np.linalg.norm(g) + decay * np.linalg.norm(w) + 1e-8)
                g = (g + decay * w) * adapted
                velocity[i] = momentum * velocity[i] + g
                weights[i] = w - lr * velocity[i]
                continue
            g = g if bias else g + decay * w
            ratio = 1.0 if bias else trust * np.linalg.norm(w) / np.linalg.norm(g)
            if rule == "simclr":
                velocity[i] = momentum * velocity[i] + lr * ratio * g
                weights[i] = w - velocity[i]
            else:
                velocity[i] = momentum * velocity[i] + ratio * g
                weights[i] = w - lr * velocity[i]
        lr *= 0.9
    return weights


@pytest.mark.parametrize("rule", ["mocov3", "simclr", "swav"])
def test_lars_follows_the_official_rule(rule):
    draw = np.random.default_rng(0)
    shapes = [(3, 4), (2, 3, 2), (5,)]
    weights = [draw.normal(size=shape) for shape in shapes]
    gradients = [[draw.normal(size=shape) for shape in shapes] for _ in range(4)]

    ours = [nn.Parameter(torch.tensor(w)) for w in weights]
    excluded = rule == "swav"
    groups = [
        {"params": ours[:2], "weight_decay": 0.1},
        {"params": ours[2:], "weight_decay": 0.1 if excluded else 0.0, "adapts": excluded},
    ]
    optimizer = LARS(groups, lr=0.3, momentum=0.9, rule=rule)
    for step in gradients:
        for parameter, gradient in zip(ours, step):
            parameter.grad = torch.tensor(gradient)
        optimizer.step()
        for group in optimizer.param_groups:  # a moving rate tells the rate inside the momentum from that outside
            group["lr"] *= 0.9

    for parameter, expected in zip(ours, _by_hand(rule, weights, gradients, 0.1)):
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_the_three_lars_rules_differ():
    ends = []
    for rule in ("mocov3", "simclr", "swav"):
        weight = nn.Parameter(torch.ones(2, 2))
        optimizer = LARS([weight], lr=1.0, weight_decay=0.5, rule=rule)
        for lr in (1.0, 0.5, 0.25):
            optimizer.param_groups[0]["lr"] = lr
            weight.grad = torch.tensor([[1.0, -2.0], [0.5, 0.0]])
            optimizer.step()
        ends.append(weight.detach().clone())
    assert not torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("rule", ["mocov3", "simclr", "swav"])
def test_lars_moves_weights_that_are_zero(rule):
    weight = nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.ones(2, 2)
    LARS([weight], lr=0.5, rule=rule).step()
    assert torch.equal(weight.detach(), torch.full((2, 2), -0.5))


def test_lars_refuses_an_unknown_rule():
    with pytest.raises(InputError, match="mocov3"):
        LARS([nn.Parameter(torch.ones(1))], rule="mocov2")


def test_biases_and_norms_do_not_decay_and_tied_weights_are_there_once():
    method = tiny()
    groups = optimisers.parameter_groups(method, Optimisation())
    assert all(group["decays"] == (parameter.ndim > 1) for group in groups for parameter in group["params"])
    parameters = [parameter for group in groups for parameter in group["params"]]
    assert len({id(parameter) for parameter in parameters}) == len(parameters) == len(list(method.parameters()))


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
def test_vectors_decay_where_a_method_says_so_and_are_never_adapted(optimizer):
    method = tiny()
    chosen = Optimisation(optimizer, decay_vectors=True)
    groups = optimisers.parameter_groups(method, chosen)
    assert all(group["decays"] for group in groups)
    assert all(group["adapts"] == (p.ndim > 1) for group in groups for p in group["params"])

    built = optimisers.build(method, chosen)
    for parameter in method.parameters():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    optimisers.set_rates(built, 0.5, 0.1)
    built.step()
    vectors = [parameter for parameter in method.parameters() if parameter.ndim == 1]
    assert vectors
    assert all(torch.allclose(vector, torch.tensor(0.95)) for vector in vectors), "1 - rate * decay * 1"


def test_frozen_weights_are_left_out():
    method = tiny()
    method.head.requires_grad_(False)
    parameters = [p for group in optimisers.parameter_groups(method, Optimisation()) for p in group["params"]]
    assert not any(p is method.head.weight for p in parameters)


def test_layer_decay_slows_the_first_layers_most():
    method = tiny()
    rates = {
        id(parameter): group["rate"]
        for group in optimisers.parameter_groups(method, Optimisation(layer_decay=0.5))
        for parameter in group["params"]
    }
    assert rates[id(method.encoder.stem.weight)] == 0.25
    assert rates[id(method.encoder.last.weight)] == 0.5
    assert rates[id(method.head.weight)] == rates[id(method.head.bias)] == 1.0


def test_rates_reach_every_group():
    optimizer = optimisers.build(tiny(), Optimisation(layer_decay=0.5))
    optimisers.set_rates(optimizer, 0.8, 0.04)
    assert {group["lr"] for group in optimizer.param_groups} == {0.2, 0.4, 0.8}
    assert all(group["weight_decay"] == (0.04 if group["decays"] else 0.0) for group in optimizer.param_groups)


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD), ("lars", LARS)])
def test_each_optimiser_lowers_the_loss(name, kind):
    method = tiny(dropout=0.0)
    optimizer = optimisers.build(method, Optimisation(optimizer=name, lr=0.01))
    assert isinstance(optimizer, kind)
    inputs, labels = torch.randn(32, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 4
    losses = []
    for _ in range(30):
        optimisers.set_rates(optimizer, 0.01 if name != "lars" else 0.1, 0.0)
        loss = nn.functional.cross_entropy(method.head(method.encoder(inputs)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_an_unknown_optimiser_is_named():
    with pytest.raises(InputError, match="did you mean 'adamw'"):
        optimisers.build(tiny(), Optimisation(optimizer="adam"))


def test_clipping_together_and_each_by_itself():
    def fresh():
        parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
        parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 4.0]), torch.tensor([12.0])
        return parameters

    together = fresh()
    assert optimisers.clip(together, 1.3, each=False).item() == pytest.approx(13.0)
    assert torch.allclose(together[0].grad, torch.tensor([0.3, 0.4]), atol=1e-5)
    assert torch.allclose(together[1].grad, torch.tensor([1.2]), atol=1e-5)

    each = fresh()
    assert optimisers.clip(each, 6.0, each=True).item() == pytest.approx(13.0)
    assert torch.equal(each[0].grad, torch.tensor([3.0, 4.0]))
    assert torch.allclose(each[1].grad, torch.tensor([6.0]), atol=1e-4)

    neither = fresh()
    optimisers.clip(neither, None, each=False)
    assert neither[1].grad.item() == 12.0


def test_the_learning_rate_rises_falls_and_scales_with_the_batch():
    chosen = Optimisation(lr=0.1, warmup=0.1, lr_end=0.01)
    curve = [schedules.learning_rate(chosen, step=step, steps=100, batch=512) for step in range(100)]
    assert curve[0] == pytest.approx(0.02)
    assert curve[9] == curve[10] == max(curve) == pytest.approx(0.2)
    assert curve[55] == pytest.approx((0.2 + 0.002) / 2)
    assert curve[99] == pytest.approx(0.002 + 0.5 * 0.198 * (1 + math.cos(math.pi * 89 / 90)))
    assert all(a > b for a, b in itertools.pairwise(curve[10:]))


def test_all_warm_up_and_none():
    rising = [schedules.learning_rate(Optimisation(lr=1.0, warmup=1.0), step=s, steps=4, batch=256) for s in range(4)]
    assert rising == [0.25, 0.5, 0.75, 1.0]
    assert schedules.learning_rate(Optimisation(lr=1.0, warmup=0.0), step=0, steps=4, batch=256) == 1.0


def test_weight_decay_is_constant_or_a_cosine():
    assert schedules.weight_decay(Optimisation(weight_decay=0.05), step=7, steps=10) == 0.05
    rising = Optimisation(weight_decay=(0.04, 0.4))
    assert schedules.weight_decay(rising, step=0, steps=10) == pytest.approx(0.04)
    assert schedules.weight_decay(rising, step=5, steps=10) == pytest.approx(0.22)


# Names of the tiny ViT's weights, behind "encoder.net.". Positions and the class token have three dimensions and decay,
# as in DINO and MAE.
DECAYED = (
    "cls_token pos_embed patch_embed.proj.weight "
    "blocks.0.attn.qkv.weight blocks.0.attn.proj.weight blocks.0.mlp.fc1.weight blocks.0.mlp.fc2.weight "
    "blocks.1.attn.qkv.weight blocks.1.attn.proj.weight blocks.1.mlp.fc1.weight blocks.1.mlp.fc2.weight"
)
UNDECAYED = (
    "patch_embed.proj.bias blocks.0.norm1.weight blocks.0.norm1.bias blocks.0.attn.qkv.bias blocks.0.attn.proj.bias "
    "blocks.0.norm2.weight blocks.0.norm2.bias blocks.0.mlp.fc1.bias blocks.0.mlp.fc2.bias "
    "blocks.1.norm1.weight blocks.1.norm1.bias blocks.1.attn.qkv.bias blocks.1.attn.proj.bias "
    "blocks.1.norm2.weight blocks.1.norm2.bias blocks.1.mlp.fc1.bias blocks.1.mlp.fc2.bias norm.weight norm.bias"
)
RESTING = {
    "mae": "pos_embed",
    "cmae": "pos_embed",
    "multimae": "pos_embed",
    "moco_v3": "pos_embed patch_embed.proj.weight patch_embed.proj.bias",
}
"""weights of the encoder that are not trained"""

# Of the heads: what decays, what does not. SwAV's rule excludes nothing. The public codes of MoCo, SimSiam, NPID and
# SupCon hand every weight to torch's SGD, which decays vectors too; that of PIRL excludes them. So do those of CMC,
# RotNet and relative position.
EVERYTHING = ("cmc", "context", "deepcluster", "instance", "moco", "rotation", "simsiam", "supcon", "swav")
APART = ("beit", "simmim")
"""whose positions and class token do not decay, as published"""
SECOND = ("cmc", "split_brain")
"""whose encoders have a second network for the colours"""
HEADS = {
    "autoencoder": (
        (
            "painter.pooled.weight painter.paint.2.weight painter.paint.5.weight painter.paint.8.weight "
            "painter.paint.11.weight"
        ),
        (
            "painter.pooled.bias painter.paint.0.weight painter.paint.0.bias painter.paint.3.weight "
            "painter.paint.3.bias painter.paint.6.weight painter.paint.6.bias painter.paint.9.weight "
            "painter.paint.9.bias painter.paint.11.bias"
        ),
    ),
    "cmae": (
        (
            "pixels.hole pixels.enter.weight pixels.blocks.0.self_attn.in_proj_weight "
            "pixels.blocks.0.self_attn.out_proj.weight pixels.blocks.0.linear1.weight "
            "pixels.blocks.0.linear2.weight pixels.leave.weight features.hole features.enter.weight "
            "features.blocks.0.self_attn.in_proj_weight features.blocks.0.self_attn.out_proj.weight "
            "features.blocks.0.linear1.weight features.blocks.0.linear2.weight "
            "features.blocks.1.self_attn.in_proj_weight features.blocks.1.self_attn.out_proj.weight "
            "features.blocks.1.linear1.weight features.blocks.1.linear2.weight features.leave.weight "
            "projector.0.weight projector.3.weight predictor.0.weight predictor.3.weight"
        ),
        (
            "pixels.enter.bias pixels.blocks.0.self_attn.in_proj_bias "
            "pixels.blocks.0.self_attn.out_proj.bias pixels.blocks.0.linear1.bias "
            "pixels.blocks.0.linear2.bias pixels.blocks.0.norm1.weight pixels.blocks.0.norm1.bias "
            "pixels.blocks.0.norm2.weight pixels.blocks.0.norm2.bias pixels.blocks.1.weight "
            "pixels.blocks.1.bias pixels.leave.bias features.enter.bias "
            "features.blocks.0.self_attn.in_proj_bias features.blocks.0.self_attn.out_proj.bias "
            "features.blocks.0.linear1.bias features.blocks.0.linear2.bias features.blocks.0.norm1.weight "
            "features.blocks.0.norm1.bias features.blocks.0.norm2.weight features.blocks.0.norm2.bias "
            "features.blocks.1.self_attn.in_proj_bias features.blocks.1.self_attn.out_proj.bias "
            "features.blocks.1.linear1.bias features.blocks.1.linear2.bias features.blocks.1.norm1.weight "
            "features.blocks.1.norm1.bias features.blocks.1.norm2.weight features.blocks.1.norm2.bias "
            "features.blocks.2.weight features.blocks.2.bias features.leave.bias projector.1.weight "
            "projector.1.bias predictor.1.weight predictor.1.bias"
        ),
    ),
    "cmc": (
        "light_head.weight light_head.bias colour_head.weight colour_head.bias",
        "",
    ),
    "colorize": (
        "painter.pooled.weight painter.token.weight painter.paint.2.weight painter.paint.5.weight",
        (
            "painter.pooled.bias painter.token.bias painter.paint.0.weight painter.paint.0.bias "
            "painter.paint.3.weight painter.paint.3.bias painter.paint.5.bias"
        ),
    ),
    "context": (
        "head.layers.0.weight head.layers.1.weight head.layers.1.bias head.layers.3.weight head.layers.3.bias",
        "",
    ),
    "cpc": (
        " ".join(
            f"futures.{n}.{name}.weight"
            for n in range(4)
            for name in ("rows.blocks.0.0", "rows.blocks.0.3", "rows.blocks.0.5", "target", "predict.0")
        ),
        " ".join(f"futures.{n}.rows.blocks.0.{place}.bias" for n in range(4) for place in (0, 3, 5)),
    ),
    "cutpaste": (
        "head.0.0.weight head.0.3.weight head.1.weight",
        "head.0.1.weight head.0.1.bias head.0.4.weight head.0.4.bias head.1.bias",
    ),
    "igpt": (
        "pixels.head.weight",
        "",
    ),
    "inpaint": (
        (
            "painter.paint.weight "
            "adversary.judge.0.weight adversary.judge.2.weight adversary.judge.4.weight adversary.judge.6.weight"
        ),
        (
            "painter.paint.bias "
            "adversary.judge.0.bias adversary.judge.2.bias adversary.judge.4.bias adversary.judge.6.bias"
        ),
    ),
    "jigsaw": (
        "narrow.0.weight head.0.weight",
        "narrow.1.weight narrow.1.bias head.0.bias",
    ),
    "multimae": (
        (
            "kinds.depth.enter.weight kinds.classes.embedding.weight kinds.classes.enter.weight "
            "decoders.0.hole decoders.0.modality decoders.0.enter.weight decoders.0.cross.in_proj_weight "
            "decoders.0.cross.out_proj.weight decoders.0.mlp.0.weight decoders.0.mlp.2.weight "
            "decoders.0.blocks.0.self_attn.in_proj_weight decoders.0.blocks.0.self_attn.out_proj.weight "
            "decoders.0.blocks.0.linear1.weight decoders.0.blocks.0.linear2.weight decoders.0.leave.weight "
            "decoders.1.hole decoders.1.modality decoders.1.enter.weight decoders.1.cross.in_proj_weight "
            "decoders.1.cross.out_proj.weight decoders.1.mlp.0.weight decoders.1.mlp.2.weight "
            "decoders.1.blocks.0.self_attn.in_proj_weight decoders.1.blocks.0.self_attn.out_proj.weight "
            "decoders.1.blocks.0.linear1.weight decoders.1.blocks.0.linear2.weight decoders.1.leave.weight "
            "decoders.2.hole decoders.2.modality decoders.2.enter.weight decoders.2.cross.in_proj_weight "
            "decoders.2.cross.out_proj.weight decoders.2.mlp.0.weight decoders.2.mlp.2.weight "
            "decoders.2.blocks.0.self_attn.in_proj_weight decoders.2.blocks.0.self_attn.out_proj.weight "
            "decoders.2.blocks.0.linear1.weight decoders.2.blocks.0.linear2.weight decoders.2.leave.weight"
        ),
        (
            "kinds.depth.enter.bias kinds.classes.enter.bias decoders.0.enter.bias decoders.0.norms.0.weight "
            "decoders.0.norms.0.bias decoders.0.norms.1.weight decoders.0.norms.1.bias "
            "decoders.0.norms.2.weight decoders.0.norms.2.bias decoders.0.cross.in_proj_bias "
            "decoders.0.cross.out_proj.bias decoders.0.mlp.0.bias decoders.0.mlp.2.bias "
            "decoders.0.blocks.0.self_attn.in_proj_bias decoders.0.blocks.0.self_attn.out_proj.bias "
            "decoders.0.blocks.0.linear1.bias decoders.0.blocks.0.linear2.bias "
            "decoders.0.blocks.0.norm1.weight decoders.0.blocks.0.norm1.bias "
            "decoders.0.blocks.0.norm2.weight decoders.0.blocks.0.norm2.bias decoders.0.leave.bias "
            "decoders.1.enter.bias decoders.1.norms.0.weight decoders.1.norms.0.bias "
            "decoders.1.norms.1.weight decoders.1.norms.1.bias decoders.1.norms.2.weight "
            "decoders.1.norms.2.bias decoders.1.cross.in_proj_bias decoders.1.cross.out_proj.bias "
            "decoders.1.mlp.0.bias decoders.1.mlp.2.bias decoders.1.blocks.0.self_attn.in_proj_bias "
            "decoders.1.blocks.0.self_attn.out_proj.bias decoders.1.blocks.0.linear1.bias "
            "decoders.1.blocks.0.linear2.bias decoders.1.blocks.0.norm1.weight "
            "decoders.1.blocks.0.norm1.bias decoders.1.blocks.0.norm2.weight decoders.1.blocks.0.norm2.bias "
            "decoders.1.leave.bias decoders.2.enter.bias decoders.2.norms.0.weight decoders.2.norms.0.bias "
            "decoders.2.norms.1.weight decoders.2.norms.1.bias decoders.2.norms.2.weight "
            "decoders.2.norms.2.bias decoders.2.cross.in_proj_bias decoders.2.cross.out_proj.bias "
            "decoders.2.mlp.0.bias decoders.2.mlp.2.bias decoders.2.blocks.0.self_attn.in_proj_bias "
            "decoders.2.blocks.0.self_attn.out_proj.bias decoders.2.blocks.0.linear1.bias "
            "decoders.2.blocks.0.linear2.bias decoders.2.blocks.0.norm1.weight "
            "decoders.2.blocks.0.norm1.bias decoders.2.blocks.0.norm2.weight decoders.2.blocks.0.norm2.bias "
            "decoders.2.leave.bias"
        ),
    ),
    "rotation": (
        "head.weight head.bias",
        "",
    ),
    "sit": (
        (
            "painter.layers.0.weight painter.layers.2.weight painter.layers.4.weight painter.paint.weight "
            "head.0.weight head.3.weight head.6.weight"
        ),
        (
            "painter.layers.0.bias painter.layers.2.bias painter.layers.4.bias painter.paint.bias "
            "head.1.weight head.1.bias head.4.weight head.4.bias"
        ),
    ),
    "split_brain": (
        (
            "paint_colours.pooled.weight paint_colours.token.weight paint_colours.paint.2.weight "
            "paint_colours.paint.5.weight paint_lightness.pooled.weight paint_lightness.token.weight "
            "paint_lightness.paint.2.weight paint_lightness.paint.5.weight"
        ),
        (
            "paint_colours.pooled.bias paint_colours.token.bias paint_colours.paint.0.weight "
            "paint_colours.paint.0.bias paint_colours.paint.3.weight paint_colours.paint.3.bias "
            "paint_colours.paint.5.bias paint_lightness.pooled.bias paint_lightness.token.bias "
            "paint_lightness.paint.0.weight paint_lightness.paint.0.bias paint_lightness.paint.3.weight "
            "paint_lightness.paint.3.bias paint_lightness.paint.5.bias"
        ),
    ),
    "barlow": (
        "projector.0.weight projector.3.weight projector.6.weight",
        "projector.1.weight projector.1.bias projector.4.weight projector.4.bias",
    ),
    "beit": (
        "holes.vector head.weight",
        "head.bias",
    ),
    "byol": (
        "projector.0.weight projector.3.weight predictor.0.weight predictor.3.weight",
        ("projector.0.bias projector.1.weight projector.1.bias predictor.0.bias predictor.1.weight predictor.1.bias"),
    ),
    "classify": (
        "head.weight",
        "head.bias",
    ),
    "deepcluster": (
        ("projector.0.weight projector.0.bias projector.1.weight projector.1.bias projector.3.weight projector.3.bias"),
        "",
    ),
    "dino": (
        "head.layers.0.weight head.layers.2.weight head.layers.4.weight head.last.weight",
        "head.layers.0.bias head.layers.2.bias head.layers.4.bias",
    ),
    "dinov2": (
        "holes.vector head.layers.0.weight head.layers.2.weight head.layers.4.weight head.last.weight",
        "head.layers.0.bias head.layers.2.bias head.layers.4.bias",
    ),
    "dvae": (
        (
            "codes.book codes.logits.weight codes.decoder.steps.0.change.1.weight "
            "codes.decoder.steps.0.change.3.weight codes.decoder.steps.2.aside.weight "
            "codes.decoder.steps.2.change.1.weight codes.decoder.steps.2.change.3.weight "
            "codes.decoder.steps.4.change.1.weight codes.decoder.steps.4.change.3.weight "
            "codes.decoder.steps.6.change.1.weight codes.decoder.steps.6.change.3.weight "
            "codes.decoder.steps.8.weight"
        ),
        (
            "codes.logits.bias codes.decoder.steps.0.change.1.bias codes.decoder.steps.0.change.3.bias "
            "codes.decoder.steps.2.aside.bias codes.decoder.steps.2.change.1.bias codes.decoder.steps.2.change.3.bias "
            "codes.decoder.steps.4.change.1.bias codes.decoder.steps.4.change.3.bias "
            "codes.decoder.steps.6.change.1.bias codes.decoder.steps.6.change.3.bias codes.decoder.steps.8.bias"
        ),
    ),
    "esvit": (
        (
            "head.layers.0.weight head.layers.2.weight head.layers.4.weight head.last.weight "
            "region_head.layers.0.weight region_head.layers.2.weight region_head.layers.4.weight "
            "region_head.last.weight"
        ),
        (
            "head.layers.0.bias head.layers.2.bias head.layers.4.bias region_head.layers.0.bias "
            "region_head.layers.2.bias region_head.layers.4.bias"
        ),
    ),
    "ibot": (
        "holes.vector head.layers.0.weight head.layers.2.weight head.layers.4.weight head.last.weight",
        "head.layers.0.bias head.layers.2.bias head.layers.4.bias",
    ),
    "instance": (
        "head.weight",
        "head.bias",
    ),
    "mae": (
        (
            "decoder.hole decoder.enter.weight decoder.blocks.0.self_attn.in_proj_weight "
            "decoder.blocks.0.self_attn.out_proj.weight decoder.blocks.0.linear1.weight "
            "decoder.blocks.0.linear2.weight decoder.leave.weight"
        ),
        (
            "decoder.enter.bias decoder.blocks.0.self_attn.in_proj_bias "
            "decoder.blocks.0.self_attn.out_proj.bias decoder.blocks.0.linear1.bias decoder.blocks.0.linear2.bias "
            "decoder.blocks.0.norm1.weight decoder.blocks.0.norm1.bias decoder.blocks.0.norm2.weight "
            "decoder.blocks.0.norm2.bias decoder.blocks.1.weight decoder.blocks.1.bias decoder.leave.bias"
        ),
    ),
    "masked_patch": (
        "hole head.weight",
        "head.bias",
    ),
    "moby": (
        "projector.0.weight projector.3.weight predictor.0.weight predictor.3.weight",
        (
            "projector.0.bias projector.1.weight projector.1.bias projector.3.bias predictor.0.bias "
            "predictor.1.weight predictor.1.bias predictor.3.bias"
        ),
    ),
    "moco": (
        "head.0.weight head.2.weight",
        "head.0.bias head.2.bias",
    ),
    "moco_v3": (
        "projector.0.weight projector.3.weight projector.6.weight predictor.0.weight predictor.3.weight",
        ("projector.1.weight projector.1.bias projector.4.weight projector.4.bias predictor.1.weight predictor.1.bias"),
    ),
    "pirl": (
        "head.weight tile_head.weight join.weight",
        "head.bias tile_head.bias join.bias",
    ),
    "simclr": (
        "head.0.weight head.3.weight",
        "head.1.weight head.1.bias head.4.weight",
    ),
    "simmim": (
        "hole decoder.0.weight",
        "decoder.0.bias",
    ),
    "simsiam": (
        "projector.0.weight projector.3.weight predictor.0.weight predictor.3.weight",
        "projector.1.weight projector.1.bias predictor.1.weight predictor.1.bias predictor.3.bias",
    ),
    "supcon": (
        "head.0.weight head.2.weight",
        "head.0.bias head.2.bias",
    ),
    "swav": (
        (
            "projector.0.weight projector.0.bias projector.1.weight projector.1.bias projector.3.weight "
            "projector.3.bias prototypes.weight"
        ),
        "",
    ),
    "teaching_assistant": (
        "head.weight",
        "head.bias",
    ),
}


@pytest.mark.parametrize("name", spec.names("methods"))
def test_what_decays_is_as_listed(name):
    method = small.build(name)
    names = {id(parameter): key for key, parameter in method.named_parameters()}
    found = {True: set(), False: set()}
    for group in optimisers.parameter_groups(method, method.optimisation):
        found[group["decays"]] |= {names[id(parameter)] for parameter in group["params"]}

    trained = [
        {f"encoder.net.{key}" for key in (set(keys.split()) - set(RESTING.get(name, "").split()))}
        for keys in (DECAYED, UNDECAYED)
    ]
    if name in APART:
        places = {"encoder.net.cls_token", "encoder.net.pos_embed"}
        trained = [trained[0] - places, trained[1] | places]
    if name in SECOND:
        trained = [keys | {key.replace("encoder.net.", "encoder.colour.net.") for key in keys} for keys in trained]
    decayed, undecayed = (encoder | set(keys.split()) for encoder, keys in zip(trained, HEADS[name]))
    if name in EVERYTHING:
        decayed, undecayed = decayed | undecayed, set()
    assert found == {True: decayed, False: undecayed}


def test_simsiams_predictor_alone_keeps_its_rate():
    for name in spec.names("methods"):
        method = small.build(name)
        names = {id(parameter): key for key, parameter in method.named_parameters()}
        groups = optimisers.parameter_groups(method, method.optimisation)
        constant = {names[id(p)] for group in groups if group["constant"] for p in group["params"]}
        wanted = "0.weight 1.weight 1.bias 3.weight 3.bias" if name == "simsiam" else ""
        assert constant == {f"predictor.{key}" for key in wanted.split()}

    method = small.build("simsiam")
    optimizer = optimisers.build(method, method.optimisation)
    optimisers.set_rates(optimizer, 0.01, 1e-4, highest=0.05)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for key, parameter in method.named_parameters():
        assert rates[id(parameter)] == (0.05 if key.startswith("predictor.") else 0.01)
        assert decays[id(parameter)] == 1e-4, "decay is not what is constant"


def test_barlows_biases_and_norms_have_a_rate_of_their_own():
    method = small.build("barlow")
    optimizer = optimisers.build(method, method.optimisation)
    optimisers.set_rates(optimizer, 0.2, 1e-6)
    for group in optimizer.param_groups:
        vector = not group["decays"]
        assert all((parameter.ndim == 1) == vector for parameter in group["params"])
        assert group["lr"] == pytest.approx(0.0048 if vector else 0.2)
        assert group["adapts"] != vector


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_patches_have_a_rate_of_their_own(layer_decay):
    method = small.build("classify")
    chosen = Optimisation(patch_rate=0.2, layer_decay=layer_decay)
    plain = Optimisation(layer_decay=layer_decay)
    rates = [
        {id(p): group["rate"] for group in optimisers.parameter_groups(method, which) for p in group["params"]}
        for which in (chosen, plain)
    ]
    slowed = set()
    for key, parameter in method.named_parameters():
        ratio = rates[0][id(parameter)] / rates[1][id(parameter)]
        assert ratio in (1.0, pytest.approx(0.2))
        slowed |= {key} if ratio != 1.0 else set()
    assert slowed == {"encoder.net.patch_embed.proj.weight", "encoder.net.patch_embed.proj.bias"}
