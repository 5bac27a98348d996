"""iBOT: both losses against the paper, one head for both, what the student and the teacher see, the two centres."""

import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.parts.masks import crop_masks
from firstlight.views import PAIR
from parity import equal, leaves, precisions
from plain import distilled


def published(outputs: dict, hidden: torch.Tensor, centers: list[list[float]]) -> tuple[float, float]:
    """The paper's equations in plain Python: class tokens across views, hidden patches within a view."""
    student, teacher = outputs["student"].tolist(), outputs["teacher"].tolist()
    crops, patches = [], []
    for crop in range(2):
        for view in range(len(student)):
            if view != crop:
                rows = [distilled(t, s, centers[0]) for t, s in zip(teacher[crop], student[view])]
                crops.append(sum(rows) / len(rows))
    for picture, mask in enumerate(hidden.tolist()):
        rows = [
            distilled(outputs["teacher patches"][picture][n].tolist(), next(outputs["student patches"]), centers[1])
            for n, h in enumerate(mask)
            if h
        ]
        patches.append(sum(rows) / max(len(rows), 1))
    return sum(crops) / len(crops), sum(patches) / len(patches)


def look(method, batch) -> tuple[dict, torch.Tensor]:
    """Every output of the heads, from the encoder's own pieces and not from the method's forward."""
    hidden = crop_masks(batch.key, 2, 4, 0.5, (0.1, 0.5), 1)
    large, copy = torch.cat(batch.views[:2]), method.teacher.copy
    seen = method.encoder.tokens(large, hidden=hidden, hole=method.holes.vector[0])
    student = [seen[:, 0], *(method.encoder(view) for view in batch.views[2:])]
    whole = copy.encoder.tokens(large)
    return {
        "student": method.head(torch.cat(student)).unflatten(0, (len(batch.views), -1)),
        "student patches": iter(method.head(seen[:, 1:])[hidden].tolist()),
        "teacher": copy.head(whole[:, 0]).unflatten(0, (2, -1)),
        "teacher patches": copy.head(whole[:, 1:]),
    }, hidden


@precisions
@torch.no_grad()
def test_the_loss_is_the_papers(dtype):
    method = tiny.fill(tiny.build("ibot", teacher_temperature=(0.05, 0.05))).to(dtype)
    for step in range(2):
        batch = tiny.batch(method, samples=5, seed=step)
        outputs, hidden = look(method, batch)
        assert 0 < hidden.any(1).sum() < 10, "some crops with holes and some without"
        centers = [part.center.value.tolist() for part in (method.targets, method.patch_targets)]
        crops, patches = published(outputs, hidden, centers)
        out = method(batch, 0.5)
        equal(out["loss"], crops + patches)
        equal(out["patch_loss"], patches)
        method.after_step(0.5)


@precisions
def test_the_gradient_is_the_papers(dtype):
    """Of both losses written with logarithms of softmax, by autograd, at the outputs of the student's head."""
    method = tiny.fill(tiny.build("ibot", teacher_temperature=(0.05, 0.05))).to(dtype)
    batch = tiny.batch(method, samples=5)
    outputs, hidden = look(method, batch)
    students, patches = [], []

    def remember(module, inputs, out):
        out.retain_grad()
        (patches if students else students).append(out)

    method.head.register_forward_hook(remember)
    method(batch, 0.5)["loss"].backward()

    logits, dense = leaves([students[0], patches[0]])
    p, q = (outputs["teacher"].double() / 0.05).softmax(-1), (logits / 0.1).log_softmax(-1).unflatten(0, (10, -1))
    crops = sum(-(p[i] * q[v]).sum(-1).mean() for i in range(2) for v in range(10) if v != i) / 18
    terms = -((outputs["teacher patches"][hidden].double() / 0.05).softmax(-1) * (dense / 0.1).log_softmax(-1)).sum(-1)
    owner = hidden.nonzero()[:, 0]
    picture = torch.zeros(10, dtype=torch.float64).index_add(0, owner, terms) / hidden.sum(1).clamp(min=1)
    (crops + picture.mean()).backward()
    equal(students[0].grad, logits.grad)
    equal(patches[0].grad, dense.grad)


def test_no_hole_at_all_gives_zero_and_not_nan():
    method = tiny.build("ibot", holes=0.0)
    out = method(tiny.batch(method), 0.5)
    assert out["patch_loss"] == 0
    out["loss"].backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)
    assert not method.holes.vector.grad.any()


def test_only_the_student_sees_holes_and_only_in_the_large_crops():
    method = tiny.build("ibot", holes=1.0, share=(0.5, 0.5), blocks=False)
    seen = {}
    method.encoder.net.blocks[0].register_forward_pre_hook(lambda _, x: seen.setdefault("student", []).append(x[0]))
    method.teacher.copy.encoder.net.blocks[0].register_forward_pre_hook(lambda _, x: seen.update(teacher=x[0]))
    with torch.no_grad():
        method.holes.vector.fill_(7.0)
        method(tiny.batch(method), 0.0)
    large, small = seen["student"]
    hole = 7.0 + method.encoder.net.pos_embed[:, 1:]
    assert ((large[:, 1:] - hole).abs().amax(-1) < 1e-5).sum(1).tolist() == [8] * 8, "positions are added after"
    assert not ((seen["teacher"][:, 1:] - hole).abs().amax(-1) < 1e-5).any()
    assert small.shape == (32, 5, 48)


def test_one_head_serves_both_and_the_centres_are_two():
    method = tiny.build("ibot")
    batch = tiny.batch(method)
    with torch.no_grad():
        outputs, _ = look(method, batch)
    method(batch, 0.0)
    method.after_step(0.0)
    for part, rows in ((method.targets, outputs["teacher"]), (method.patch_targets, outputs["teacher patches"])):
        torch.testing.assert_close(part.center.value, 0.1 * rows.flatten(0, 1).mean(0), rtol=0, atol=1e-6)
    names = {name.partition(".")[0] for name in method.state_dict()}
    assert names == {"encoder", "head", "holes", "teacher", "targets", "patch_targets"}


def test_centres_and_teacher_move_once_a_step_under_accumulation():
    whole, parts = tiny.build("ibot"), tiny.build("ibot")
    tiny.assert_centres_move_once(whole, parts, "patch_targets", cuts=(0, 1, 4, 6))


def test_prototypes_rest_at_first():
    method = tiny.build("ibot", freeze_last=0.5)
    for t, rests in ((0.49, True), (0.5, False)):
        method.zero_grad()
        method(tiny.batch(method), t)["loss"].backward()
        method.before_step(t)
        assert (method.head.last.weight.grad is None) == rests


def test_a_swin_learns_and_two_crops_are_enough():
    method = tiny.build("ibot", tiny.SWIN)
    method.views = PAIR
    out = method(tiny.batch(method), 0.0)
    out["loss"].backward()
    assert out["patch_loss"] > 0
    assert method.holes.vector.shape == (1, 24)
    assert method.holes.vector.grad.abs().sum() > 0


def test_the_hole_decays_as_published():
    from firstlight.train.optimisers import parameter_groups

    method = tiny.build("ibot")
    groups = parameter_groups(method, method.optimisation)
    assert [group["decays"] for group in groups if any(p is method.holes.vector for p in group["params"])] == [True]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"holes": 2.0}, "holes=2.*nearest: 1"),
        ({"share": (0.6, 0.2)}, "allowed is 0 to 1"),
        ({"temperature": 0.0}, "nearest: 0.001"),
        ({"teacher_temperature": (0.04, 0.0)}, r"nearest: \(0.04, 0.001\)"),
        ({"momentum": 1.1}, "momentum=1.1"),
    ],
)
def test_impossible_settings_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        tiny.build("ibot", **settings)


@pytest.mark.parametrize("model", [tiny.RESNET, "xcit_nano_12_p16_224(depth=1)"])
def test_models_without_patches_are_refused(model):
    with pytest.raises(InputError, match="choose a vit_ or swin_"):
        tiny.build("ibot", model)


def test_the_papers_optimisation():
    from firstlight.methods.ibot import IBOT

    chosen = IBOT.optimisation
    assert (chosen.optimizer, chosen.lr, chosen.weight_decay) == ("adamw", 5e-4, (0.04, 0.4))
    assert (chosen.clip, chosen.clip_each) == (3.0, True)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("ibot")).double())
    assert losses == pytest.approx([8.380135, 5.743087, 5.112726], abs=1e-4)
