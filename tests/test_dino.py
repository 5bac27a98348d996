"""DINO: the loss against the paper and lightly, the centre, the teacher, the frozen prototypes."""

import math

import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.parts.losses import distillation
from firstlight.views import PAIR
from parity import equal, leaves, precisions


def published(students: list, teachers: list, center: list, temperature: float, teacher_temperature: float) -> float:
    """The paper's algorithm in plain Python, with ``2 V - 2`` terms."""

    def softmax(row: list[float], divisor: float, shift: list[float]) -> list[float]:
        exps = [math.exp((x - c) / divisor) for x, c in zip(row, shift)]
        return [e / sum(exps) for e in exps]

    terms = []
    for i, teacher in enumerate(teachers):
        for v, student in enumerate(students):
            if v != i:
                rows = []
                for t, s in zip(teacher, student):
                    p, q = softmax(t, teacher_temperature, center), softmax(s, temperature, [0.0] * len(s))
                    rows.append(-sum(a * math.log(b) for a, b in zip(p, q)))
                terms.append(sum(rows) / len(rows))
    assert len(terms) == 2 * len(students) - 2
    return sum(terms) / len(terms)


@pytest.mark.parametrize("views", [2, 5, 10])
def test_the_loss_is_the_papers(views):
    torch.manual_seed(views)
    students = torch.randn(views, 3, 6, dtype=torch.float64)
    teachers, center = torch.randn(2, 3, 6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    targets = ((teachers - center) / 0.5).softmax(-1)
    expected = published(students.tolist(), teachers.tolist(), center.tolist(), 0.4, 0.5)
    equal(distillation(students / 0.4, targets), expected)
    equal(distillation(students.float() / 0.4, targets.float()), expected)


@precisions
def test_the_loss_its_gradient_and_the_centre_equal_lightlys(dtype):
    from lightly.loss import DINOLoss

    method = tiny.build("dino", freeze_last=0.0).to(dtype)
    reference = DINOLoss(output_dim=48, teacher_temp=0.0625, student_temp=0.1, center_momentum=0.9).double()
    method.teacher_temperature = (0.0625, 0.0625)  # exact in float32, which lightly keeps it in
    outputs = {}
    method.head.register_forward_hook(lambda *_: outputs.update(student=_[2]) or _[2].retain_grad())
    method.teacher.register_forward_hook(lambda *_: outputs.update(teacher=_[2]))
    for step in range(3):
        batch = tiny.batch(method, seed=step)
        loss = method(batch, 0.5)["loss"]
        loss.backward()
        (theirs,) = leaves([outputs["student"]])
        expected = reference(list(outputs["teacher"].double().chunk(2)), list(theirs.chunk(10)))
        expected.backward()
        equal(loss, expected)
        equal(outputs["student"].grad, theirs.grad)
        method.after_step(0.5)
        equal(method.center.value, reference.center.flatten())


def test_the_teacher_warms_up_linearly():
    method = tiny.build("dino", teacher_temperature=(0.04, 0.07), warm=0.5)
    batch = tiny.batch(method)
    entropies = [method(batch, t)["teacher_entropy"].item() for t in (0.0, 0.25, 0.5, 0.9)]
    logits = method.teacher(torch.cat(batch.views[:2]))
    for entropy, temperature in zip(entropies, (0.04, 0.055, 0.07, 0.07)):
        p = (logits / temperature).softmax(-1)
        assert entropy == pytest.approx(-(p * p.log()).sum(-1).mean().item(), rel=1e-4)


def test_the_centre_moves_once_a_step_under_accumulation():
    whole, parts = tiny.build("dino"), tiny.build("dino")
    batch = tiny.batch(whole, samples=6)
    whole(batch, 0.0)
    whole.after_step(0.0)
    for rows in (slice(0, 2), slice(2, 4), slice(4, 6)):
        part = tiny.batch(parts, samples=6)
        part.views = [view[rows] for view in part.views]
        part.label, part.key, part.index = part.label[rows], part.key[rows], part.index[rows]
        parts(part, 0.0)
        assert not parts.center.value.any(), "not before the step"
    parts.after_step(0.0)
    assert whole.center.value.any()
    torch.testing.assert_close(parts.center.value, whole.center.value, rtol=0, atol=1e-6)
    assert "center.value" in whole.state_dict(), "a resumed run needs it"


def test_the_teacher_sees_the_first_two_crops_and_each_size_takes_one_pass():
    method = tiny.build("dino")
    students, teachers = [], []
    method.encoder.register_forward_pre_hook(lambda _, inputs: students.append(tuple(inputs[0].shape)))
    method.teacher.copy[0].register_forward_pre_hook(lambda _, inputs: teachers.append(tuple(inputs[0].shape)))
    method(tiny.batch(method, samples=3), 0.0)
    assert students == [(6, 3, 32, 32), (24, 3, 16, 16)]
    assert teachers == [(6, 3, 32, 32)]


def test_the_teacher_starts_equal_and_moves_after_the_student():
    method = tiny.build("dino", momentum=0.9)
    student = torch.nn.Sequential(method.encoder, method.head)
    start = [p.detach().clone() for p in student.parameters()]
    pairs = list(zip(method.teacher.copy.parameters(), student.parameters()))
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)
    tiny.three_steps(method)
    method.load_state_dict(tiny.build("dino").state_dict())
    with torch.no_grad():
        for p in student.parameters():
            p.add_(1.0)
    method(tiny.batch(method), 0.0)
    method.after_step(0.0)
    for (mine, theirs), old in zip(pairs, start):
        torch.testing.assert_close(mine, 0.9 * old + 0.1 * theirs.detach())


def test_prototypes_rest_at_first():
    method = tiny.build("dino", freeze_last=0.5)
    frozen = method.head.last.weight.detach().clone()
    batch = tiny.batch(method)
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=0.01, weight_decay=0.4)
    for t, moves in ((0.0, False), (0.49, False), (0.5, True)):
        optimizer.zero_grad()
        method(batch, t)["loss"].backward()
        method.before_step(t)
        optimizer.step()
        assert torch.equal(method.head.last.weight, frozen) != moves, "weight decay rests too"


def test_two_crops_are_enough():
    method = tiny.build("dino")
    method.views = PAIR
    out = method(tiny.batch(method), 0.0)
    assert out["loss"].isfinite()
    assert out["teacher_entropy"] <= math.log(48)


@pytest.mark.parametrize(
    "model",
    [
        "vit_tiny_patch16_224(patch_size=4, embed_dim=48, depth=1, num_heads=2)",
        "xcit_nano_12_p16_224(patch_size=8, embed_dim=32, depth=1, num_heads=2)",
        "swin_tiny_patch4_window7_224(patch_size=2, embed_dim=24, depths=(1, 1, 1, 1))",
        "resnet10t",
    ],
)
def test_the_defaults_fit_small_pictures_and_every_backbone(model):
    """Its own defaults, on pictures of 32 pixels and crops of the size that the views ask for."""
    from firstlight.encoder import Encoder
    from firstlight.methods.dino import DINO
    from firstlight.views.batches import side_of

    torch.manual_seed(0)
    encoder = Encoder(model, size=32)
    assert encoder.any_size
    method = DINO(encoder)
    assert 1024 <= method.head.last.out_features <= 4096
    assert method.teacher_temperature == (0.04, 0.04)
    sides = [side_of(view, 32, encoder.multiple) for view in method.views for _ in range(view.count)]
    batch = tiny.batch(method, samples=2)
    batch.views = [torch.randn(2, 3, side, side) for side in sides]
    out = method(batch, 0.0)
    out["loss"].backward()
    assert 0 < out["teacher_entropy"] < math.log(1024)
    assert out["loss"] < 1.2 * math.log(1024), "it starts no worse than knowing nothing"
    assert not [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"teacher_temperature": (0.04, -0.07)}, {"momentum": 1.01}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"nearest: (0\.001|\(0\.04, 0\.001\)|1)$"):
        tiny.build("dino", **settings)


def test_models_of_one_size_are_refused():
    with pytest.raises(InputError, match="two sizes"):
        tiny.build("dino", "mixer_s32_224")


def test_the_papers_optimisation():
    from firstlight.methods.dino import DINO

    assert DINO.optimisation.weight_decay == (0.04, 0.4)
    assert (DINO.optimisation.clip, DINO.optimisation.clip_each) == (3.0, True)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("dino")).double())
    assert losses == pytest.approx([4.955487, 4.125987, 3.713449], abs=1e-4)
