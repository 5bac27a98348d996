"""Classification: the loss is cross-entropy with smoothed, possibly mixed targets."""

import pytest
import torch
import torch.nn.functional as F

import tiny
from firstlight.errors import InputError
from firstlight.parts.losses import cross_entropy
from firstlight.views import View
from parity import equal, equal_each, leaves, precisions, slopes


@precisions
def test_the_loss_and_its_gradient_are_torchs_with_smoothing(dtype):
    method = tiny.build("classify", smoothing=0.25).to(dtype)  # targets are in single precision, which is exact here
    batch = tiny.batch(method, samples=6)
    logits = method.predict(batch.views[0])
    out, reference = method(batch, 0.0), F.cross_entropy(logits, batch.label, label_smoothing=0.25)
    equal(out["loss"], reference)
    equal_each(slopes(out["loss"], method), slopes(reference, method))
    assert out["accuracy"] == (logits.argmax(1) == batch.label).float().mean()


@precisions
def test_mixed_targets_and_their_gradient_equal_torchs(dtype):
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 5, 7, dtype=dtype).unbind()
    ours, targets = logits.clone().requires_grad_(), targets.softmax(1)
    (theirs,) = leaves([logits])
    loss, reference = cross_entropy(ours, targets), F.cross_entropy(theirs, targets.double())
    equal(loss, reference)
    loss.backward()
    reference.backward()
    equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("settings", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}])
def test_mixing_changes_pictures_and_targets_by_the_keys(settings):
    plain, mixed = tiny.build("classify"), tiny.build("classify", **settings)
    batch = tiny.batch(plain, samples=8)
    first, again = mixed(batch, 0.0), mixed(batch, 0.0)
    assert first["loss"] == again["loss"]
    assert first["loss"] != plain(batch, 0.0)["loss"]
    assert 0 <= first["accuracy"] <= 1
    batch.key = batch.key + 1
    assert mixed(batch, 0.0)["loss"] != first["loss"]


def test_pictures_without_a_label_are_refused():
    method = tiny.build("classify")
    batch = tiny.batch(method)
    batch.label[2] = -1
    with pytest.raises(InputError, match="label"):
        method(batch, 0.0)


@pytest.mark.parametrize("settings", [{"smoothing": 1.0}, {"smoothing": -0.1}, {"mixup": -1.0}, {"cutmix": -1.0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        tiny.build("classify", **settings)


def test_it_learns_what_can_be_learned():
    method = tiny.build("classify", tiny.RESNET)
    batch = tiny.batch(method, samples=16)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    for _ in range(20):
        out = method(batch, 0.0)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
    assert out["accuracy"] == 1


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("classify", tiny.RESNET)).double())
    assert losses == pytest.approx([1.627733, 1.588831, 2.366059], abs=1e-4)


def test_what_is_shown_is_a_setting():
    assert tiny.build("classify").views == (View(flip=0.0),)
    shown = {"scale": (0.08, 0.5), "ratio": (1.0, 1.0), "flip": 0.5, "flip_vertical": 0.25, "randaugment": 9.0}
    assert tiny.build("classify", **shown, erase=0.3).views == (View(**shown, erase=0.3),)
    for wrong in ({"flip": 1.5}, {"erase": -1.0}, {"scale": (0.5, 0.2)}, {"scale": (0.0, 1.0)}, {"scale": (0.5, 2.0)},
                  {"ratio": (0.0, 1.0)}, {"randaugment": 30.0}):  # fmt: skip
        with pytest.raises(InputError, match=rf"(View|classify)\({next(iter(wrong))}="):
            tiny.build("classify", **wrong)
