"""MoCo: the loss against the paper and lightly, the queue, the moving copy, shuffled batch norm."""

import inspect
import math

import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.views import MOCO_V1, MOCO_V2
from parity import equal, leaves, precisions


def published(queries: list, keys: list, queue: list, temperature: float) -> float:
    """Equation 1 of the paper in plain Python: the key of the same picture among itself and the whole queue."""

    def unit(row: list[float]) -> list[float]:
        return [x / math.sqrt(sum(y * y for y in row)) for x in row]

    def dot(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b))

    terms = []
    for query, key in zip(map(unit, queries), map(unit, keys)):
        logits = [dot(query, other) / temperature for other in [key, *queue]]
        terms.append(-logits[0] + math.log(sum(map(math.exp, logits))))
    return sum(terms) / len(terms)


@precisions
def test_the_loss_is_the_papers_and_its_gradient_lightlys(dtype):
    from lightly.loss import NTXentLoss

    method = tiny.build("moco", symmetric=False, groups=1, temperature=0.5).to(dtype)
    queries, keys = tiny.outputs(method.head), tiny.outputs(method.key)
    queue = method.queue.rows.clone()
    loss = method(tiny.batch(method), 0.0)["loss"]
    loss.backward()
    equal(loss, published(queries[0].tolist(), keys[0].tolist(), queue.tolist(), 0.5))

    reference = NTXentLoss(temperature=0.5, memory_bank_size=(8, 16)).double()
    reference.memory_bank.bank = queue.double()
    (theirs,) = leaves(queries)
    other = reference(theirs, keys[0].double())
    other.backward()
    equal(loss, other)
    equal(queries[0].grad, theirs.grad)


@precisions
def test_both_directions_are_averaged(dtype):
    """The authors' notebook adds them up, which is twice this."""
    method = tiny.build("moco", groups=1, temperature=0.5).to(dtype)
    queries, keys, batch = tiny.outputs(method.head), tiny.outputs(method.key), tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    for key, view in zip(keys[:2], reversed(batch.views)):
        equal(key, method.key(view))
    queue = method.queue.rows
    terms = [published(q.tolist(), k.tolist(), queue.tolist(), 0.5) for q, k in zip(queries, keys)]
    equal(loss, sum(terms) / 2)

    theirs = leaves(queries)
    for rows, key in zip(theirs, keys):
        query, own = rows / rows.norm(dim=1, keepdim=True), key.double() / key.double().norm(dim=1, keepdim=True)
        logits = torch.cat([(query * own).sum(1, keepdim=True), query @ queue.double().T], dim=1) / 0.5
        (-logits.log_softmax(1)[:, 0].mean() / 2).backward()
    for query, rows in zip(queries, theirs):
        equal(query.grad, rows.grad)


def test_past_keys_of_the_same_picture_are_no_negatives():
    method = tiny.fill(tiny.build("moco", groups=1, symmetric=False)).double()
    method(tiny.batch(method), 0.0)
    method.after_step(0.0)
    queries, keys, batch = tiny.outputs(method.head), tiny.outputs(method.key), tiny.batch(method, seed=1)
    batch.index = torch.tensor([3, 3, 1, 9])
    loss = method(batch, 0.5)["loss"]
    kept = [method.queue.rows[torch.arange(8) != picture].tolist() for picture in batch.index]
    rows = zip(queries[0].tolist(), keys[0].tolist(), kept)
    equal(loss, sum(published([q], [k], some, 0.1) for q, k, some in rows) / 4)


def test_the_keys_of_a_step_join_the_queue_after_it_once():
    method = tiny.build("moco", queue=16)
    keys = tiny.outputs(method.key)
    before = method.queue.rows.clone()
    batch = tiny.batch(method)
    for part in (slice(0, 2), slice(2, 4)):  # batch norm of two pictures at a time
        method.groups = 1
        method(tiny.rows(batch, part), 0.0)
    assert torch.equal(method.queue.rows, before), "a step's own keys are no negatives"
    method.after_step(0.0)
    assert method.queue.place == 8, "both views of four pictures"
    new = torch.nn.functional.normalize(torch.cat(keys), dim=1)
    torch.testing.assert_close(method.queue.rows[:8], new)
    assert torch.equal(method.queue.rows[8:], before[8:])


def test_keys_come_from_the_copy_as_it_follows_the_newest_weights():
    method = tiny.build("moco", momentum=0.75, groups=1)
    source = [p for module in (method.encoder, method.head) for p in module.parameters()]
    expected = [p.detach().clone() for p in source]
    for step in range(3):
        for mine, theirs in zip(method.key.copy.parameters(), expected):
            torch.testing.assert_close(mine, theirs)
        with torch.no_grad():
            for p in source:
                p.add_(1.0)
        method.after_step(step / 3)
        expected = [0.75 * old + 0.25 * new.detach() for old, new in zip(expected, source)]


def test_batch_norm_sees_queries_and_keys_in_different_groups():
    method = tiny.build("moco", tiny.RESNET, symmetric=False, groups=2)
    queries, keys = [], []
    method.encoder.register_forward_pre_hook(lambda _, inputs: queries.append(inputs[0]))
    method.key.copy.register_forward_pre_hook(lambda _, inputs: keys.append(inputs[0]))
    batch = tiny.batch(method, samples=6)
    method(batch, 0.0)
    assert [len(x) for x in (*queries, *keys)] == [3, 3, 3, 3]
    assert torch.equal(torch.cat(queries), batch.views[0])
    order = batch.key.argsort()
    assert torch.equal(torch.cat(keys), batch.views[1][order]), "dealt by their keys"


def test_the_versions_differ_in_head_and_views():
    one, two = tiny.build("moco", version=1), tiny.build("moco")
    assert [type(layer).__name__ for layer in one.head] == ["Linear"]
    assert [type(layer).__name__ for layer in two.head] == ["Linear", "ReLU", "Linear"]
    assert all(layer.bias is not None for layer in two.head if hasattr(layer, "bias"))
    assert (one.views, two.views) == (MOCO_V1, MOCO_V2)


def test_unlike_lightlys_version_1_jitters_always():
    """The published code jitters the colours of every view in version 1, and of four in five in version 2."""
    from lightly.transforms import MoCoV1Transform

    assert (MOCO_V1[0].jitter_p, MOCO_V2[0].jitter_p) == (1.0, 0.8)
    assert inspect.signature(MoCoV1Transform).parameters["cj_prob"].default == 0.8


@pytest.mark.parametrize(
    ("settings", "batch", "message"),
    [
        ({"queue": 10}, 4, "queue=10.*multiple of the batch.*nearest: 8"),
        ({"queue": 2}, 4, "nearest: 4"),
        ({"groups": 3}, 8, "groups=3.*nearest: 2"),
        ({"groups": 4}, 4, "nearest: 2"),
        ({"queue": 8}, 1, "batch=1|2 or more"),
    ],
)
def test_batches_that_do_not_fit_are_refused(settings, batch, message):
    with pytest.raises(InputError, match=message):
        tiny.build("moco", **settings).check(batch)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"momentum": 1.1}, {"queue": 0}, {"groups": 0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match="moco"):
        tiny.build("moco", **settings)


def test_the_papers_optimisation():
    from firstlight.methods.moco import MoCo

    chosen = MoCo.optimisation
    assert (chosen.optimizer, chosen.lr, chosen.weight_decay, chosen.warmup) == ("sgd", 0.03, 5e-4, 0.0)
    assert not MoCo.synchronised


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("moco", tiny.RESNET)).double())
    assert losses == pytest.approx([0.850230, 3.203669, 2.318473], abs=1e-4)
