"""Jigsaw: the set of orders and its file, that a puzzle can be put back, both losses, and the pictures of it."""

import itertools
import json
import time

import numpy as np
import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.parts import permutations as module
from firstlight.parts.permutations import chosen, permutations
from firstlight.parts.puzzles import Puzzles
from firstlight.parts.tiles import cut, laid
from firstlight.views import Batch
from firstlight.views.batches import Batches
from parity import equal, precisions
from plain import cross_entropy
from test_rotation import ramps
from test_tiles import KEY, ramp


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    permutations.cache_clear()
    yield tmp_path / "firstlight"
    permutations.cache_clear()


def naive(count: int, tiles: int, rule: str, first: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The published search, every distance worked out anew: the farthest of what is left joins, the first of equals."""
    left = list(itertools.permutations(range(tiles)))
    found = [first]
    left.remove(first)
    while len(found) < count:
        distances = [[sum(a != b for a, b in zip(order, other)) for other in found] for order in left]
        scores = [min(row) if rule == "max_min" else sum(row) for row in distances]
        found.append(left.pop(scores.index(max(scores))))
    return found


@pytest.mark.parametrize("rule", ["max_min", "max_avg"])
@pytest.mark.parametrize(("tiles", "count"), [(4, 24), (5, 50)])
def test_the_greedy_search_equals_the_naive_one(rule, tiles, count):
    for seed in (0, 1):
        found = [tuple(row) for row in chosen(count, tiles, rule=rule, seed=seed).tolist()]
        assert found == naive(count, tiles, rule, found[0])
    assert len(set(found)) == count
    assert chosen(10, tiles, rule=rule, seed=1).tolist() == [list(row) for row in found[:10]], "fewer come first"


@pytest.mark.parametrize(
    ("rule", "hundred", "thousand"), [("max_min", (8.01, 6), (7.91, 5)), ("max_avg", (8.08, 2), (8.01, 2))]
)
def test_a_thousand_orders_of_nine_tiles_take_seconds_and_are_as_far_apart_as_published(rule, hundred, thousand):
    begun = time.process_time()
    orders = chosen(1000, 9, rule=rule, seed=0)
    assert time.process_time() - begun < 3
    for count, apart in ((100, hundred), (1000, thousand)):
        some = orders[:count]
        distance = (some[:, None] != some[None]).sum(-1, dtype=np.uint8)[~np.eye(count, dtype=bool)]
        assert (round(distance.mean(), 2), distance.min()) == apart
    assert np.array_equal(np.sort(orders), np.tile(np.arange(9), (1000, 1)))


def test_the_seed_decides_the_set(cache):
    one, other = permutations(20, 5), permutations(20, 5, seed=1)
    assert np.array_equal(one, chosen(20, 5, rule="max_min", seed=0))
    assert not np.array_equal(one[0], other[0])
    assert one.dtype == np.int64
    assert not one.flags.writeable
    assert len(list(cache.iterdir())) == 2


def test_a_set_is_made_once_and_read_afterwards(cache, monkeypatch):
    made = permutations(20, 5)
    permutations.cache_clear()
    monkeypatch.setattr(module, "chosen", lambda *given, **how: pytest.fail("it was there already"))
    assert np.array_equal(permutations(20, 5), made)
    assert [path.name for path in cache.iterdir()] == ["permutations-5-20-max_min-0.json"], "nothing is left beside it"


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("0", "1"),
        lambda text: "[]",
        lambda text: "",
        lambda text: "\x00\xff",
        lambda text: json.dumps({"sha256": module._digest(["00000"] * 20), "permutations": ["00000"] * 20}),
        lambda text: json.dumps({"sha256": module._digest(["01234"]), "permutations": ["01234"]}),
        lambda text: json.dumps({"sha256": "", "permutations": 5}),
    ],
)
def test_a_damaged_file_is_made_anew(cache, harm):
    made = permutations(20, 5)
    (path,) = cache.iterdir()
    whole = path.read_text()
    path.write_text(harm(whole))
    permutations.cache_clear()
    assert np.array_equal(permutations(20, 5), made)
    assert path.read_text() == whole


def test_no_cache_folder_is_needed(tmp_path, monkeypatch, cache):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    expected = chosen(20, 5, rule="max_min", seed=0)
    assert np.array_equal(permutations(20, 5), expected)
    permutations.cache_clear()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(module.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert np.array_equal(permutations(20, 5), expected)


@pytest.mark.parametrize(("count", "tiles"), [(25, 4), (1, 4), (5, 10)])
def test_sets_that_there_are_not_are_refused(count, tiles):
    with pytest.raises(InputError, match=rf"permutations={count} of {tiles} tiles: allowed are 2 to"):
        permutations(count, tiles)
    with pytest.raises(InputError, match="'max_min' and 'max_avg'"):
        permutations(20, 5, rule="max")


def test_a_puzzle_can_be_put_back():
    puzzles = Puzzles(20)
    tiles = cut(ramp(400, 48), KEY)
    number = puzzles(KEY)
    assert number.shape == (400, 1)
    shown, order = puzzles.arranged(tiles, number)[:, 0], puzzles.orders[number[:, 0]]
    samples = torch.arange(400)[:, None]
    assert torch.equal(shown[samples, order.argsort(1)], tiles), "the inverse permutation"
    corner = shown[:, :, :2, 0, 0].div(16, rounding_mode="floor").long()
    assert torch.equal(corner[..., 0] * 3 + corner[..., 1], order), "the tile order[i] stands at place i"
    place = torch.arange(9).expand(400, 9)
    assert torch.equal(laid(shown, order, 48), laid(tiles, place, 48))
    assert len(number.unique()) == 20
    assert torch.equal(puzzles(KEY[3:5]), number[3:5])


@pytest.mark.parametrize("count", [2, 7, 20])
def test_a_step_asks_for_orders_that_differ(count):
    puzzles = Puzzles(20)
    number = puzzles(KEY, count)
    assert number.shape == (400, count)
    assert all(len(set(row)) == count for row in number.tolist())
    assert (torch.bincount(number.flatten(), minlength=20) / 400 - count / 20).abs().max() < 0.1, "all equally often"
    rows = torch.randn(400, 9, 5)
    out = puzzles.arranged(rows, number)
    for sample, nth in ((0, 0), (7, 1), (399, count - 1)):
        assert torch.equal(out[sample, nth], rows[sample, puzzles.orders[number[sample, nth]]])


def test_there_are_no_more_orders_to_ask_for_than_there_are():
    assert Puzzles(4)(KEY, 8).sort(1).values.tolist() == [[0, 1, 2, 3]] * 400
    method = tiny.build("jigsaw", tiny.RESNET, permutations=4, puzzles=8)
    heads, batch = tiny.outputs(method.head), tiny.batch(method)
    method(batch, 0.0)
    assert heads[0].shape == (16, 4)


def test_a_solution_lays_no_two_tiles_at_one_place():
    puzzles = Puzzles(20)
    orders = puzzles.orders[[3, 7]]
    sure = 5.0 * torch.nn.functional.one_hot(orders, 9).float()
    assert torch.equal(puzzles.solution(sure.flatten(0, 1), simple=True), orders)
    sure[0, 0] = sure[0, 1] + torch.nn.functional.one_hot(orders[0, 0], 9)  # two tiles want the same place
    assert torch.equal(puzzles.solution(sure.flatten(0, 1), simple=True), orders)
    assert torch.equal(puzzles.solution(torch.eye(20)[[3, 7]]), orders)


@pytest.mark.parametrize(("simple", "puzzles", "layers"), [(False, 1, 2), (False, 3, 1), (True, 3, 1)])
@precisions
def test_the_loss_and_its_gradient_are_those_of_the_formula(dtype, simple, puzzles, layers):
    method = tiny.build("jigsaw", tiny.RESNET, simple=simple, puzzles=puzzles, layers=layers).to(dtype)
    logits = tiny.outputs(method.head)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    number = method.puzzles(batch.key, 1 if simple else puzzles)
    labels = (method.puzzles.orders[number] if simple else number).flatten().tolist()
    rows = logits[0].detach().double().tolist()
    assert [len(rows), len(rows[0])] == ([36, 9] if simple else [4 * puzzles, 100])
    total, gradients = cross_entropy(rows, labels)
    equal(loss, total)
    equal(logits[0].grad, gradients)


def test_each_tile_is_standardised_by_itself():
    given = []
    for standardise in (True, False):
        method = tiny.build("jigsaw", tiny.RESNET, standardise=standardise).eval()
        method.encoder.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        batch = tiny.batch(method)
        method(batch, 0.0)
    assert torch.equal(given[1], cut(batch.views[0], batch.key).flatten(0, 1))
    assert given[0].mean((2, 3)).abs().max() < 1e-5
    assert (given[0].var((2, 3)) - 1).abs().max() < 1e-4
    batch.views[0] = batch.views[0] * 0 + 0.7
    flat = tiny.build("jigsaw", tiny.RESNET)(batch, 0.0)
    assert flat["loss"].isfinite(), "a tile of one colour"


def test_tiles_meet_in_their_order():
    """Sharing the network alone does not tell an order: the same tiles in another one give other logits."""
    method = tiny.build("jigsaw", tiny.RESNET).eval()
    batch = tiny.batch(method)
    tiles, number = cut(batch.views[0], batch.key), torch.tensor([[3, 90]] * 4)
    logits, features = method.predict(tiles, number)
    assert features.shape == (36, method.encoder.width)
    assert not torch.allclose(logits[0::2], logits[1::2])
    for nth in range(2):  # as if the shuffled tiles went through the network, one puzzle after the other
        shuffled = tiles[:, method.puzzles.orders[number[0, nth]]]
        given = shuffled.flatten(3)
        given = ((given - given.mean(3, keepdim=True)) / (given.var(3, keepdim=True) + 1e-6).sqrt()).view_as(tiles)
        joined = method.narrow(method.encoder(given.flatten(0, 1))).view(4, -1)
        torch.testing.assert_close(method.head(joined), logits[nth::2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("simple", [False, True])
def test_reconstruction_lays_the_puzzle_as_the_method_says(simple):
    method = tiny.build("jigsaw", tiny.RESNET, simple=simple).eval()
    batch = tiny.batch(method)
    with torch.no_grad():
        out = method.reconstruct(batch)
        number = method.puzzles(batch.key)
        tiles = method.puzzles.arranged(cut(batch.views[0], batch.key), number)[:, 0]
        method.predict = lambda tiles, number: (answer, tiles)
        number = number[:, 0]
        right = method.puzzles.orders[number]
        answer = torch.nn.functional.one_hot(right, 9).flatten(0, 1) if simple else torch.eye(100)[number]
        answer = answer.double()
        solved = method.reconstruct(batch)
    assert list(out) == ["picture", "puzzle", "as solved"]
    assert all(value.shape == batch.views[0].shape for value in out.values())
    place, side = torch.arange(9).expand(4, 9), batch.views[0].shape[-1]
    assert torch.equal(out["puzzle"], laid(tiles, place, side))
    assert torch.equal(solved["as solved"], laid(cut(batch.views[0], batch.key), place, side))
    assert not torch.equal(solved["puzzle"], solved["as solved"])


@pytest.mark.parametrize("simple", [False, True])
def test_it_learns_where_tiles_of_a_gradient_lie(simple):
    method = tiny.build("jigsaw", tiny.RESNET, simple=simple, permutations=4, standardise=False, layers=1)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    side, numbers = tiny.batch(method).views[0].shape[-1], torch.arange(16)
    picture = ramp(16, side) / side * 4 - 2
    out = {}
    for step in range(12):
        batch = Batch([picture], numbers * 0, numbers * 7919 + step * 1_000_003, numbers)
        out = method(batch, step / 12)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
    assert out["accuracy"] > 0.5


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="permutations=1 "):
        tiny.build("jigsaw", tiny.RESNET, permutations=1)
    with pytest.raises(InputError, match="dim=0"):
        tiny.build("jigsaw", tiny.RESNET, dim=0)
    with pytest.raises(InputError, match=r"tiles.*choose a resnet"):
        tiny.build("jigsaw", "mixer_s32_224")


def test_large_patches_make_tiles_larger():
    method = tiny.build("jigsaw", "vit_tiny_patch16_224(embed_dim=48, depth=1, num_heads=2)", tile=9)
    batch = Batches(ramps(2), method.views, size=32, batch=2, multiple=16).at(0)
    assert batch.views[0].shape[-1] == 64
    assert cut(batch.views[0], batch.key, multiple=16).shape == (2, 9, 3, 16, 16)


@pytest.mark.parametrize(
    ("simple", "expected"), [(False, [5.033052, 4.775918, 4.909950]), (True, [2.460916, 2.424522, 2.506750])]
)
def test_three_steps_are_as_recorded(simple, expected):
    losses = tiny.three_steps(tiny.fill(tiny.build("jigsaw", tiny.RESNET, simple=simple)).double())
    assert losses == pytest.approx(expected, abs=1e-4)
