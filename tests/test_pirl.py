"""PIRL: both terms against the published loss, what the memory holds, the tiles and their head."""

import pytest
import torch
from torch import nn

import tiny
from firstlight.errors import InputError
from firstlight.parts.tiles import cut, shuffled
from firstlight.views.random import Salt, uniforms
from test_instance import contrast, softmax


def heads(method) -> tuple[list, list]:
    return tiny.outputs(method.head), tiny.outputs(method.join)


@pytest.mark.parametrize("jigsaw", [0.5, 0.2])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_the_loss_and_its_gradient_with_the_whole_memory(dtype, atol, jigsaw):
    method = tiny.build("pirl", tiny.RESNET, jigsaw=jigsaw).to(dtype)
    pictures, puzzles = heads(method)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    bank, index = method.bank.rows, batch.index
    own, other = (softmax(rows[0].tolist(), bank.tolist(), index.tolist(), 0.07) for rows in (pictures, puzzles))
    assert loss.item() == pytest.approx((1 - jigsaw) * own + jigsaw * other, abs=10 * atol)
    for rows, weight in ((pictures[0], 1 - jigsaw), (puzzles[0], jigsaw)):
        theirs = rows.detach().clone().requires_grad_()
        log_p = (nn.functional.normalize(theirs) @ bank.T / 0.07).log_softmax(1)
        (-weight * log_p[torch.arange(4), index].mean()).backward()
        torch.testing.assert_close(rows.grad, theirs.grad, rtol=0, atol=10 * atol)


def test_the_loss_with_negatives_is_the_published_one():
    method = tiny.build("pirl", tiny.RESNET, negatives=5, pictures=20).double()
    pictures, puzzles = heads(method)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    drawn = (uniforms(batch.key, 5, Salt.NEGATIVES).double() * 20).long().tolist()
    bank, index, z = method.bank.rows.tolist(), batch.index.tolist(), method.find.normaliser.item()
    terms = [contrast(rows[0].tolist(), bank, index, drawn, 0.07, z) for rows in (pictures, puzzles)]
    assert loss.item() == pytest.approx(sum(terms) / 2, rel=1e-9)


def test_the_positive_is_the_memory_and_the_memory_is_of_pictures():
    """stable-pretraining contrasts with a queue that already holds the picture itself; the paper with the old entry."""
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
