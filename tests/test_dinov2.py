"""DINOv2: the published wiring of its three losses, even assignments, the features that KoLeo spreads."""

import math

import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.parts.losses import koleo
from firstlight.parts.masks import crop_masks
from firstlight.train.optimisers import parameter_groups
from parity import equal, equal_each, precisions, slopes


def published(method, batch, temperature: float = 0.05) -> dict[str, torch.Tensor]:
    """The public code's wiring, term by term: swapped teacher chunks, both scales, weights of masked patches."""
    large, copy = torch.cat(batch.views[:2]), method.teacher.copy
    hidden = crop_masks(batch.key, 2, 4, 0.5, (0.1, 0.5), 1)
    seen = method.encoder.tokens(large, hidden=hidden, hole=method.holes.vector[0])
    patch_heads = [side.token_head if side is copy else method.patch_head for side in (copy, method)]
    with torch.no_grad():
        whole = copy.encoder.tokens(large)
        teacher = copy.head(torch.cat(whole[:, 0].chunk(2)[::-1]))  # the first crop's targets are the second's
        teacher_patches = (patch_heads[0] or copy.head)(whole[:, 1:][hidden])
        if method.targets.center is None:
            teacher, teacher_patches = (even(rows, temperature) for rows in (teacher, teacher_patches))
        else:
            centers = method.targets.center.value, method.patch_targets.center.value
            teacher, teacher_patches = (
                ((rows - center) / temperature).softmax(-1) for rows, center in zip((teacher, teacher_patches), centers)
            )

    local = method.head(method.encoder(torch.cat(batch.views[2:])))
    log_q = [(rows / 0.1).log_softmax(-1) for rows in (method.head(seen[:, 0]), *local.chunk(8))]
    across = sum(-(t * q).sum(-1).mean() for q in log_q[1:] for t in teacher.chunk(2)) / (2 + 16)
    between = -(teacher * log_q[0]).sum(-1).mean() * 2 / (2 + 16)

    patches = ((patch_heads[1] or method.head)(seen[:, 1:][hidden]) / 0.1).log_softmax(-1)
    weights = (1 / hidden.sum(-1).clamp(min=1).to(patches.dtype)).unsqueeze(-1).expand_as(hidden)[hidden]
    patch = -((teacher_patches * patches).sum(-1) * weights).sum() / len(hidden) * 2 * (1 / 2)
    spread = 0.1 * sum(nearest(crop) for crop in seen[:, 0].chunk(2))
    return {"loss": across + between + patch + spread, "patch_loss": patch.detach()}


def even(rows: torch.Tensor, temperature: float) -> torch.Tensor:
    """Sinkhorn-Knopp as in the paper's appendix of SwAV: the whole sums to 1, then rows and columns in turn."""
    mass = (rows / temperature).exp().T
    mass = mass / mass.sum()
    for _ in range(3):
        mass = mass / mass.sum(1, keepdim=True) / len(mass)
        mass = mass / mass.sum(0, keepdim=True) / mass.shape[1]
    return (mass * mass.shape[1]).T


def nearest(rows: torch.Tensor) -> torch.Tensor:
    """The public code adds 1e-8 twice: to each number of a difference, and to its length."""
    rows = rows / rows.norm(dim=1, keepdim=True)
    apart = [[(a - b + 1e-8).norm() for k, b in enumerate(rows) if k != i] for i, a in enumerate(rows)]
    return -sum((min(row) + 1e-8).log() for row in apart) / len(rows)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("centering", ["mean", "sinkhorn"])
@precisions
def test_the_loss_and_its_gradient_are_the_papers(dtype, centering, separate):
    settings = {"teacher_temperature": (0.05, 0.05), "centering": centering, "separate": separate}
    method = tiny.fill(tiny.build("dinov2", **settings)).to(dtype)
    for step in range(2):
        batch = tiny.batch(method, samples=5, seed=step)
        expected = published(method, batch)
        wanted = slopes(expected["loss"], method)
        out = method(batch, 0.5)
        for key, value in expected.items():
            equal(out[key], value, of=key)
        equal_each(slopes(out["loss"], method), wanted)
        method.after_step(0.5)


def _trained(method) -> dict[str, torch.Tensor]:
    return {name: p for name, p in method.named_parameters() if p.requires_grad}


def test_unlike_lightlys_layer_scales_do_not_decay():
    """lightly decays whatever is neither a bias nor a norm's, and so pulls a block's scale, a vector, towards zero."""
    from lightly.models.utils import get_weight_decay_parameters

    method = tiny.build("dinov2", tiny.VIT.replace("num_heads=2", "num_heads=2, init_values=0.1"))
    scales = {id(p) for name, p in method.encoder.named_parameters() if name.endswith(".gamma")}
    groups = parameter_groups(method, method.optimisation)
    ours = {id(p) for group in groups if group["decays"] for p in group["params"]}
    theirs, _ = get_weight_decay_parameters([method.encoder])
    assert len(scales) == 4, "two of each block"
    assert not scales & ours
    assert scales <= {id(p) for p in theirs}


def test_features_are_spread_before_the_head_and_crop_by_crop():
    on, off = (tiny.build("dinov2", spreading=weight) for weight in (0.3, 0.0))
    batch = tiny.batch(on)
    hidden = crop_masks(batch.key, 2, 4, 0.5, (0.1, 0.5), 1)
    features, _ = on.encoder.pooled_and_tokens(torch.cat(batch.views[:2]), hidden, on.holes.vector[0])
    expected = 0.3 * (koleo(features[:4]) + koleo(features[4:]))
    torch.testing.assert_close(on(batch, 0.5)["loss"] - off(batch, 0.5)["loss"], expected, rtol=1e-4, atol=1e-5)


def test_patches_may_have_a_head_of_their_own():
    shared, separate = tiny.build("dinov2"), tiny.build("dinov2", separate=True)
    assert not any("patch_head" in name or "token_head" in name for name in shared.state_dict())
    heads = [module for module in separate.modules() if type(module).__name__ == "PrototypeHead"]
    assert len({id(head) for head in heads}) == 4, "student and teacher never share a head"
    assert not torch.equal(separate.head.last.weight, separate.patch_head.last.weight)


def test_even_assignments_need_no_centre():
    method = tiny.build("dinov2", centering="sinkhorn")
    assert not any("center" in name for name in method.state_dict())
    out = method(tiny.batch(method), 0.5)
    assert out["teacher_entropy"] < math.log(48)


def test_the_patches_centre_is_that_of_hidden_ones():
    method = tiny.build("dinov2")
    batch = tiny.batch(method)
    hidden = crop_masks(batch.key, 2, 4, 0.5, (0.1, 0.5), 1)
    rows = method.teacher(torch.cat(batch.views[:2]))[1][hidden]
    method(batch, 0.0)
    assert not method.patch_targets.center.value.any(), "not before the step"
    method.after_step(0.0)
    torch.testing.assert_close(method.patch_targets.center.value, 0.1 * rows.mean(0), rtol=0, atol=1e-6)


def test_a_batch_without_holes_is_no_accident():
    for centering in ("mean", "sinkhorn"):
        method = tiny.build("dinov2", centering=centering, separate=True)
        method.holes.chance = 0.0
        out = method(tiny.batch(method), 0.5)
        assert out["patch_loss"] == 0
        out["loss"].backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in _trained(method).values())
        method.after_step(0.5)
        assert all(value.isfinite().all() for value in method.state_dict().values())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"centering": "sinkhron"}, "expected one of 'mean', 'sinkhorn'"),
        ({"temperature": -1.0}, "nearest: 0.001"),
        ({"momentum": -0.1}, "0 to 1"),
    ],
)
def test_impossible_settings_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        tiny.build("dinov2", **settings)


def test_a_picture_alone_has_no_neighbour():
    method = tiny.build("dinov2")
    with pytest.raises(InputError, match="2 or more in each part of the batch"):
        method(tiny.batch(method, samples=1), 0.0)


def test_models_without_patches_are_refused():
    with pytest.raises(InputError, match="choose a vit_ or swin_"):
        tiny.build("dinov2", tiny.RESNET)


def test_the_papers_optimisation():
    from firstlight.methods.dinov2 import DINOv2

    chosen = DINOv2.optimisation
    assert (chosen.lr, chosen.layer_decay, chosen.patch_rate) == (
        pytest.approx(0.004 * math.sqrt(256 / 1024)),
        0.9,
        0.2,
    )
    assert (chosen.clip, chosen.clip_each, chosen.weight_decay) == (3.0, False, (0.04, 0.4))


def test_three_steps_are_as_recorded():
    recorded = {"mean": [8.380230, 5.810046, 5.218786], "sinkhorn": [10.402522, 8.079252, 8.626834]}
    for centering, expected in recorded.items():
        losses = tiny.three_steps(tiny.fill(tiny.build("dinov2", centering=centering)).double())
        assert losses == pytest.approx(expected, abs=1e-4)
