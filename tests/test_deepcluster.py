"""DeepCluster-v2: the loss against the paper, the first memory, the epochs, and that it resumes to the bit."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from firstlight.data.formula import FormulaPictures
from firstlight.data.held import HeldPictures
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.events import Note
from firstlight.formulas.fractal import Fractal
from firstlight.methods.deepcluster import DeepCluster
from firstlight.runs import Run
from firstlight.train import Setup, train
from firstlight.views.batches import Batches
from parity import equal, leaves, precisions


def published(rows: list, centroids: list, clusters: list, index: list[int], temperature: float) -> float:
    """Cross-entropy of every crop with its picture's cluster, in plain Python: the mean over heads, crops, pictures."""
    terms = []
    for prototypes, of in zip(centroids, clusters):
        for place, row in enumerate(rows):
            logits = [sum(x * y for x, y in zip(row, prototype)) / temperature for prototype in prototypes]
            own = of[index[place % len(index)]]
            terms.append(-logits[own] + math.log(sum(map(math.exp, logits))))
    return sum(terms) / len(terms)


@precisions
def test_the_loss_and_its_gradient_are_the_papers(dtype):
    method = tiny.build("deepcluster", tiny.RESNET).to(dtype)
    outputs = tiny.outputs(method.projector)
    batch = tiny.batch(method, samples=5)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    (theirs,) = leaves(outputs)
    rows, clusters = nn.functional.normalize(theirs, dim=1), method.clusters
    given = rows.tolist(), clusters.centroids.tolist(), clusters.of.tolist(), batch.index.tolist(), 0.1
    assert len(rows) == 8 * 5
    equal(loss, published(*given))

    terms = []
    for head in range(2):
        log_p = (rows @ clusters.centroids[head].double().T / 0.1).log_softmax(1)
        own = clusters.of[head][batch.index].tile(8)
        terms.append(-log_p[torch.arange(40), own].mean())
    torch.stack(terms).mean().backward()
    equal(outputs[0].grad, theirs.grad)


def test_the_memory_is_the_epochs_embeddings_and_the_prototypes_their_centroids():
    method = tiny.build("deepcluster", tiny.RESNET)
    outputs = tiny.outputs(method.projector)
    for step in range(2):  # 6 pictures, 3 a step
        batch = tiny.batch(method, samples=6, seed=step)
        method(tiny.rows(batch, slice(3 * step, 3 * step + 3)), step / 2)
        method.after_step(step / 2)
    embeddings = [nn.functional.normalize(out, dim=1).unflatten(0, (8, 3)) for out in outputs]
    torch.testing.assert_close(method.clusters.first.rows, torch.cat([e[0] for e in embeddings]).detach())
    torch.testing.assert_close(method.clusters.second.rows, torch.cat([e[1] for e in embeddings]).detach())
    assert method.clusters.epoch == 1
    for head in range(2):
        rows = (method.clusters.first, method.clusters.second)[head].rows
        assert torch.equal((rows @ method.clusters.centroids[head].T).argmax(1), method.clusters.of[head])


def test_nothing_trains_the_prototypes():
    method = tiny.build("deepcluster", pictures=100)
    before = method.clusters.centroids.clone()
    tiny.three_steps(method)
    assert torch.equal(method.clusters.centroids, before), "before an epoch has ended"
    assert not [name for name, _ in method.named_parameters() if "clusters" in name]


def pictures(count: int = 10) -> HeldPictures:
    draw = np.random.default_rng(0)
    return HeldPictures(draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), np.arange(count) % 2, ("a", "b"))


def batches(method: DeepCluster, batch: int = 4, parts: int = 1) -> Batches:
    return Batches(pictures(), method.views, size=tiny.SIZE, batch=batch, parts=parts, multiple=8)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_first_memory_is_one_pass_over_all_pictures_in_training_mode(parts):
    method = tiny.build("deepcluster", tiny.RESNET, pictures=10)
    random = method.clusters.first.rows.clone()
    ran = method.encoder.net.bn1.num_batches_tracked.clone()
    events = list(method.prepare(batches(method, parts=parts)))
    assert [type(event) for event in events] == [Note]
    assert not (method.clusters.first.rows == random).all(1).any(), "every picture's vector is new"
    assert method.encoder.net.bn1.num_batches_tracked == ran + 2 * 3 * parts, "two crops, three batches of four"
    assert (int(method.clusters.first.seen), int(method.clusters.epoch)) == (0, 0)
    labels = method.clusters.of[0]
    assert torch.equal((method.clusters.first.rows @ method.clusters.centroids[0].T).argmax(1), labels)
    assert all(p.grad is None for p in method.parameters())


def fresh() -> DeepCluster:
    torch.manual_seed(0)
    return DeepCluster(Encoder(tiny.RESNET, size=32), pictures=10, hidden=16, dim=8, prototypes=3, heads=2)


def setup(**changes) -> Setup:
    given = {"steps": 7, "batch": 4, "precision": "fp32", "optimisation": DeepCluster.optimisation, "save_every": 2}
    return Setup(**(given | changes))


def test_it_resumes_to_the_bit_across_epochs(tmp_path):
    whole, broken = fresh(), fresh()
    for _ in train(whole, batches(whole), setup(), Run(tmp_path / "whole")):
        pass
    training = train(broken, batches(broken), setup(), Run(tmp_path / "broken"))
    for event in training:
        if getattr(event, "step", 0) == 5:  # in the middle of the second epoch
            break
    training.close()
    resumed = fresh()
    for _ in train(resumed, batches(resumed), setup(), Run(tmp_path / "broken")):
        pass
    assert int(whole.clusters.epoch) == 2
    ours, theirs = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_formula_pictures_do_and_their_labels_do_not_matter():
    formula = FormulaPictures(Fractal(points=500), categories=2, instances=5, size=32)
    list(formula.prepare())
    method = fresh()
    views = Batches(formula, method.views, size=32, batch=5)
    list(method.prepare(views))
    batch = views.at(0)
    loss = method(batch, 0.0)["loss"]
    batch.label = batch.label - 100
    assert method(batch, 0.0)["loss"] == loss


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match=r"prototypes=100.*2 to 6 \(the pictures\); nearest: prototypes=6"):
        tiny.build("deepcluster", prototypes=100)
    with pytest.raises(InputError, match="temperature=0"):
        tiny.build("deepcluster", temperature=0.0)
    with pytest.raises(InputError, match="two sizes"):
        tiny.build("deepcluster", "mixer_s32_224")
    with pytest.raises(InputError, match=r"pictures=6.*has 10"):
        list(tiny.build("deepcluster").prepare(batches(fresh())))


def test_the_papers_optimisation_is_swavs():
    from firstlight.methods.swav import SwAV

    assert DeepCluster.optimisation == SwAV.optimisation
    assert DeepCluster.views == SwAV.views


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("deepcluster", tiny.RESNET)).double())
    assert losses == pytest.approx([1.949336, 2.286875, 1.257636], abs=1e-4)
