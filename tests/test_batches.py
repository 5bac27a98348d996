"""Batches are a pure function of the step: whatever the ranks, the parts, the thread, and whoever stops reading."""

import gc
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from firstlight import ranks
from firstlight.data import Pictures
from firstlight.errors import InputError
from firstlight.views import MULTI_CROP, PAIR, View
from firstlight.views.batches import Batches, side_of


class Scratch(Pictures):
    """Noise pictures; reading number ``broken`` fails."""

    def __init__(self, count, size=24, broken=None, wait=0.0):
        self.labels = np.arange(count, dtype=np.int64) % 3
        self.classes = ("a", "b", "c")
        self.pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        self.broken, self.wait = broken, wait

    def read(self, numbers):
        time.sleep(self.wait)
        if self.broken in numbers:
            raise InputError(f"picture {self.broken} is broken")
        return [self.pixels[number] for number in numbers]


def batches(count=20, views=PAIR, size=16, batch=8, **settings):
    return Batches(settings.pop("pictures", Scratch(count)), views, size=size, batch=batch, **settings)


def same(a, b):
    return (
        all(torch.equal(x, y) for x, y in zip(a.views, b.views, strict=True))
        and torch.equal(a.label, b.label)
        and torch.equal(a.key, b.key)
        and torch.equal(a.index, b.index)
    )


def as_rank(monkeypatch, rank, world):
    monkeypatch.setattr(ranks, "rank", lambda: rank)
    monkeypatch.setattr(ranks, "world", lambda: world)


def batch_threads():
    return [thread for thread in threading.enumerate() if thread.name == "batches"]


def gone():
    """Whether all reading threads end soon."""
    end = time.monotonic() + 20
    while batch_threads() and time.monotonic() < end:
        time.sleep(0.01)
    return not batch_threads()


def test_a_batch_holds_what_the_method_declared():
    batch = batches(views=MULTI_CROP, size=32, batch=4, multiple=8).at(3)
    assert [tuple(view.shape) for view in batch.views] == [(4, 3, 32, 32)] * 2 + [(4, 3, 16, 16)] * 8
    assert all(view.dtype == torch.float32 for view in batch.views)
    assert len(batch) == len(batch.geometry[0].box) == 4
    assert len(batch.geometry) == 10
    assert batch.label.dtype == batch.key.dtype == batch.index.dtype == torch.int64
    assert torch.equal(batch.label, batch.index % 3)
    assert len({view.numpy().tobytes() for view in batch.views[2:]}) == 8


def test_a_step_is_pure():
    reader = batches()
    first = reader.at(5)
    reader.at(2)
    assert same(first, reader.at(5))
    assert same(first, batches().at(5))
    assert not same(first, batches(seed=1).at(5))


@pytest.mark.parametrize(("world", "parts"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_ranks_and_parts_share_one_global_batch(monkeypatch, world, parts):
    whole = batches().at(7)
    shares = []
    for rank in range(world):
        as_rank(monkeypatch, rank, world)
        reader = batches(parts=parts)
        assert reader.part_size == 8 // (world * parts)
        shares += [reader.at(7, part) for part in range(parts)]
    for name in ("label", "key", "index"):
        assert torch.equal(torch.cat([getattr(share, name) for share in shares]), getattr(whole, name))
    for number in range(2):
        together = torch.cat([share.views[number] for share in shares])
        torch.testing.assert_close(together, whole.views[number], rtol=0, atol=5e-5)


def test_an_epoch_covers_each_picture_once_with_unique_keys():
    """Fault row 22: no two samples share their draws."""
    reader = batches(count=20, batch=5)
    seen = [reader.at(step) for step in range(8)]
    for epoch in (seen[:4], seen[4:]):
        assert sorted(torch.cat([batch.index for batch in epoch]).tolist()) == list(range(20))
    assert len(set(torch.cat([batch.key for batch in seen]).tolist())) == 40
    assert reader.epochs(8) == 2.0


def test_the_next_epoch_sees_the_same_pictures_differently():
    """Fault row 23: augmentations change from epoch to epoch, and a replayed epoch is the same."""
    reader = batches(count=12, batch=12)
    epochs = []
    for step in (0, 1, 0):
        batch = reader.at(step)
        order = batch.index.argsort()
        epochs.append([view[order] for view in batch.views])
    for number in range(2):
        assert torch.equal(epochs[0][number], epochs[2][number])
        different = (epochs[0][number] != epochs[1][number]).flatten(1).any(1)
        assert different.all()


def test_the_stream_is_the_steps_in_order():
    reader = batches(parts=2)
    stream = reader.stream(3)
    for step in (3, 4, 5):
        for part in (0, 1):
            assert same(next(stream), reader.at(step, part))
    stream.close()
    assert gone()


def test_a_forgotten_stream_ends_its_thread():
    stream = batches().stream()
    next(stream)
    assert batch_threads()
    del stream
    gc.collect()
    assert gone()


def test_a_stream_prepares_only_a_little_ahead():
    pictures = Scratch(20)
    read, asked = pictures.read, []
    pictures.read = lambda numbers: asked.append(len(numbers)) or read(numbers)
    stream = batches(pictures=pictures).stream()
    next(stream)
    time.sleep(0.3)
    assert len(asked) <= 4  # one used, two ready, one in hand
    stream.close()
    assert gone()


def test_errors_in_the_thread_reach_the_reader():
    reader = batches(pictures=Scratch(20, broken=3), batch=4)
    good = next(step for step in range(5) if 3 in Batches(Scratch(20), PAIR, size=16, batch=4).at(step).index)
    stream = reader.stream()
    for _ in range(good):
        next(stream)
    with pytest.raises(InputError, match="picture 3 is broken"):
        next(stream)
    assert gone()
    with pytest.raises(StopIteration):
        next(stream)


def test_closing_never_waits_for_a_slow_disk():
    stream = batches(pictures=Scratch(20, wait=0.5)).stream()
    next(stream)
    begin = time.monotonic()
    stream.close()
    assert time.monotonic() - begin < 0.3
    assert gone()


def test_a_program_may_end_while_reading(tmp_path):
    """An interpreter that ends under a thread inside torch must neither hang nor crash."""
    program = """
import numpy as np
from firstlight.data import Pictures
from firstlight.views import PAIR
from firstlight.views.batches import Batches
class Scratch(Pictures):
    labels = np.zeros(64, np.int64)
    def read(self, numbers):
        return [np.zeros((64, 64, 3), np.uint8) for _ in numbers]
streams = [Batches(Scratch(), PAIR, size=64, batch=64, seed=seed).stream() for seed in range(4)]
for stream in streams:
    next(stream)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_uneven_batches_are_refused_before_work_starts(monkeypatch):
    with pytest.raises(InputError, match=r"batch of 8 .* 3 part\(s\); the nearest that can is 9"):
        batches(parts=3)
    as_rank(monkeypatch, 0, 16)
    with pytest.raises(InputError, match=r"16 process\(es\).* the nearest that can is 16"):
        batches(batch=3)
    as_rank(monkeypatch, 0, 1)
    wrong = ({"channels": 2}, {"batch": 0}, {"size": 0}, {"parts": 0}, {"multiple": 0}, {"pictures": Scratch(0)})
    for settings in wrong:
        with pytest.raises(InputError, match="expected"):
            batches(**settings)
    with pytest.raises(InputError, match="part below 1"):
        batches().at(0, 1)


def test_sides_are_multiples():
    assert side_of(View(), 32) == 32
    assert side_of(View(size=96 / 224), 32, 4) == 12
    assert side_of(View(size=96 / 224), 224, 16) == 96
    assert side_of(View(size=0.1), 32, 16) == 16
