"""Checkpoints under every fault a disk, a kill and a curious hand can cause."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from firstlight.errors import CorruptError, DiskError, InputError
from firstlight.events import Note, Saved, Warned, drain
from firstlight.runs import Run
from firstlight.train import checkpoint, train
from tiny_training import TinyBatches, same, setup, tiny


def _files(content: bytes = b"x") -> dict[str, bytes]:
    method = tiny()
    files = checkpoint.pack(method, torch.optim.SGD(method.parameters(), lr=0.1), {"step": 1})
    return files | {"state.json": json.dumps({"optimiser": {}, "note": content.decode()}).encode()}


def _trained(path: Path, **changes):
    """A finished training with checkpoints after steps 5, 10 and so on, of which the last two remain."""
    method, run = tiny(), Run(path)
    events = list(train(method, TinyBatches(), setup(save_every=5, **changes), run))
    return method, run, events


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("kept")
    _trained(path)
    return path


@pytest.fixture
def run(kept, tmp_path) -> Run:
    shutil.copytree(kept, tmp_path / "run")
    return Run(tmp_path / "run")


def test_a_checkpoint_round_trips(tmp_path):
    method = tiny()
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.1)
    method(TinyBatches().at(0), 0.0)["loss"].backward()
    optimizer.step()
    path = checkpoint.save(tmp_path, 1, checkpoint.pack(method, optimizer, {"step": 1}), {"images": 8})

    stored, broken = checkpoint.latest(tmp_path)
    assert stored is not None
    assert (stored.path, broken, stored.manifest["images"], stored.state["step"]) == (path, {}, 8, 1)
    other = tiny(seed=5)
    fresh = torch.optim.AdamW(other.parameters(), lr=0.1)
    checkpoint.unpack(stored, other, fresh)
    assert same(method, other)
    for old, new in zip(optimizer.param_groups[0]["params"], fresh.param_groups[0]["params"]):
        assert optimizer.state[old].keys() == fresh.state[new].keys() != set()
        assert all(torch.equal(value, fresh.state[new][slot]) for slot, value in optimizer.state[old].items())


def test_two_checkpoints_stay_and_nothing_else(kept):
    assert sorted(path.name for path in (kept / "checkpoints").iterdir()) == ["step_000000015", "step_000000020"]
    manifest = json.loads((kept / "checkpoints/step_000000020/manifest.json").read_text())
    assert manifest["schema"] == 1
    assert manifest["images"] == 160
    assert {"device", "cpu capability", "threads", "processes", "torch"} <= manifest["environment"].keys()
    for name, sums in manifest["files"].items():
        content = (kept / "checkpoints/step_000000020" / name).read_bytes()
        assert (sums["bytes"], sums["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("name", [*checkpoint.FILES, "manifest.json"])
@pytest.mark.parametrize("cut", [0, 1, 8, 100, 0.5, -1])
def test_a_truncated_file_is_noticed_and_the_older_checkpoint_used(run, name, cut):
    path = run.checkpoints / "step_000000020" / name
    size = path.stat().st_size
    os.truncate(path, int(size * cut) if isinstance(cut, float) else min(cut, size - 1) if cut >= 0 else size + cut)
    stored, broken = checkpoint.latest(run.checkpoints)
    assert stored is not None
    assert stored.manifest["step"] == 15
    assert list(broken) == [run.checkpoints / "step_000000020"]
    assert name in broken[run.checkpoints / "step_000000020"]


@pytest.mark.parametrize("name", [*checkpoint.FILES, "manifest.json"])
@pytest.mark.parametrize("place", [0.02, 0.5, 0.98])
def test_one_flipped_bit_is_noticed(run, name, place):
    path = run.checkpoints / "step_000000020" / name
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptError, match=name.replace(".", r"\.")):
        checkpoint.read(path.parent)


@pytest.mark.parametrize("name", [*checkpoint.FILES, "manifest.json"])
def test_a_missing_file_is_named(run, name):
    (run.checkpoints / "step_000000020" / name).unlink()
    with pytest.raises(CorruptError, match=name.replace(".", r"\.")):
        checkpoint.read(run.checkpoints / "step_000000020")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"x"',
        "{}",
        '{"schema": 1}',
        '{"schema": "1", "sha256": 2}',
        "[" * 100_000,
        "\x00\xff",
    ],
)
def test_a_garbage_manifest_is_a_corrupt_checkpoint(run, text):
    (run.checkpoints / "step_000000020" / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(CorruptError, match=r"manifest\.json"):
        checkpoint.read(run.checkpoints / "step_000000020")


@pytest.mark.parametrize("change", [{"extra": 1}, {"images": float("nan")}, {"step": 15}, {"schema": 0}, {"files": {}}])
def test_an_edited_manifest_does_not_match_its_checksum(run, change):
    path = run.checkpoints / "step_000000020" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CorruptError, match=r"manifest\.json"):
        checkpoint.read(path.parent)


def test_a_newer_schema_asks_for_an_upgrade_and_is_not_skipped(run):
    path = run.checkpoints / "step_000000020" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    with pytest.raises(InputError, match="upgrade"):
        checkpoint.latest(run.checkpoints)


def test_a_renamed_checkpoint_is_not_believed(run):
    (run.checkpoints / "step_000000020").rename(run.checkpoints / "step_000000099")
    stored, broken = checkpoint.latest(run.checkpoints)
    assert stored is not None
    assert stored.manifest["step"] == 15
    assert len(broken) == 1


def test_files_that_are_not_checkpoints_do_not_matter(run):
    (run.checkpoints / "step_notes.txt").write_text("mine")
    stored, broken = checkpoint.latest(run.checkpoints)
    assert stored is not None
    assert (stored.manifest["step"], broken) == (20, {})


def test_training_goes_on_from_the_older_one_to_the_same_bits(kept, run):
    expected = checkpoint.read(kept / "checkpoints" / "step_000000020")
    os.truncate(run.checkpoints / "step_000000020" / "weights.safetensors", 50)
    method = tiny(seed=9)
    events = list(train(method, TinyBatches(), setup(save_every=5), run))

    assert any(isinstance(e, Warned) and "weights.safetensors has 50 of" in e.text for e in events)
    again = checkpoint.read(run.checkpoints / "step_000000020")
    assert again.manifest["files"] == expected.manifest["files"]
    assert len(list(run.checkpoints.glob("broken_step_000000020*"))) == 1  # the user's file is not deleted


def test_a_training_without_a_sound_checkpoint_does_not_start_over(run):
    for path in run.checkpoints.iterdir():
        (path / "manifest.json").unlink()
    with pytest.raises(CorruptError, match="none of the 2 checkpoints"):
        drain(train(tiny(), TinyBatches(), setup(save_every=5), run))
    assert len(list(run.checkpoints.glob("step_*"))) == 2


def test_a_finished_training_is_loaded_and_not_repeated(run):
    method = tiny(seed=3)
    events = list(train(method, TinyBatches(), setup(save_every=5), run))
    assert not any(isinstance(event, Saved) for event in events)
    assert any(isinstance(event, Note) and "were done before" in event.text for event in events)
    reference = tiny()
    drain(train(reference, TinyBatches(), setup()))
    assert same(method, reference)


def test_leftovers_of_a_kill_are_removed(run):
    (run.checkpoints / ".tmp-step_000000025-77").mkdir()
    (run.checkpoints / ".tmp-step_000000025-77" / "weights.safetensors").write_bytes(b"half")
    drain(train(tiny(), TinyBatches(), setup(save_every=5), run))
    assert not list(run.checkpoints.glob(".tmp-*"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, r"training\.seed was 0, is 1"),
        ({"steps": 30}, r"training\.steps was 20, is 30"),
        ({"precision": "bf16"}, r"training\.precision was fp32, is bf16"),
        ({"recipe": {"data": "b"}}, "data was unset, is b"),
    ],
)
def test_other_settings_are_refused_with_what_differs(run, change, words):
    with pytest.raises(InputError, match=words):
        drain(train(tiny(), TinyBatches(), setup(**({"save_every": 5} | change)), run))


def test_another_method_is_refused_with_its_tensors(run):
    method = tiny()
    method.head = torch.nn.Linear(8, 7)
    with pytest.raises(InputError, match=r"head\.weight"):
        drain(train(method, TinyBatches(), setup(save_every=5), run))


def test_another_environment_is_a_warning(run):
    path = run.checkpoints / "step_000000020"
    shutil.rmtree(run.checkpoints / "step_000000015")
    files = {name: (path / name).read_bytes() for name in checkpoint.FILES}
    manifest = checkpoint.read(path).manifest
    manifest["environment"]["threads"] = 77
    shutil.rmtree(path)
    state = json.loads(files["state.json"]) | {"step": 19}
    checkpoint.save(run.checkpoints, 19, files | {"state.json": json.dumps(state).encode()}, manifest)
    events = list(train(tiny(), TinyBatches(), setup(save_every=5), run))
    assert any(isinstance(e, Warned) and "not bit-exact: threads was 77" in e.text for e in events)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["write", "fsync", "mkdir", "rename", "open"])
def test_a_failing_disk_is_a_typed_error_and_the_old_checkpoint_stays(tmp_path, monkeypatch, call, number):
    checkpoint.save(tmp_path, 1, _files(b"old"), {})
    real, calls = getattr(os, call), []

    def failing(*arguments, **named):
        path = str(arguments[0])
        calls.append(path)
        if call == "open" and "weights" not in path:
            return real(*arguments, **named)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(DiskError, match=r"step_000000002.*[\d,]+ bytes.*") as caught:
            checkpoint.save(tmp_path, 2, _files(b"new"), {})
    assert os.strerror(number) in str(caught.value)
    assert calls
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000001"]
    assert checkpoint.read(tmp_path / "step_000000001").state["note"] == "old"


@pytest.mark.parametrize("which", range(1, 7))
def test_an_error_that_only_shows_at_fsync_is_a_failed_save(tmp_path, monkeypatch, which):
    checkpoint.save(tmp_path, 1, _files(b"old"), {})
    real, calls = os.fsync, []

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) == which:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(DiskError):
        checkpoint.save(tmp_path, 2, _files(b"new"), {})
    stored, broken = checkpoint.latest(tmp_path)
    assert stored is not None
    assert not broken
    assert stored.state["note"] == ("new" if which == 6 else "old")  # the sixth is after the rename
    assert not list(tmp_path.glob(".tmp-*"))


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:7]))
    checkpoint.save(tmp_path, 1, {**_files(), "state.json": b'{"optimiser": {}}'}, {})
    assert checkpoint.read(tmp_path / "step_000000001").state == {"optimiser": {}}


def test_too_little_space_is_noticed_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(DiskError, match=r"[\d,]+ bytes needed, 100 free"):
        checkpoint.save(tmp_path, 1, _files(), {})
    assert not list(tmp_path.iterdir())


def test_the_order_on_disk_is_write_sync_rename_sync(tmp_path, monkeypatch):
    calls: list[str] = []
    for name in ("write", "fsync", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *arguments, real=real, name=name: (calls.append(name), real(*arguments))[1]
        )
    checkpoint.save(tmp_path, 1, _files(), {})
    assert calls == ["write", "fsync"] * 4 + ["fsync", "rename", "fsync"]


def test_the_older_goes_only_after_the_newer_verifies(tmp_path, monkeypatch):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, _files(), {})
    monkeypatch.setattr(os, "write", lambda descriptor, content: len(content))  # a disk that lies
    with pytest.raises(CorruptError):
        checkpoint.save(tmp_path, 3, _files(), {})
    stored, broken = checkpoint.latest(tmp_path)
    assert stored is not None
    assert (stored.manifest["step"], len(broken)) == (2, 1)
    assert checkpoint.read(tmp_path / "step_000000001")


def test_a_disk_that_fills_up_ends_the_training_with_the_old_checkpoint(tmp_path, monkeypatch):
    real, run = os.rename, Run(tmp_path)

    def failing(old, new):
        if str(new).endswith("step_000000010"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(old, new)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(DiskError, match="No space left"):
        drain(train(tiny(), TinyBatches(), setup(save_every=5), run))
    stored, broken = checkpoint.latest(run.checkpoints)
    assert stored is not None
    assert (stored.manifest["step"], broken) == (5, {})
    monkeypatch.undo()
    resumed, reference = tiny(seed=4), tiny()
    drain(train(resumed, TinyBatches(), setup(save_every=5), run))
    drain(train(reference, TinyBatches(), setup()))
    assert same(resumed, reference)
