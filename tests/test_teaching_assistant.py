"""SSTA, as interpreted: the loss written out, which heads are chosen, what is refused."""

import math

import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.events import Note
from firstlight.parts.attention import importance, with_attention
from parity import equal, equal_each, precisions, slopes

NARROW = tiny.VIT.replace("patch_size=8", "patch_size=16")


def published(logits: list, label: list[int], wanted: list, own: list, weight: float) -> float:
    """Cross-entropy and, for teacher and assistant, sum p (log p - log q) of each row of attention, averaged."""
    loss = sum(math.log(sum(map(math.exp, row))) - row[i] for row, i in zip(logits, label)) / len(label)
    for p_maps, q_maps in zip(wanted, own):
        rows = [(p, q) for ps, qs in zip(p_maps, q_maps) for p, q in zip(ps, qs)]
        loss += weight * sum(sum(x * (math.log(x) - math.log(y)) for x, y in zip(p, q)) for p, q in rows) / len(rows)
    return loss


@precisions
def test_the_loss_and_its_gradient(dtype):
    method = tiny.build("teaching_assistant", weight=0.7).to(dtype)
    method.teacher.chosen.fill_(1)
    logits = tiny.outputs(method.head)
    batch = tiny.batch(method)
    loss, pictures = method(batch, 0.0)["loss"], batch.views[0]
    wanted = [
        with_attention(other.frozen.encoder, pictures)[1].exp()[:, head].tolist()
        for other, head in ((method.teacher, 1), (method.assistant, 0))
    ]
    attention = with_attention(method.encoder, pictures)[1].exp()
    own = [attention[:, 0].tolist(), attention[:, 1].tolist()]
    equal(loss, published(logits[0].tolist(), batch.label.tolist(), wanted, own, 0.7))

    theirs = tiny.build("teaching_assistant", weight=0.7).to(dtype)
    features, attention = with_attention(theirs.encoder, pictures)
    reference = torch.nn.functional.cross_entropy(theirs.head(features), batch.label)
    for head, maps in enumerate(wanted):
        p = torch.tensor(maps, dtype=dtype)
        reference = reference + 0.7 * torch.nn.functional.kl_div(
            attention[:, head].flatten(0, 1), p.flatten(0, 1), reduction="batchmean"
        )
    equal_each(slopes(loss, method), slopes(reference, theirs))


def test_the_two_that_teach_stay_as_they_are():
    method = tiny.build("teaching_assistant")
    before = {name: value.clone() for name, value in method.state_dict().items() if "frozen" in name}
    assert before
    tiny.three_steps(method)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items() if name in before)
    assert not method.train().teacher.frozen.encoder.training


def test_a_student_that_looks_alike_has_nothing_to_imitate():
    method = tiny.build("teaching_assistant")
    for other in (method.teacher, method.assistant):
        other.frozen.encoder.load_state_dict(method.encoder.state_dict())
    method.assistant.chosen.fill_(1)
    out = method(tiny.batch(method), 0.0)
    assert out["teacher"] == pytest.approx(0, abs=1e-6)
    assert out["assistant"] == pytest.approx(0, abs=1e-6)


class Same:
    """Batches that are always the same picture set."""

    def __init__(self, method):
        self.method = method

    def at(self, step: int, part: int = 0):
        return tiny.batch(self.method, seed=step)


def test_the_most_important_heads_are_found_before_the_training():
    method = tiny.build("teaching_assistant")
    with torch.no_grad():  # the teacher's second head shouts
        method.teacher.frozen.encoder.net.blocks[-1].attn.proj.weight[:, 24:] *= 100
    events = list(method.prepare(Same(method)))
    assert [type(event) for event in events] == [Note, Note]
    assert method.teacher.chosen.tolist() == [1]
    found = [importance(method.assistant.frozen.encoder, tiny.batch(method, seed=step).views[0]) for step in range(8)]
    assert method.assistant.chosen.item() == torch.stack(found).mean(0).argmax()
    assert "teacher.chosen" in method.state_dict(), "a resumed run needs it"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": ""}, "both must be named"),
        ({"assistant": ""}, "both must be named"),
        ({"imitated": 2}, "imitated=2.*1 to 1"),
        ({"imitated": 0}, "imitated=0"),
        ({"weight": -1.0}, "weight=-1"),
        ({"teacher": "/nowhere"}, "nowhere"),
        ({"teacher": lambda: tiny.kept("teacher", NARROW)}, "4 patches.*16"),
        ({"teacher": lambda: tiny.kept("teacher", tiny.RESNET)}, "choose a Vision Transformer"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    given = {name: value() if callable(value) else value for name, value in settings.items()}
    with pytest.raises(InputError, match=message):
        tiny.build("teaching_assistant", **given)


def test_pictures_without_labels_and_models_without_attention_are_refused():
    method = tiny.build("teaching_assistant")
    batch = tiny.batch(method)
    batch.label[0] = -1
    with pytest.raises(InputError, match="a label for every picture"):
        method(batch, 0.0)
    with pytest.raises(InputError, match="choose a Vision Transformer"):
        tiny.build("teaching_assistant", tiny.RESNET)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("teaching_assistant")).double())
    assert losses == pytest.approx([3.062692, 3.187481, 3.232819], abs=1e-4)
