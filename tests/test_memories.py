"""What methods remember: the queue, the bank; and the groups that batch norm sees, the smooth assignments."""

import numpy as np
import pytest
import torch
from torch import nn

from firstlight.errors import InputError
from firstlight.parts.bank import Bank
from firstlight.parts.groups import check_groups, in_groups, shuffled
from firstlight.parts.prototypes import Prototypes
from firstlight.parts.queue import Queue
from firstlight.parts.sinkhorn import sinkhorn


def test_a_queue_is_first_in_first_out():
    queue, stream = Queue(5, 2), torch.arange(40.0).view(20, 2)
    for step, rows in enumerate(stream.split(3)):
        queue.hear(rows, float(step))
        queue.follow(float(step))
        newest = stream[: 3 * (step + 1)][-5:]
        held = queue.rows.tolist()
        assert all(row.tolist() in held for row in newest), "the newest five are there, wherever"
    assert queue.place == 20 % 5


def test_a_queue_smaller_than_a_batch_keeps_its_newest_rows():
    queue = Queue(4, 1)
    queue.hear(torch.arange(10.0)[:, None], 0.0)
    queue.follow(0.0)
    assert sorted(queue.rows[:, 0].tolist()) == [6, 7, 8, 9]


def test_a_queue_starts_with_unit_vectors_or_empty():
    torch.testing.assert_close(Queue(6, 4).rows.norm(dim=1), torch.ones(6))
    assert Queue(6, 4).full
    empty = Queue(6, 4, empty=True)
    assert not empty.rows.any()
    for step, full in enumerate((False, True)):
        empty.hear(torch.ones(3, 4), float(step))
        empty.follow(float(step))
        assert empty.full == full


def test_a_skipped_step_leaves_nothing_in_a_queue_or_a_bank():
    queue, bank = Queue(4, 2), Bank(4, 2)
    before = queue.rows.clone(), bank.rows.clone()
    queue.hear(torch.full((2, 2), torch.nan), 0.1)
    bank.hear(torch.tensor([0, 1]), torch.full((2, 2), torch.nan), 0.1)
    queue.hear(torch.ones(1, 2), 0.2)
    bank.hear(torch.tensor([2]), torch.ones(1, 2), 0.2)
    for part in (queue, bank):
        part.follow(0.2)
        part.follow(0.2)  # nothing new: nothing happens
    assert torch.equal(queue.rows[1:], before[0][1:])
    assert torch.equal(bank.rows[[0, 1, 3]], before[1][[0, 1, 3]])
    assert not torch.equal(bank.rows[2], before[1][2])


def test_a_queue_goes_on_where_it_was():
    first, second = Queue(5, 2, empty=True), Queue(5, 2)
    first.hear(torch.ones(3, 2), 0.0)
    first.follow(0.0)
    second.load_state_dict(first.state_dict())
    for queue in (first, second):
        queue.hear(torch.arange(6.0).view(3, 2), 0.5)
        queue.follow(0.5)
    assert torch.equal(first.rows, second.rows)
    assert (first.place, first.filled) == (second.place, second.filled) == (1, 5)


def test_a_picture_that_comes_twice_in_a_step_is_remembered_as_it_came_last():
    bank = Bank(4, 2, momentum=0.0)
    rows = nn.functional.normalize(torch.randn(5, 2), dim=1)
    bank.hear(torch.tensor([3, 0, 3]), rows[:3], 0.0)
    bank.hear(torch.tensor([1, 0]), rows[3:], 0.0)
    bank.follow(0.0)
    torch.testing.assert_close(bank.rows[[3, 1, 0]], rows[2:])
    assert bank.seen == 5


def test_a_bank_holds_unit_vectors_that_move_by_its_momentum():
    bank = Bank(6, 3, momentum=0.8)
    torch.testing.assert_close(bank.rows.norm(dim=1), torch.ones(6))
    old, new = bank.rows[2].clone(), nn.functional.normalize(torch.randn(1, 3), dim=1)
    bank.hear(torch.tensor([2]), new, 0.0)
    bank.follow(0.0)
    torch.testing.assert_close(bank.rows[2], nn.functional.normalize(0.8 * old + 0.2 * new[0], dim=0))


@pytest.mark.parametrize(
    ("pictures", "momentum", "nearest"), [(0, 0.5, "pictures=1"), (4, 1.0, "momentum=0.99"), (4, -0.1, "momentum=0")]
)
def test_impossible_banks_are_refused(pictures, momentum, nearest):
    with pytest.raises(InputError, match=rf"allowed is .*; nearest: {nearest}$"):
        Bank(pictures, 2, momentum)


def test_groups_have_their_own_statistics_and_pictures_come_back_in_order():
    norm = nn.BatchNorm1d(3)
    x, key = torch.randn(8, 3), torch.tensor([5, 3, 8, 1, 9, 2, 7, 4])
    plain = in_groups(norm, x, 4)
    for group in range(4):
        torch.testing.assert_close(plain[2 * group : 2 * group + 2].mean(0), torch.zeros(3), atol=1e-5, rtol=0)

    order = key.argsort()
    mixed = shuffled(norm, x, key, 4)
    torch.testing.assert_close(mixed[order], in_groups(norm, x[order], 4))
    torch.testing.assert_close(shuffled(nn.Identity(), x, key, 2), x)


@pytest.mark.parametrize(("groups", "batch", "nearest"), [(3, 8, 2), (8, 8, 4), (7, 24, 6), (0, 8, 1)])
def test_groups_that_do_not_divide_are_refused(groups, batch, nearest):
    with pytest.raises(InputError, match=f"groups={groups}.*nearest: {nearest}"):
        check_groups(groups, batch, "moco")
    check_groups(nearest, batch, "moco")
    with pytest.raises(InputError, match=f"groups={groups}"):
        in_groups(nn.Identity(), torch.randn(batch, 2), groups)


def test_assignments_use_all_prototypes_alike():
    torch.manual_seed(0)
    scores = nn.functional.normalize(torch.randn(64, 8, dtype=torch.float64), dim=1)
    three, many = sinkhorn(scores, 0.05), sinkhorn(scores, 0.05, iterations=200)
    for q in (three, many):
        torch.testing.assert_close(q.sum(1), torch.ones(64, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(many.sum(0), torch.full((8,), 8.0, dtype=torch.float64), rtol=0, atol=1e-4)
    assert (three.sum(0) / 8).min() > 0.5


def test_assignments_are_lightlys_and_survive_what_overflows():
    from lightly.loss.swav_loss import sinkhorn as reference

    scores = nn.functional.normalize(torch.randn(16, 6, dtype=torch.float64), dim=1)
    torch.testing.assert_close(sinkhorn(scores, 0.05), reference(scores, 3, 0.05), rtol=0, atol=1e-9)
    q = sinkhorn(scores.half(), 0.01)  # exp(100) is no float32, exp(20) no float16
    assert q.dtype == torch.float32
    assert q.isfinite().all()
    np.testing.assert_allclose(q.sum(1), 1, atol=1e-5)


def test_prototypes_go_back_to_length_one():
    prototypes = Prototypes(4, 6)
    with torch.no_grad():
        prototypes.weight.mul_(3).add_(0.1)
    direction = nn.functional.normalize(prototypes.weight.detach(), dim=1)
    prototypes.follow(0.0)
    torch.testing.assert_close(prototypes.weight.detach(), direction)
    with torch.autocast("cpu", torch.bfloat16):
        assert prototypes(torch.randn(2, 4).bfloat16()).dtype == torch.float32
