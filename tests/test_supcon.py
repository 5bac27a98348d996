"""SupCon: the loss and its gradient against the paper's L_out, and how it differs from what others compute."""

import math

import pytest
import torch
from torch import nn

import tiny
from firstlight.errors import InputError
from firstlight.parts.losses import nt_xent, supervised_contrast
from parity import differ, equal, leaves, precisions


def published(rows: list, label: list[int], temperature: float) -> float:
    """Equation 2 of the paper (L_out) in plain Python, averaged over the rows."""
    rows = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]
    total = 0.0
    for i, row in enumerate(rows):
        similar = {a: sum(x * y for x, y in zip(row, rows[a])) / temperature for a in range(len(rows)) if a != i}
        everything = math.log(sum(map(math.exp, similar.values())))
        positives = [p for p in similar if label[p] == label[i]]
        total -= sum(similar[p] - everything for p in positives) / max(len(positives), 1)
    return total / len(rows)


def written_out(rows: torch.Tensor, label: torch.Tensor, temperature: float, *, inside: bool = False) -> torch.Tensor:
    """The same in torch, row by row. ``inside`` puts the mean over positives inside the logarithm (L_in)."""
    rows, terms = nn.functional.normalize(rows), []
    for i in range(len(rows)):
        others = torch.arange(len(rows)) != i
        log_p = (rows[others] @ rows[i] / temperature).log_softmax(0)[label[others] == label[i]]
        terms.append(-log_p.exp().mean().log() if inside else -log_p.mean())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("temperature", [0.07, 0.1, 0.5])
@precisions
def test_the_loss_and_its_gradient_are_the_papers(dtype, temperature):
    torch.manual_seed(0)
    ours, label = torch.randn(10, 6, dtype=dtype, requires_grad=True), torch.tensor([0, 1, 2, 0, 1, 0, 1, 2, 0, 1])
    (theirs,) = leaves([ours])
    loss, reference = supervised_contrast(ours, label, temperature), written_out(theirs, label, temperature)
    equal(loss, published(ours.tolist(), label.tolist(), temperature))
    loss.backward()
    reference.backward()
    equal(ours.grad, theirs.grad)
    # solo-learn sums inside the logarithm; the public code multiplies by T / 0.07. Neither is this loss.
    differ(loss, written_out(theirs, label, temperature, inside=True))
    if temperature != 0.07:
        differ(loss, loss * temperature / 0.07)


def test_with_a_class_for_each_picture_it_is_simclr():
    torch.manual_seed(1)
    a, b = torch.randn(2, 5, 4, dtype=torch.float64)
    label = torch.arange(5).repeat(2)
    equal(supervised_contrast(torch.cat([a, b]), label, 0.1), nt_xent(a, b, 0.1))


def test_a_row_without_a_positive_counts_as_zero():
    rows = torch.randn(3, 4, dtype=torch.float64)
    label = torch.tensor([0, 0, 7])
    equal(supervised_contrast(rows, label, 0.2), published(rows.tolist(), label.tolist(), 0.2))


@precisions
def test_the_method_contrasts_both_views_of_all_pictures(dtype):
    method = tiny.build("supcon", tiny.RESNET).to(dtype)
    rows = tiny.outputs(method.head)
    batch = tiny.batch(method)
    batch.label = torch.tensor([0, 1, 1, 0])
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    assert len(rows) == 1, "one pass"
    equal(loss, published(rows[0].tolist(), [0, 1, 1, 0] * 2, 0.1))
    (theirs,) = leaves(rows)
    written_out(theirs, torch.tensor([0, 1, 1, 0] * 2), 0.1).backward()
    equal(rows[0].grad, theirs.grad)


def test_the_head_is_the_published_one():
    head = tiny.build("supcon").head
    assert [type(layer).__name__ for layer in head] == ["Linear", "ReLU", "Linear"]
    assert all(layer.bias is not None for layer in (head[0], head[2]))


def test_pictures_without_labels_are_refused():
    method = tiny.build("supcon")
    batch = tiny.batch(method)
    batch.label[2] = -1
    with pytest.raises(InputError, match="a label for every picture"):
        method(batch, 0.0)
    with pytest.raises(InputError, match="temperature=0"):
        tiny.build("supcon", temperature=0.0)


def test_the_papers_optimisation():
    from firstlight.methods.supcon import SupCon

    chosen = SupCon.optimisation
    assert (chosen.optimizer, chosen.weight_decay) == ("sgd", 1e-4)
    assert chosen.lr * 1024 / 256 == 0.5, "the CIFAR recipe: 0.5 at a batch of 1,024"
    assert SupCon.views[0].blur == 0


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("supcon", tiny.RESNET)).double())
    assert losses == pytest.approx([2.843675, 2.163368, 3.269927], abs=1e-4)
