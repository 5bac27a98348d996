"""Context encoder: where the hole is and what fills it, the published weights, and who gets whose gradient."""

import copy

import numpy as np
import pytest
import torch

import tiny
from firstlight.data.held import HeldPictures
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.events import drain
from firstlight.methods.inpaint import Inpaint
from firstlight.parts.adversary import Adversary
from firstlight.views.batches import Batches
from parity import equal, equal_each, precisions

PLAIN = {"adversarial": 0.0, "hole": 7 / 16, "random": False, "overlap": 1 / 32, "border": 10.0, "painter": "deep"}
"""as published, without a discriminator"""


def numbered(samples: int, side: int) -> torch.Tensor:
    return torch.arange(samples * 3 * side**2, dtype=torch.float64).view(samples, 3, side, side) + 1


def test_the_hole_is_in_the_middle_and_a_border_of_what_is_painted_is_seen():
    """The published geometry at 128 px: 64 are painted, of which 4 all round are seen."""
    gap = Inpaint(Encoder("resnet10t", size=128), **PLAIN).gap
    pictures = numbered(2, 128)
    opened, windows, hidden = gap(pictures, torch.arange(2))
    assert torch.equal(windows, pictures[:, :, 32:96, 32:96])
    expected = pictures.clone()
    expected[:, :, 36:92, 36:92] = 0
    assert torch.equal(opened, expected)
    inner = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    inner[:, :, 4:60, 4:60] = True
    assert torch.equal(hidden, inner)


@pytest.mark.parametrize(("hole", "overlap", "most"), [(7 / 16, 1 / 32, 16), (0.5, 1.0, 32), (0.5, 0.25, 32)])
def test_a_hole_may_be_anywhere(hole, overlap, most):
    """The window lies around it as far as the picture goes, and is of one size for all."""
    gap = tiny.build("inpaint", **PLAIN | {"random": True, "hole": hole, "overlap": overlap}).gap
    side, border, room = round(32 * hole), round(32 * overlap), 32 - most
    pictures, key = numbered(300, 32), torch.arange(300) * 17
    opened, windows, hidden = gap(pictures, key)
    corners = gap.corners(pictures, key)
    assert windows.shape == (300, 3, most, most)
    assert corners.min() == 0
    assert corners.max() == 32 - side, "the last row too"
    assert abs(corners.double().mean() - (32 - side) / 2) < 0.5
    for number in range(0, 300, 20):
        top, left = corners[:, number].tolist()
        expected = pictures[number].clone()
        expected[:, top : top + side, left : left + side] = 0
        assert torch.equal(opened[number], expected)
        above, before = (min(max(start - border, 0), room) for start in (top, left))
        window = slice(above, above + most), slice(before, before + most)
        assert torch.equal(windows[number], pictures[number][:, *window])
        assert torch.equal(hidden[number, 0], expected[0][window] == 0)
    assert torch.equal(gap.filled(opened, windows, key), pictures)


def test_the_hole_has_the_training_pictures_mean_colour():
    method = tiny.build("inpaint", **PLAIN)
    assert torch.equal(method.gap.colour, torch.zeros(3)), "the views' zero, until it has looked"
    colours = np.array([[10, 200, 90], [30, 100, 250]], np.uint8)
    pictures = HeldPictures(colours[:, None, None].repeat(20, 1).repeat(20, 2), [0, 1])
    drain(method.prepare(Batches(pictures, method.views, size=32, batch=2)))
    expected = torch.from_numpy(colours.mean(0)).float() / 127.5 - 1
    torch.testing.assert_close(method.gap.colour, expected)
    assert "gap.colour" in method.state_dict(), "a resumed training does not look again"
    opened, _, _ = method.gap(torch.zeros(1, 3, 32, 32), torch.zeros(1, dtype=torch.int64))
    torch.testing.assert_close(opened[0, :, 16, 16], expected)
    assert (opened[0, :, 8, 8] == 0).all(), "the border is seen"


@pytest.mark.parametrize("size", [32, 64, 224])
def test_by_default_half_of_the_side_is_hidden_and_all_is_painted(size):
    gap = Inpaint(Encoder("resnet10t", size=size)).gap
    assert (gap.hidden, gap.side) == (size // 2, size)


def published(guess: np.ndarray, truth: np.ndarray, hidden: np.ndarray, times: float) -> tuple[float, np.ndarray]:
    """The weighted squared error and its gradient in loops: the mean over all values, ten times in the border."""
    total, gradient = 0.0, np.zeros_like(guess)
    for place in np.ndindex(guess.shape):
        sample, _, row, column = place
        weight = 1.0 if hidden[sample, row, column] else times
        total += weight * (guess[place] - truth[place]) ** 2 / guess.size
        gradient[place] = 2 * weight * (guess[place] - truth[place]) / guess.size
    return total, gradient


@pytest.mark.parametrize(
    ("settings", "side", "times"),
    [({}, 16, 10.0), ({"random": True, "border": 3.0, "overlap": 0.2, "hole": 0.4}, 25, 3.0)],
)
@precisions
def test_the_loss_and_its_gradient_are_the_published_ones(dtype, settings, side, times):
    method = tiny.build("inpaint", tiny.RESNET, **PLAIN | settings).to(dtype)
    batch = tiny.batch(method, samples=2)
    painted = tiny.outputs(method.painter)
    loss = method(batch, 0.0)["loss"]
    loss.backward()

    hole, border = round(32 * (settings or PLAIN)["hole"]), round(32 * (settings or PLAIN)["overlap"])
    truth, hidden = np.zeros((2, 3, side, side)), np.zeros((2, side, side), bool)
    for sample, (top, left) in enumerate(method.gap.corners(batch.views[0], batch.key).T.tolist()):
        above, before = (min(max(start - border, 0), 32 - side) for start in (top, left))
        truth[sample] = batch.views[0][sample, :, above : above + side, before : before + side].double().numpy()
        hidden[sample, top - above : top - above + hole, left - before : left - before + hole] = True
    expected, gradient = published(painted[0].detach().double().numpy(), truth, hidden, times)
    equal(loss, expected)
    equal(painted[0].grad, gradient)


@precisions
def test_each_part_gets_its_own_gradient_alone(dtype):
    """Against two losses with an optimiser each: the judge frozen for the painter's, the painter for the judge's."""
    weight = 0.25
    method = tiny.build("inpaint", tiny.RESNET, **PLAIN | {"adversarial": weight}).to(dtype)
    batch = tiny.batch(method)
    twin = copy.deepcopy(method)
    out = method(batch, 0.0)
    out["loss"].backward()

    opened, real, hidden = twin.gap(batch.views[0], batch.key)
    judge = twin.adversary.judge
    painted = twin.painter(twin.encoder(opened))
    error = ((10 - 9 * hidden.to(dtype)) * (painted - real).square()).mean()
    for p in judge.parameters():
        p.requires_grad_(False)
    fooled = -judge(painted).sigmoid().log().mean()
    ((1 - weight) * error + weight * fooled).backward()
    for p in judge.parameters():
        p.requires_grad_(True)
    judged = -judge(real).sigmoid().log().mean() - (1 - judge(painted.detach()).sigmoid()).log().mean()
    judged.backward()

    values = {"error": error, "fooled": fooled, "judged": judged}
    for name, value in values.items():
        equal(out[name], value, of=name)
    equal(out["loss"], (1 - weight) * error + weight * fooled + judged)
    equal_each(*({name: weight.grad for name, weight in side.named_parameters()} for side in (method, twin)))


def test_the_judge_learns_and_does_not_touch_what_it_judges():
    torch.manual_seed(0)
    judge = Adversary(3, 16)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3)
    painted = torch.zeros(8, 3, 16, 16, requires_grad=True)
    losses = []
    for _ in range(20):
        _, judged = judge(painted, torch.rand(8, 3, 16, 16))
        optimizer.zero_grad()
        judged.backward()
        assert painted.grad is None
        optimizer.step()
        losses.append(judged.item())
    assert losses[-1] < 0.7 * losses[0]
    optimizer.zero_grad()
    judge(painted, torch.rand(8, 3, 16, 16))[0].backward()
    assert painted.grad.abs().sum() > 0
    assert all(p.grad is None for p in judge.parameters())


@pytest.mark.parametrize("side", [1, 3, 7, 8, 13, 32, 56])
def test_the_judge_takes_any_side(side):
    fooled, judged = Adversary(1, side, width=4)(*torch.rand(2, 3, 1, side, side))
    assert fooled.isfinite()
    assert judged.isfinite()


def test_without_an_adversary_there_is_none():
    method = tiny.build("inpaint", **PLAIN)
    assert method.adversary is None
    assert set(method(tiny.batch(method), 0.0)) == {"loss"}


def test_people_see_the_hole_and_what_was_painted_in_it():
    method = tiny.build("inpaint", **PLAIN).eval()
    batch = tiny.batch(method)
    shown = method.reconstruct(batch)
    assert list(shown) == ["picture", "masked", "predicted"]
    assert torch.equal(shown["picture"], batch.views[0])
    inside = slice(9, 23)  # what was seen of the window, a border of 1, stays as it is
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[inside, inside] = False
    assert torch.equal(shown["predicted"][..., outside], batch.views[0][..., outside])
    painted = method.painter(method.encoder(shown["masked"]))
    torch.testing.assert_close(shown["predicted"][..., inside, inside], painted[..., 1:-1, 1:-1])


@pytest.mark.parametrize("settings", [{"hole": 0.0}, {"hole": 1.0}, {"overlap": 1.5}, {"overlap": -0.1}])
def test_a_hole_must_hide_some_and_leave_some(settings):
    with pytest.raises(InputError, match=r"inpaint\(.*(of 32 px.*allowed is 1 to 31 px; try 0\.5|nearest: [01])"):
        tiny.build("inpaint", **settings)


@pytest.mark.parametrize("settings", [{"border": 0.0}, {"adversarial": 1.0}, {"adversarial": -0.1}])
def test_impossible_weights_are_refused(settings):
    with pytest.raises(InputError, match=r"inpaint\(.*(allowed is above 0, and 0 to below 1|nearest: 0)"):
        tiny.build("inpaint", **settings)


def test_it_learns_to_continue_a_ramp():
    method = tiny.build("inpaint", tiny.RESNET, **PLAIN)
    losses, _ = tiny.learned_ramps(method)
    assert losses[-1] < 0.3 * losses[0]


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("inpaint", tiny.RESNET, **PLAIN)).double())
    assert losses == pytest.approx([1.921198, 1.667614, 1.537403], abs=1e-4)
