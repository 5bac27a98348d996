"""Every method resumes: killed anywhere and built anew, it trains to the same bits as if nothing had happened.

A file dropped into methods/ is tested here without being mentioned.
"""

import dataclasses
import math
import signal
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny
from firstlight import spec
from firstlight.data.held import HeldPictures
from firstlight.errors import InputError, Stopped
from firstlight.events import Saved, Step
from firstlight.methods import Method
from firstlight.runs import Run
from firstlight.train import Setup
from firstlight.train.loop import Training, train
from firstlight.views import Batch
from firstlight.views.batches import Batches

STEPS, BATCH, PICTURES, SPOILT = 7, 4, 10, 3
MOVING = {
    "pictures": PICTURES,
    "freeze": 0.2,
    "freeze_last": 0.2,
    "queue_from": 0.3,
    "warm": 0.6,
    "teacher_temperature": (0.04, 0.08),
    "momentum": 0.9,
    "queue": 12,
    "negatives": 3,
}
"""Settings, where a method has them, with which its schedules and memories move in so few steps: prototypes rest for
two steps, a queue of three batches fills and wraps round."""
names = pytest.mark.parametrize("name", spec.names("methods"))


class Spoilt(Batches):
    """The last part of one step is not finite, so that the step is skipped. Views are made once for all tests."""

    known: ClassVar[dict[tuple, Batch]] = {}

    def at(self, step: int, part: int = 0) -> Batch:
        key = (self.views, self.mean, self.std, self.multiple, self.parts, step, part)
        if key not in self.known:
            self.known[key] = super().at(step, part)
        return self.known[key]

    def stream(self, start: int = 0):
        for number, batch in enumerate(super().stream(start)):
            last = number == (SPOILT - start) * self.parts + self.parts - 1
            yield dataclasses.replace(batch, views=[view * math.nan for view in batch.views]) if last else batch


def made(name: str, model: str, parts: int, seed: int) -> tuple[Method, Batches]:
    """The method from nothing, its weights random, with pictures of which two and a half batches are an epoch."""
    known = spec.settings_of(spec.find("methods", name, Method))
    settings = {key: value for key, value in (MOVING | {"groups": 2 // parts}).items() if key in known}
    try:
        method = tiny.build(name, model, seed=seed, **settings)
    except InputError as error:
        if "vit" not in str(error):
            raise  # a refusal must name a model that works
        method = tiny.build(name, seed=seed, **settings)
    random = np.random.default_rng(0)
    pictures = HeldPictures(random.integers(0, 256, (PICTURES, 24, 24, 3), np.uint8), np.arange(PICTURES) % 4)
    encoder = method.encoder
    how = {"mean": encoder.mean, "std": encoder.std, "multiple": encoder.multiple, "parts": parts}
    return method, Spoilt(pictures, method.views, size=tiny.SIZE, batch=BATCH, **how)


def state(training: Training) -> dict[str, Tensor]:
    """Parameters, buffers (kept or not) and the optimiser's state, copied."""
    found = dict(training.method.named_parameters()) | dict(training.method.named_buffers())
    for number, values in training.optimizer.state_dict()["state"].items():
        found |= {f"optimiser {number} {key}": torch.as_tensor(value) for key, value in values.items()}
    return {key: value.detach().clone() for key, value in found.items()}


def told(event: Step) -> dict[str, float]:
    return {key: value for key, value in event.values.items() if key != "images_per_second"}


@pytest.fixture
def trainings(monkeypatch) -> list[Training]:
    """The trainings under way, for a look into their optimisers."""
    found, plain = [], Training.__init__

    def noted(self, *given):
        plain(self, *given)
        found.append(self)

    monkeypatch.setattr(Training, "__init__", noted)
    return found


@names
@pytest.mark.parametrize(
    ("model", "parts", "precision"), [(tiny.VIT, 1, "fp32"), (tiny.RESNET, 2, "bf16")], ids=["whole", "parts-bf16"]
)
def test_resumed_equals_uninterrupted_to_the_bit(name, model, parts, precision, tmp_path, trainings):
    """Closed inside an epoch with prototypes at rest, stopped after the skipped step, closed where an epoch ends."""
    optimisation = spec.find("methods", name, Method).optimisation
    setup = Setup(steps=STEPS, batch=BATCH, precision=precision, accumulate=parts, optimisation=optimisation)
    method, batches = made(name, model, parts, seed=0)
    expected, states = [], []
    for event in train(method, batches, setup):
        if isinstance(event, Step):
            expected.append((event.step, told(event)))
            states.append(state(trainings[-1]))
    assert [values["skipped"] for _, values in expected] == [0] * SPOILT + [1] * (STEPS - SPOILT)
    assert_equal(states[SPOILT - 1], states[SPOILT])  # no trace of what was skipped
    assert any(not torch.equal(states[SPOILT][key], value) for key, value in states[SPOILT + 1].items())

    run, found = Run(tmp_path), []
    for seed, (end, how) in enumerate([(1, "close"), (SPOILT + 1, "stop"), (5, "close"), (STEPS, "")]):
        saving = dataclasses.replace(setup, save_every=end)
        found += part_of(train(*made(name, model, parts, seed), saving, run), end, how)
    assert found == expected
    assert_equal(states[-1], state(trainings[-1]))


def part_of(events, end: int, how: str) -> list[tuple[int, dict[str, float]]]:
    """Lets a training go until step ``end`` and ends it there, by closing it or by a signal during the step."""
    found = []
    try:
        for event in events:
            if isinstance(event, Step):
                found.append((event.step, told(event)))
                if how == "stop" and event.step == end - 1:
                    signal.raise_signal(signal.SIGTERM)
            if isinstance(event, Saved) and how == "close" and event.path.endswith(f"{end:09d}"):
                events.close()
    except Stopped:
        assert how == "stop"
    assert found[-1][0] == end
    return found


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert not [key for key, value in first.items() if not torch.equal(value, second[key])]
