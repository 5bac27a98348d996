"""EsViT: the view and region losses against the paper, which region learns from which, two heads with two centres."""

import math

import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.views import PAIR
from parity import equal, equal_each, precisions, slopes
from plain import distilled


def similarity(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b)) / (math.hypot(*a) * math.hypot(*b))


def published(method, batch) -> tuple[float, float]:
    """The paper's equations in plain Python: the mean of the view loss and of the region loss over pairs of crops."""
    copy, prefix = method.teacher.copy, method.encoder.prefix
    centers = [part.center.value.tolist() for part in (method.targets, method.region_targets)]
    student, teacher = [], []
    for side, found, views in ((method, student, batch.views), (copy, teacher, batch.views[:2])):
        region_head = method.region_head if side is method else copy.token_head
        for view in views:
            tokens = side.encoder.tokens(view)[:, prefix:]
            outputs = (side.head(side.encoder(view)), tokens, region_head(tokens))
            found.append([out.tolist() for out in outputs])
    pairs = [(crop, view) for crop in range(2) for view in range(len(student)) if view != crop]
    views, regions = [], []
    for crop, view in pairs:
        logits, tokens, outs = student[view]
        target, other, target_outs = teacher[crop]
        for n in range(len(batch)):
            views.append(distilled(target[n], logits[n], centers[0]))
            rows = []
            for token, out in zip(tokens[n], outs[n]):
                best = max(range(len(other[n])), key=lambda j, t=token, o=other[n]: similarity(t, o[j]))
                rows.append(distilled(target_outs[n][best], out, centers[1]))
            regions.append(sum(rows) / len(rows))
    return sum(views) / len(views), sum(regions) / len(regions)


@pytest.mark.parametrize("model", [tiny.VIT, tiny.SWIN])
@precisions
@torch.no_grad()
def test_the_loss_is_the_papers(dtype, model):
    method = tiny.fill(tiny.build("esvit", model, teacher_temperature=(0.05, 0.05))).to(dtype)
    for step in range(2):
        batch = tiny.batch(method, samples=3, seed=step)
        view, region = published(method, batch)
        out = method(batch, 0.5)
        equal(out["loss"], (view + region) / 2)
        equal(out["region_loss"], region)
        method.after_step(0.5)


@precisions
def test_the_gradient_is_the_papers(dtype):
    """Of the same loss written crop by crop, by autograd, at every weight."""
    method = tiny.fill(tiny.build("esvit", teacher_temperature=(0.05, 0.05))).to(dtype)
    batch = tiny.batch(method, samples=3)
    copy, loss = method.teacher.copy, torch.zeros((), dtype=dtype)
    sizes = batch.views[:2], batch.views[2:]  # one pass each, because timm resamples positions in single precision
    seen = [tokens for size in sizes for tokens in method.encoder.tokens(torch.cat(size)).chunk(len(size))]
    for crop in range(2):
        with torch.no_grad():
            other = copy.encoder.tokens(batch.views[crop])
            targets = (copy.head(other[:, 0]) / 0.05).softmax(-1), (copy.token_head(other[:, 1:]) / 0.05).softmax(-1)
        for view in range(10):
            if view == crop:
                continue
            tokens = seen[view]
            loss = loss - (targets[0] * (method.head(tokens[:, 0]) / 0.1).log_softmax(-1)).sum(-1).mean() / 36
            log_q = (method.region_head(tokens[:, 1:]) / 0.1).log_softmax(-1)
            for n in range(3):
                cosines = torch.cosine_similarity(tokens[n, 1:, None], other[n, None, 1:], dim=-1)
                terms = (targets[1][n][cosines.argmax(1)] * log_q[n]).sum(-1)
                loss = loss - terms.mean() / 3 / 36
    equal_each(slopes(method(batch, 0.5)["loss"], method), slopes(loss, method))


def test_centres_move_once_a_step_under_accumulation():
    whole, parts = tiny.build("esvit"), tiny.build("esvit")
    tiny.assert_centres_move_once(whole, parts, "region_targets", cuts=(0, 2, 4, 6))


def test_each_size_takes_one_pass_of_the_student():
    method = tiny.build("esvit")
    students = []
    method.encoder.net.patch_embed.register_forward_pre_hook(lambda _, inputs: students.append(tuple(inputs[0].shape)))
    method(tiny.batch(method, samples=3), 0.0)
    assert students == [(6, 3, 32, 32), (24, 3, 16, 16)]


def test_both_heads_rest_at_first():
    method = tiny.build("esvit", freeze_last=0.5)
    for t, rests in ((0.49, True), (0.5, False)):
        method.zero_grad()
        method(tiny.batch(method), t)["loss"].backward()
        method.before_step(t)
        assert all((head.last.weight.grad is None) == rests for head in (method.head, method.region_head))


def test_two_crops_are_enough():
    method = tiny.build("esvit", tiny.SWIN)
    method.views = PAIR
    assert method(tiny.batch(method), 0.0)["loss"].isfinite()


def test_models_that_see_one_region_are_refused():
    for model in (tiny.RESNET, "swin_tiny_patch4_window7_224(depths=(1, 1, 1, 1), embed_dim=24)"):
        with pytest.raises(InputError, match=r"matches regions.*smaller patch_size"):
            tiny.build("esvit", model)
    with pytest.raises(InputError, match="two sizes"):
        tiny.build("esvit", "mixer_s32_224")


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"teacher_temperature": (-0.1, 0.04)}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"nearest: .*0\.001"):
        tiny.build("esvit", **settings)


def test_the_papers_optimisation():
    from firstlight.methods.esvit import EsViT

    chosen = EsViT.optimisation
    assert (chosen.optimizer, chosen.lr, chosen.weight_decay) == ("adamw", 5e-4, (0.04, 0.4))
    assert (chosen.clip, chosen.clip_each) == (3.0, True)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("esvit", tiny.SWIN)).double())
    assert losses == pytest.approx([4.283710, 3.011067, 2.566977], abs=1e-4)
