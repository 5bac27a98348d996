"""MoBY: both queues against the paper's loss and torch's own, their timing, and the drop path of one side alone."""

import math

import pytest
import torch
import torch.nn.functional as F

import tiny
from firstlight.errors import InputError
from parity import equal, equal_each, leaves, precisions, slopes

SWIN = "swin_tiny_patch4_window7_224(depths=(1, 1, 1, 1), embed_dim=24)"


def published(query: list, key: list, queue: list, temperature: float) -> float:
    """Cross-entropy of finding a query's own key before those of the queue, in plain Python; all of length 1."""
    terms = []
    for q, k in zip(query, key):
        logits = [sum(a * b for a, b in zip(q, row)) / temperature for row in (k, *queue)]
        terms.append(math.log(sum(map(math.exp, logits))) - logits[0])
    return sum(terms) / len(terms)


def both(method, batch) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Predictions and keys of both views, of length 1."""
    predict = lambda view: method.predictor(method.projector(method.encoder(view)))  # noqa: E731
    return [F.normalize(predict(view), dim=1) for view in batch.views], [
        F.normalize(method.key(view), dim=1) for view in batch.views
    ]


@pytest.mark.parametrize("model", [SWIN, tiny.RESNET])
@precisions
@torch.no_grad()
def test_the_loss_is_the_papers(dtype, model):
    method = tiny.fill(tiny.build("moby", model)).to(dtype)
    for step in range(3):
        batch = tiny.batch(method, seed=step)
        batch.index += 4 * step  # other pictures each time, as where the training set is large
        queries, keys = both(method, batch)
        queues = [method.queue1.rows.tolist(), method.queue2.rows.tolist()]
        expected = sum(published(queries[i].tolist(), keys[1 - i].tolist(), queues[1 - i], 0.2) for i in range(2))
        equal(method(batch, step / 3)["loss"], expected)
        method.after_step(step / 3)


def in_torch(queries: list[torch.Tensor], keys: list[torch.Tensor], queues: list[torch.Tensor]) -> torch.Tensor:
    """The same for both directions by torch's cross-entropy, for its gradient."""
    loss = torch.zeros((), dtype=torch.float64)
    for query, key, queue in zip(queries, keys[::-1], queues[::-1]):
        logits = torch.cat([torch.einsum("nd,nd->n", query, key)[:, None], query @ queue.T], dim=1) / 0.2
        loss = loss + F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.int64))
    return loss


@precisions
def test_the_gradient_is_that_of_torchs_cross_entropy(dtype):
    method = tiny.fill(tiny.build("moby", SWIN)).to(dtype)
    batch, queues = tiny.batch(method), [queue.rows.double() for queue in (method.queue1, method.queue2)]
    predictions, keys = tiny.outputs(method.predictor), [key.double() for key in both(method, tiny.batch(method))[1]]
    predictions.clear()
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    theirs = leaves(predictions)
    reference = in_torch([F.normalize(rows, dim=1) for rows in theirs], keys, queues)
    reference.backward()
    equal(loss, reference)
    for ours, rows in zip(predictions, theirs):
        equal(ours.grad, rows.grad)


def test_the_gradient_reaches_every_weight_and_stops_at_the_keys():
    method = tiny.fill(tiny.build("moby", SWIN)).double()
    batch = tiny.batch(method)
    reference = in_torch(*both(method, batch), [method.queue1.rows, method.queue2.rows])
    equal_each(slopes(method(batch, 0.0)["loss"], method), slopes(reference, method))


def test_each_queue_takes_its_own_views_keys_once_a_step():
    method = tiny.build("moby", tiny.VIT)
    batch = tiny.batch(method)
    before = method.queue1.rows.clone(), method.queue2.rows.clone()
    _, keys = both(method, batch)
    method(batch, 0.0)
    assert torch.equal(method.queue1.rows, before[0]), "not before the step"
    method.after_step(0.0)
    for queue, key, old in zip((method.queue1, method.queue2), keys, before):
        torch.testing.assert_close(queue.rows[:4], key, rtol=0, atol=1e-5)
        assert torch.equal(queue.rows[4:], old[4:])
        assert queue.place == 4


def test_accumulated_parts_enter_the_queues_together():
    method = tiny.build("moby", tiny.VIT)
    batch = tiny.batch(method, samples=8)
    for rows in (slice(0, 4), slice(4, 8)):
        start = method.queue1.rows.clone()
        method(tiny.rows(batch, rows), 0.0)
        assert torch.equal(method.queue1.rows, start)
    method.after_step(0.0)
    assert method.queue1.place == 0, "8 rows went into 8 places"
    torch.testing.assert_close(method.queue1.rows.norm(dim=1), torch.ones(8))


@torch.no_grad()
def test_past_keys_of_the_same_picture_are_no_negatives():
    method = tiny.fill(tiny.build("moby", tiny.VIT)).double()
    method(tiny.batch(method), 0.0)
    method.after_step(0.0)
    batch = tiny.batch(method, seed=1)
    batch.index = torch.tensor([3, 3, 1, 9])
    queries, keys = both(method, batch)
    kept = [[row for row in range(8) if row != picture] for picture in batch.index]  # row 3 is picture 3's, and so on
    expected = 0.0
    for i, queue in ((0, method.queue2), (1, method.queue1)):
        found = zip(queries[i].tolist(), keys[1 - i].tolist(), kept)
        expected += sum(published([q], [k], queue.rows[some].tolist(), 0.2) for q, k, some in found) / 4
    equal(method(batch, 0.5)["loss"], expected)


def test_the_key_network_moves_between_two_steps():
    method = tiny.build("moby", tiny.VIT, momentum=0.9)
    start = method.key.copy[1][0].weight.detach().clone()
    with torch.no_grad():
        method.projector[0].weight.add_(1.0)
    method(tiny.batch(method), 0.0)
    assert torch.equal(method.key.copy[1][0].weight, start)
    method.after_step(0.0)
    expected = 0.9 * start + 0.1 * method.projector[0].weight.detach()
    torch.testing.assert_close(method.key.copy[1][0].weight, expected)


def test_only_the_online_network_drops_blocks():
    from firstlight import spec
    from firstlight.encoder import Encoder
    from firstlight.methods import Method

    torch.manual_seed(0)
    encoder = Encoder(SWIN, size=32, drop_path=0.9)
    method = spec.build("methods", spec.Spec("moby", {}), Method, encoder, **tiny.SMALL)
    batch = tiny.batch(method)
    online, key = (
        {side(batch.views[0]).sum().item() for _ in range(4)} for side in (method.encoder, method.key.copy[0])
    )
    assert len(online) > 1
    assert len(key) == 1


def test_the_heads_are_the_published_ones():
    method = tiny.build("moby", SWIN)
    for head in (method.projector, method.predictor):
        assert [type(layer).__name__ for layer in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
        assert all(layer.bias is not None for layer in (head[0], head[3]))


def test_a_queue_must_hold_whole_batches():
    method = tiny.build("moby", tiny.VIT, queue=100)
    method.check(50)
    with pytest.raises(InputError, match=r"queue=100.*batch \(48\); nearest: 96"):
        method.check(48)
    with pytest.raises(InputError, match="batch norm"):
        method.check(1)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"momentum": 1.5}, {"queue": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"moby\(.*nearest: (0\.001|1)$"):
        tiny.build("moby", tiny.VIT, **settings)


def test_the_papers_optimisation():
    from firstlight.methods.moby import MoBY

    chosen = MoBY.optimisation
    assert (chosen.optimizer, chosen.lr, chosen.weight_decay, chosen.clip) == ("adamw", 1e-3 * 256 / 512, 0.05, 5.0)
    assert not chosen.clip_each


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("moby", SWIN)).double())
    assert losses == pytest.approx([5.635095, 4.532762, 4.373407], abs=1e-4)
