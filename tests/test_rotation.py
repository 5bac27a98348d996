"""Rotation: the four turns, their order after every augmentation, and what a flip afterwards would do."""

import math

import numpy as np
import pytest
import torch

import tiny
from firstlight.data.held import HeldPictures
from firstlight.errors import InputError
from firstlight.methods.rotation import Rotation, four_rotations, turned
from firstlight.views import View
from firstlight.views.batches import Batches
from parity import equal, precisions


def ramps(count: int) -> HeldPictures:
    """Pictures that grow brighter downwards, which a left-right flip and a crop leave as it is."""
    line = np.linspace(0, 255, 32).astype(np.uint8)
    return HeldPictures([np.repeat(np.tile(line[:, None], (1, 32))[..., None], 3, 2)] * count, np.zeros(count, int))


def direction(pictures: torch.Tensor) -> torch.Tensor:
    """By how many quarter turns counter-clockwise a ramp was turned, told from its pixels alone."""
    values = pictures.mean(1)
    half = values.shape[-1] // 2
    down = values[:, half:].mean((1, 2)) - values[:, :half].mean((1, 2))
    right = values[:, :, half:].mean((1, 2)) - values[:, :, :half].mean((1, 2))
    return torch.where(down.abs() > right.abs(), torch.where(down > 0, 0, 2), torch.where(right > 0, 1, 3))


def seen(method: Rotation) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What the encoder is shown in a step on real views, and where the views were flipped."""
    batches = Batches(ramps(12), method.views, size=32, batch=12, seed=3)
    shown: list[torch.Tensor] = []
    hook = method.encoder.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    batch = batches.at(0)
    method(batch, 0.0)
    hook.remove()
    return batch.geometry[0].flipped, shown


def test_the_label_is_told_from_a_ramp_through_the_whole_pipeline_with_flips_on():
    method = tiny.build("rotation", tiny.RESNET)
    flipped, (pictures,) = seen(method)
    assert flipped.any()
    assert not flipped.all()
    assert direction(pictures).tolist() == [0] * 12 + [1] * 12 + [2] * 12 + [3] * 12


def test_a_flip_after_rotating_would_make_the_labels_ambiguous():
    """VISSL's recipe turns a picture first and crops and flips it afterwards; here the views are made before."""
    pictures = torch.randn(2, 3, 8, 8)
    turns = four_rotations(pictures)[0].unflatten(0, (4, -1))
    mirrored = four_rotations(pictures.flip(-1))[0].unflatten(0, (4, -1))
    for label in range(4):
        assert torch.equal(turns[label].flip(-1), mirrored[-label % 4]), "90 of one picture is 270 of its mirror image"
    _, (ramp,) = seen(tiny.build("rotation", tiny.RESNET))
    late = torch.where((torch.arange(48) % 2 == 0)[:, None, None, None], ramp.flip(-1), ramp)
    right = (direction(late) == torch.arange(4).repeat_interleave(12)).float()
    assert right.mean() == 0.75, "the ceiling of any network, were the pictures flipped here"


def test_the_four_rotations_are_lossless_and_those_of_the_published_code():
    x = torch.randn(2, 3, 6, 6)
    every, turns = four_rotations(x)
    assert turns.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    a = x.numpy()
    published = [
        a,
        np.flip(a.swapaxes(2, 3), 2),  # flipud(transpose)
        np.flip(np.flip(a, 2), 3),  # fliplr(flipud)
        np.flip(a, 2).swapaxes(2, 3),  # transpose(flipud)
    ]
    assert np.array_equal(every.numpy(), np.concatenate(published))
    assert torch.equal(turned(x, torch.tensor([1, 3])), torch.stack([every[2], every[7]]))
    assert torch.equal(turned(turned(x, torch.tensor([1, 3])), torch.tensor([3, 1])), x)


@precisions
def test_the_loss_and_its_gradient_are_those_of_the_formula(dtype):
    method = tiny.build("rotation", tiny.RESNET).to(dtype)
    logits = tiny.outputs(method.head)
    loss = method(tiny.batch(method), 0.0)["loss"]
    loss.backward()
    rows, count = logits[0].detach().double().tolist(), len(logits[0])
    assert count == 4 * 4
    total, gradients = 0.0, []
    for place, row in enumerate(rows):
        label, whole = place // 4, sum(math.exp(value) for value in row)
        total -= math.log(math.exp(row[label]) / whole) / count
        gradients.append([(math.exp(v) / whole - (k == label)) / count for k, v in enumerate(row)])
    equal(loss, total)
    equal(logits[0].grad, gradients)


@pytest.mark.parametrize("view", [View(rotate=0.5), View(flip_vertical=0.5)])
def test_views_that_turn_pictures_are_refused(view):
    method = tiny.build("rotation", tiny.RESNET)
    method.check(4)
    method.views = (view,)
    with pytest.raises(InputError, match=r"allowed is View\(rotate=0, flip_vertical=0\)"):
        method.check(4)


def test_reconstruction_turns_back_by_what_was_predicted():
    method = tiny.build("rotation", tiny.RESNET).eval()
    batch = tiny.batch(method, samples=8)
    for label in range(4):
        with torch.no_grad():
            method.head.bias.copy_(1000 * torch.nn.functional.one_hot(torch.tensor(label), 4))
            out = method.reconstruct(batch)
        assert list(out) == ["picture", "turned", "turned back"]
        assert torch.equal(out["turned back"], torch.rot90(out["turned"], -label, (2, 3)))
        assert torch.equal(out["picture"], batch.views[0])
    right = (out["turned back"] == out["picture"]).flatten(1).all(1)
    assert right.any(), "some were turned by 270 degrees"
    assert not right.all()


def test_it_learns_the_direction_of_ramps():
    method = tiny.build("rotation", tiny.RESNET)
    batches = Batches(ramps(8), method.views, size=32, batch=8)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.05, momentum=0.9)
    out = {}
    for step in range(12):
        out = method(batches.at(step), step / 12)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
    assert out["accuracy"] > 0.9


def test_the_papers_optimisation():
    chosen = Rotation.optimisation
    assert (chosen.optimizer, chosen.lr, chosen.momentum, chosen.weight_decay) == ("sgd", 0.1, 0.9, 5e-4)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("rotation", tiny.RESNET)).double())
    assert losses == pytest.approx([1.560366, 1.996780, 1.621882], abs=1e-4)
