"""PIRL: both terms against the published loss, what the memory holds, the tiles and their head."""

import pytest
import torch
from torch import nn

import tiny
from firstlight.errors import InputError
from firstlight.parts.tiles import cut, shuffled
from firstlight.views.random import Salt, uniforms
from parity import differ, equal, leaves, precisions
from test_instance import contrast, contrast_of, softmax, softmax_of


def heads(method) -> tuple[list, list]:
    return tiny.outputs(method.head), tiny.outputs(method.join)


@pytest.mark.parametrize("jigsaw", [0.5, 0.2])
@precisions
def test_the_loss_and_its_gradient_with_the_whole_memory(dtype, jigsaw):
    method = tiny.build("pirl", tiny.RESNET, jigsaw=jigsaw).to(dtype)
    pictures, puzzles = heads(method)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    bank, index = method.bank.rows, batch.index
    own, other = (softmax(rows[0].tolist(), bank.tolist(), index.tolist(), 0.07) for rows in (pictures, puzzles))
    equal(loss, (1 - jigsaw) * own + jigsaw * other)
    theirs = leaves([pictures[0], puzzles[0]])
    for ours, rows, weight in zip((pictures[0], puzzles[0]), theirs, (1 - jigsaw, jigsaw)):
        (weight * softmax_of(rows, bank, index, 0.07)).backward()
        equal(ours.grad, rows.grad)


@precisions
def test_the_loss_with_negatives_and_its_gradient_are_the_published_ones(dtype):
    method = tiny.build("pirl", tiny.RESNET, negatives=5, pictures=20).to(dtype)
    pictures, puzzles = heads(method)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    drawn = (uniforms(batch.key, 5, Salt.NEGATIVES).double() * 20).long()
    bank, index, z = method.bank.rows, batch.index, method.find.normaliser.item()
    given = bank.tolist(), index.tolist(), drawn.tolist(), 0.07, z
    equal(loss, sum(contrast(rows[0].tolist(), *given) for rows in (pictures, puzzles)) / 2)
    theirs = leaves([pictures[0], puzzles[0]])
    for ours, rows in zip((pictures[0], puzzles[0]), theirs):
        (contrast_of(rows, bank, index, drawn, 0.07, z) / 2).backward()
        equal(ours.grad, rows.grad)


def test_stable_pretrainings_contrast_is_another():
    """Its queue takes the picture in before the negatives are taken out of it; the paper's memory holds the old entry.

    So the very row that asks is among the answers.
    """
    method = tiny.build("pirl", tiny.RESNET).double()
    pictures, puzzles = heads(method)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    queue = torch.cat([nn.functional.normalize(pictures[0], dim=1), method.bank.rows])
    theirs = [
        softmax(rows[0].tolist(), queue.tolist(), [4 + i for i in batch.index], 0.07) for rows in (pictures, puzzles)
    ]
    differ(loss, sum(theirs) / 2)


def test_the_positive_is_the_memory_and_the_memory_is_of_pictures():
    method = tiny.build("pirl", tiny.RESNET)
    pictures, _ = heads(method)
    before = method.bank.rows.clone()
    batch = tiny.batch(method)
    for part in (slice(0, 2), slice(2, 4)):
        method(tiny.rows(batch, part), 0.0)
        assert torch.equal(method.bank.rows, before), "not before the step"
    method.after_step(0.0)
    seen = nn.functional.normalize(torch.cat(pictures), dim=1)
    torch.testing.assert_close(method.bank.rows[:4], nn.functional.normalize((before[:4] + seen) / 2, dim=1))


def test_nine_tiles_go_through_the_encoder_and_meet_in_random_order():
    method = tiny.build("pirl", tiny.RESNET).eval()
    sizes, _ = [], tiny.outputs(method.join)
    method.encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape)))
    joined = []
    method.join.register_forward_pre_hook(lambda _, inputs: joined.append(inputs[0]))
    batch = tiny.batch(method)
    method(batch, 0.0)
    tiles = cut(batch.views[1], batch.key)
    assert sizes == [(4, 3, 32, 32), (36, *tiles.shape[2:])]
    pieces = method.tile_head(method.encoder(tiles.flatten(0, 1))).view(4, 9, 16)
    torch.testing.assert_close(joined[0], shuffled(pieces, batch.key).flatten(1))
    assert not torch.equal(joined[0], pieces.flatten(1))


def test_the_heads_are_the_published_ones():
    method = tiny.build("pirl")
    assert (method.head.out_features, method.tile_head.out_features) == (16, 16)
    assert (method.join.in_features, method.join.out_features) == (9 * 16, 16)


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="pirl"):
        tiny.build("pirl", jigsaw=1.5)
    with pytest.raises(InputError, match=r"tiles.*choose a resnet"):
        tiny.build("pirl", "mixer_s32_224")
    with pytest.raises(InputError, match=r"pirl\(tile=400\).*32 px.*nearest: tile=128"):
        tiny.build("pirl", tile=400)
    with pytest.raises(InputError, match="pictures=0"):
        tiny.build("pirl", pictures=0)


def test_the_papers_optimisation():
    from firstlight.methods.pirl import PIRL

    chosen = PIRL.optimisation
    assert (chosen.optimizer, chosen.lr, chosen.weight_decay, chosen.lr_end) == ("sgd", 0.03, 1e-4, 0.001)
    assert [view.scale for view in PIRL.views] == [(0.08, 1.0), (0.6, 1.0)]


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("pirl", tiny.RESNET)).double())
    assert losses == pytest.approx([4.959132, 4.754414, 2.674301], abs=1e-4)
