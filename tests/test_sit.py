"""SiT: the loss against the paper's formula, what is corrupted and with what, and that views stay as they are."""

import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.methods.sit import SiT
from firstlight.parts.corruption import Corruption, grouped_mask
from parity import equal, equal_each, leaves, precisions, slopes
from plain import contrast


def parts(method: SiT, batch) -> tuple[torch.Tensor, ...]:
    seen, hidden = method.corrupt(batch.views, batch.key)
    features, tokens = method.encoder.pooled_and_tokens(seen)
    keys = method.teacher(torch.cat(batch.views))
    return seen, hidden, method.head(features), method.painter(tokens[:, 1:]), keys


@precisions
def test_the_loss_is_the_papers(dtype):
    method = tiny.build("sit").to(dtype)
    batch = tiny.batch(method)
    _, hidden, students, painted, keys = parts(method, batch)
    students, keys = (rows.detach().double().chunk(2) for rows in (students, keys))
    wanted = 0.4 * (
        contrast(students[0].tolist(), keys[1].tolist(), 0.2) + contrast(students[1].tolist(), keys[0].tolist(), 0.2)
    )
    errors = [
        abs(painted[n, c, y, x].item() - torch.cat(batch.views)[n, c, y, x].item())
        for n, _, y, x in hidden.nonzero().tolist()
        for c in range(3)
    ]
    wanted += 5.0 * sum(errors) / (len(errors) + 3e-5)  # so little is added to the number of pixels, as in SimMIM
    equal(method(batch, 0.0)["loss"], wanted)


def in_torch(batch, hidden: torch.Tensor, students: torch.Tensor, painted: torch.Tensor, keys: torch.Tensor):
    """The same loss with torch, for its gradient."""
    (a, b), (first, second) = (torch.nn.functional.normalize(rows, dim=1).chunk(2) for rows in (students, keys))
    own = torch.arange(len(a))
    loss = sum(0.4 * torch.nn.functional.cross_entropy(q @ k.T / 0.2, own) for q, k in ((a, second), (b, first)))
    where = hidden.expand_as(painted)
    return loss + 5.0 * (painted - torch.cat(batch.views)).abs()[where].sum() / (int(where.sum()) + 3e-5)


@precisions
def test_the_gradient_at_both_heads_is_that_of_the_same_loss_written_with_torch(dtype):
    method = tiny.build("sit").to(dtype)
    batch = tiny.batch(method)
    students, painted, keys = (tiny.outputs(part) for part in (method.head, method.painter, method.teacher))
    method(batch, 0.0)["loss"].backward()
    theirs = leaves([students[0], painted[0]])
    in_torch(batch, method.corrupt(batch.views, batch.key)[1], *theirs, keys[0].double()).backward()
    for ours, other in zip((students[0], painted[0]), theirs):
        equal(ours.grad, other.grad)


def test_the_gradient_reaches_every_weight():
    method = tiny.build("sit").double()
    batch = tiny.batch(method)
    _, *seen = parts(method, batch)
    equal_each(slopes(method(batch, 0.0)["loss"], method), slopes(in_torch(batch, *seen), method))


def test_views_stay_as_they_are_and_the_teacher_sees_them():
    method = tiny.build("sit")
    batch = tiny.batch(method)
    before, seen = [view.clone() for view in batch.views], []
    method.teacher.copy.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    method(batch, 0.0)
    assert all(torch.equal(view, old) for view, old in zip(batch.views, before))
    assert torch.equal(seen[0], torch.cat(before))


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_what_takes_the_place_of_patches(noise):
    encoder = tiny.build("sit").encoder
    batch = tiny.batch(tiny.build("sit"), samples=5)
    corrupt = Corruption(encoder, "sit", drop=0.5, noise=noise, swapped=0.6)
    spoilt, hidden = corrupt(batch.views, batch.key)
    clean = torch.cat(batch.views)
    assert torch.equal(torch.where(hidden, clean, spoilt), clean), "what is not hidden is as it was"
    assert not torch.equal(hidden[:5], hidden[5:]), "each view has its own"

    cut = lambda x: x.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)  # noqa: E731
    kinds = {"zero": 0, "other": 0, "noise": 0}
    for n, (patches, holes) in enumerate(zip(cut(spoilt), cut(hidden))):
        sources = set()
        for place in range(16):
            assert holes[place].all() or not holes[place].any(), "whole patches"
            if not holes[place].all():
                continue
            alike = [m for m in range(10) if torch.equal(cut(clean)[m, place], patches[place])]
            kinds["zero" if not patches[place].any() else "other" if alike else "noise"] += 1
            sources |= set(alike)
        assert len(sources) <= 1, "one other picture for each view"
        assert all(m // 5 == n // 5 and m != n for m in sources), "of the same view, and not itself"
    assert kinds["other"]
    assert bool(kinds["noise"]) == bool(noise)
    assert bool(kinds["zero"]) == (not noise)


def test_groups_cover_what_was_asked_for_and_little_more():
    key, count = torch.arange(300), torch.full((300,), 98.0)
    masks = grouped_mask(key, 14, count, 1).view(-1, 14, 14)
    covered = masks.sum((1, 2))
    assert (covered >= 98).all()
    assert (covered < 98 + 16).all(), "the last group has at most 4 x 4 patches"
    assert (masks.float().mean(0) > 0.1).all(), "no patch is out of reach"
    assert not torch.equal(masks, grouped_mask(key, 14, count, 2).view(-1, 14, 14))
    assert not grouped_mask(key, 14, torch.zeros(300), 1).any()
    golden = grouped_mask(torch.tensor([7]), 4, torch.tensor([8.0]), 1)[0]
    assert golden.nonzero()[:, 0].tolist() == [0, 1, 2, 3, 4, 6, 7, 13]


def test_a_sample_does_not_depend_on_its_neighbours_but_for_the_partner():
    method = tiny.build("sit", swapped=0.0)
    batch = tiny.batch(method, samples=4)
    both, alone = (method.corrupt(b.views, b.key) for b in (batch, tiny.rows(batch, slice(1, 2))))
    assert torch.equal(both[0][[1, 5]], alone[0])
    assert torch.equal(both[1][[1, 5]], alone[1])


def test_it_draws_what_it_made():
    method = tiny.build("sit").eval()
    batch = tiny.batch(method)
    with torch.no_grad():
        shown = method.reconstruct(batch)
    assert list(shown) == ["picture", "masked", "predicted"]
    assert all(pictures.shape == (4, 3, 32, 32) for pictures in shown.values())
    assert torch.equal(shown["picture"], batch.views[0])
    seen, _ = method.corrupt(batch.views, batch.key)
    assert torch.equal(shown["masked"], seen[:4]), "what it saw in training too"


def test_it_learns_to_repair():
    method = tiny.build("sit")
    optimizer, batch = torch.optim.AdamW(method.parameters(), lr=3e-3), tiny.batch(method, samples=8)
    ramp = torch.linspace(-1, 1, 32)
    batch.views = [(0.1 * view + ramp).clamp(-1, 1) for view in batch.views]
    repairs = []
    for step in range(40):
        out = method(batch, step / 40)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        method.after_step(step / 40)
        repairs.append(out["repair"].item())
    assert repairs[-1] < 0.5 * repairs[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"drop": 0.0}, r"allowed are above 0 to 0\.9"),
        ({"drop": 0.95}, r"allowed are above 0 to 0\.9"),
        ({"noise": 1.5}, "0 to 1.*nearest: 1"),
        ({"swapped": -0.1}, "0 to 1.*nearest: 0"),
    ],
)
def test_impossible_shares_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        tiny.build("sit", **settings)


def test_other_impossible_settings_are_refused():
    with pytest.raises(InputError, match=r"0\.001 to 100.*nearest: 0\.001"):
        tiny.build("sit", temperature=0.0)
    with pytest.raises(InputError, match=r"4x4 patches or more.*vit_tiny"):
        tiny.build("sit", "vit_tiny_patch16_224(patch_size=16, embed_dim=48, depth=1, num_heads=2)")


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("sit")).double())
    assert losses == pytest.approx([4.090894, 4.105934, 4.193962], abs=1e-4)
