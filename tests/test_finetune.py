"""Fine-tuning with a tiny encoder: it learns, starts from what it is given, resumes, and refuses nonsense."""

import dataclasses

import numpy as np
import pytest
import torch

from firstlight.data import Split
from firstlight.data.held import HeldPictures
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.evaluations.finetune import Finetune, probabilities
from firstlight.events import Progress, Step, drain
from firstlight.runs import Run
from firstlight.views import View


def stripes(per_class: int, seed: int) -> HeldPictures:
    """Upright stripes against level ones, under noise: the two classes have the same pixels in another order."""
    random = np.random.default_rng(seed)
    labels = np.arange(2 * per_class) % 2
    arrays = []
    for label in labels:
        pattern = np.tile((np.arange(16) + random.integers(4)) // 2 % 2 * 120, (16, 1))
        noisy = (pattern.T if label else pattern) + random.integers(0, 130, (16, 16))
        arrays.append(noisy.astype(np.uint8))
    return HeldPictures(arrays, labels, ("upright", "level"))


@pytest.fixture(scope="module")
def split() -> Split:
    return Split(stripes(10, seed=1), stripes(40, seed=2))


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder("test_resnet", size=32, channels=1)


def quick(**settings) -> Finetune:
    return Finetune(**{"steps": 4, "batch": 8, "precision": "fp32"} | settings)


def test_learns_what_can_be_parted(encoder, split):
    method, result = drain(quick(steps=40, batch=16).fit(encoder, split, size=32, device="cpu", seed=0))
    assert result.numbers["accuracy"] > 0.9
    chance = drain(probabilities(method, split.test, size=32, device="cpu", batch=7))
    np.testing.assert_allclose(chance.sum(1), 1, rtol=1e-5)
    assert chance.argmax(1).tolist() == result.predictions


def test_trains_all_weights_of_a_copy(encoder, split):
    encoder.requires_grad_(False)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    method, _ = drain(quick().fit(encoder, split, size=32, device="cpu", seed=0))
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    moved = [not torch.equal(before[name], value) for name, value in method.encoder.named_parameters()]
    assert all(moved)
    assert method.head.out_features == 2


def test_starts_from_the_given_weights_and_the_seed(encoder, split):
    first = drain(quick().fit(encoder, split, size=32, device="cpu", seed=0))[0].state_dict()
    again = drain(quick().fit(encoder, split, size=32, device="cpu", seed=0))[0].state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = drain(quick().fit(encoder, split, size=32, device="cpu", seed=1))[0].state_dict()
    assert not torch.equal(first["head.weight"], other["head.weight"])
    torch.manual_seed(5)
    fresh = Encoder("test_resnet", size=32, channels=1)
    scratch = drain(quick().fit(fresh, split, size=32, device="cpu", seed=0))[0].state_dict()
    assert not torch.equal(first["encoder.net.conv1.0.weight"], scratch["encoder.net.conv1.0.weight"])


def test_layer_decay_keeps_more_of_the_first_layers(encoder, split):
    def moved(layer_decay):
        protocol = quick(layer_decay=layer_decay)
        method, _ = drain(protocol.fit(encoder, split, size=32, device="cpu", seed=0))
        return (method.encoder.net.conv1[0].weight - encoder.net.conv1[0].weight).abs().mean().item()

    assert moved(0.3) < 0.5 * moved(1.0)


def test_yields_steps_under_its_task_and_judges_at_the_end(encoder, split):
    events = list(quick().fit(encoder, split, size=32, device="cpu", seed=0, task="scratch, draw 1"))
    steps = [event for event in events if isinstance(event, Step)]
    assert [event.step for event in steps] == [1, 2, 3, 4]
    assert {event.task for event in steps} == {"scratch, draw 1"}
    assert isinstance(events[-1], Progress)
    assert events[-1].done == events[-1].total == len(split.test)


def test_goes_on_from_a_finished_training_in_its_folder(encoder, split, tmp_path):
    first, result = drain(quick().fit(encoder, split, size=32, device="cpu", seed=0, run=Run(tmp_path)))
    work = quick().fit(encoder, split, size=32, device="cpu", seed=0, run=Run(tmp_path))
    assert not any(isinstance(event, Step) for event in work)
    again, repeated = drain(quick().fit(encoder, split, size=32, device="cpu", seed=0, run=Run(tmp_path)))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values()))
    assert dataclasses.asdict(repeated) == dataclasses.asdict(result)


def test_settings_reach_the_views_and_the_method(encoder, split):
    view = quick(flip=0.5, rotate=0.1, scale=(0.2, 0.9), jitter=(0.1, 0.2, 0.3, 0.4), erase=0.25).view()
    assert view == View(
        scale=(0.2, 0.9), flip=0.5, rotate=0.1, jitter=(0.1, 0.2, 0.3, 0.4), jitter_p=1.0, erase=0.25
    )  # fmt: skip
    method, _ = drain(quick(mixup=0.8, cutmix=1.0, smoothing=0.2).fit(encoder, split, size=32, device="cpu", seed=0))
    assert method.mixing == {"mixup": 0.8, "cutmix": 1.0, "categories": 2, "smoothing": 0.2}


def test_does_not_flip_unless_asked():
    assert Finetune().flip == 0
    assert Finetune().view().flip == 0


def test_accumulated_parts_give_as_many_predictions(encoder, split):
    _, result = drain(quick(accumulate=2).fit(encoder, split, size=32, device="cpu", seed=0))
    assert len(result.predictions) == len(split.test)


@pytest.mark.parametrize(
    "settings",
    [{"scale": (0.0, 1.0)}, {"scale": (0.9, 0.5)}, {"flip": 1.5}, {"steps": 0}, {"lr": 0.0}, {"layer_decay": 0.0}],
)
def test_refuses_settings_out_of_range(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        quick(**settings)


def test_refuses_a_size_that_the_encoder_cannot_take(split):
    fixed = Encoder("mixer_s32_224", size=32)
    with pytest.raises(InputError, match="multiple of 32, got 40"):
        next(quick().fit(fixed, split, size=40, device="cpu", seed=0))


def test_learning_rate_is_taken_as_it_is(encoder, split):
    events = quick(lr=3e-3, batch=16, warmup=0.0).fit(encoder, split, size=32, device="cpu", seed=0)
    first = next(event for event in events if isinstance(event, Step))
    assert first.values["lr"] == pytest.approx(3e-3)
