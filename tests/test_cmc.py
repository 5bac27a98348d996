"""CMC: both directions against the paper's formulas, its two memories, and that it tells pictures apart."""

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from firstlight.data.held import HeldPictures
from firstlight.errors import InputError
from firstlight.events import drain
from firstlight.methods.cmc import CMC
from firstlight.views.batches import Batches
from firstlight.views.random import Salt, uniforms
from parity import equal, leaves, precisions
from test_instance import contrast, contrast_of, softmax, softmax_of


@precisions
def test_the_loss_and_its_gradient_with_whole_memories(dtype):
    method = tiny.build("cmc", tiny.RESNET).to(dtype)
    light, colour = tiny.outputs(method.light_head), tiny.outputs(method.colour_head)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    lights, colours, index = method.lights.rows, method.colours.rows, batch.index
    expected = [
        softmax(rows[0].tolist(), bank.tolist(), index.tolist(), 0.07)
        for rows, bank in ((light, colours), (colour, lights))
    ]
    equal(loss, sum(expected))
    for rows, bank in ((light, colours), (colour, lights)):
        (theirs,) = leaves(rows)
        softmax_of(theirs, bank, index, 0.07).backward()
        equal(rows[0].grad, theirs.grad)


@precisions
def test_the_loss_with_negatives_and_its_gradient_are_the_published_ones(dtype):
    method = tiny.build("cmc", tiny.RESNET, negatives=5, pictures=20).to(dtype)
    light, colour = tiny.outputs(method.light_head), tiny.outputs(method.colour_head)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    drawn, terms = (uniforms(batch.key, 5, Salt.NEGATIVES).double() * 20).long(), []
    for rows, bank, find in ((light, method.colours, method.find_colour), (colour, method.lights, method.find_light)):
        z, (theirs,) = find.normaliser.item(), leaves(rows)
        terms.append(contrast(rows[0].tolist(), bank.rows.tolist(), batch.index.tolist(), drawn.tolist(), 0.07, z))
        contrast_of(theirs, bank.rows, batch.index, drawn, 0.07, z).backward()
        equal(rows[0].grad, theirs.grad)
    equal(loss, sum(terms))
    assert method.find_colour.normaliser != method.find_light.normaliser, "one for each direction, as published"


def test_each_memory_moves_half_way_to_its_own_view():
    method = tiny.build("cmc", tiny.RESNET)
    heads = tiny.outputs(method.light_head), tiny.outputs(method.colour_head)
    banks = method.lights, method.colours
    before = [bank.rows.clone() for bank in banks]
    batch = tiny.batch(method)
    for part in (slice(0, 2), slice(2, 4)):
        method(tiny.rows(batch, part), 0.0)
    assert all(torch.equal(bank.rows, old) for bank, old in zip(banks, before)), "not in a micro-batch"
    method.after_step(0.0)
    for bank, old, rows in zip(banks, before, heads):
        seen = nn.functional.normalize(torch.cat(rows), dim=1)
        torch.testing.assert_close(bank.rows[:4], nn.functional.normalize((old[:4] + seen) / 2, dim=1))
        assert torch.equal(bank.rows[4:], old[4:])


def test_the_memories_begin_with_a_look_at_all_pictures():
    method = tiny.build("cmc", tiny.RESNET, pictures=6).eval()
    pixels = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), np.uint8)
    batches = Batches(HeldPictures(pixels, np.zeros(6, int)), method.views, size=32, batch=3)
    drain(method.prepare(batches))
    with torch.no_grad():
        for batch in batches.once():
            light, colour = method._rows(method.encoder(batch.views[0]))
            torch.testing.assert_close(method.lights.rows[batch.index], light)
            torch.testing.assert_close(method.colours.rows[batch.index], colour)


def test_it_tells_pictures_apart():
    method = tiny.build("cmc", tiny.RESNET, pictures=8, temperature=0.2)
    random = np.random.default_rng(2)
    pixels = np.broadcast_to(random.integers(0, 256, (8, 1, 1, 3)), (8, 32, 32, 3)).astype(np.uint8).copy()
    batches = Batches(HeldPictures(pixels, np.zeros(8, int)), method.views, size=32, batch=8)
    drain(method.prepare(batches))
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    losses = []
    for step in range(30):
        loss = method(batches.at(step), step / 30)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(step / 30)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    with torch.no_grad():
        light, colour = method.eval()._rows(method.encoder(batches.at(99).views[0]))
    assert ((light @ colour.T).argmax(1) == torch.arange(8)).float().mean() > 0.5, "chance is one eighth"


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.0}, {"momentum": 1.0}, {"negatives": -1}, {"pictures": 0}, {"dim": 0}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        tiny.build("cmc", **settings)


def test_the_papers_optimisation():
    chosen = CMC.optimisation
    assert (chosen.optimizer, chosen.lr, chosen.weight_decay, chosen.momentum) == ("sgd", 0.06, 1e-4, 0.9)
    assert CMC.views[0].scale == (0.2, 1.0)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("cmc", tiny.RESNET)).double())
    assert losses == pytest.approx([15.783982, 9.251016, 4.133438], abs=1e-4)
