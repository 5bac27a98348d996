"""Run folders: locks, torn lines, paths that cannot be written, whole files."""

import json
import os
import subprocess
import sys

import pytest

from firstlight.errors import CorruptError, DiskError, InputError, LockedError
from firstlight.events import Note, Progress
from firstlight.runs import Run, read_events, read_json, write_whole


def test_events_are_kept_and_bars_are_not(tmp_path):
    run = Run(tmp_path / "run")
    with run.locked():
        run.log(Note("日本語 \udcff"))
        run.log(Progress("drawing", 1, 2))
    assert [event["text"] for event in read_events(run.path)] == ["日本語 \udcff"]


def test_a_torn_last_line_is_dropped_and_appending_goes_on(tmp_path):
    (tmp_path / "events.jsonl").write_text('{"event": "note", "text": "a"}\n{"event": "no')
    assert len(read_events(tmp_path)) == 1
    run = Run(tmp_path)
    with run.locked():
        run.log(Note("b"))
    assert [event["text"] for event in read_events(tmp_path)] == ["a", "b"]


def test_a_full_disk_loses_the_line_and_not_the_run(tmp_path):
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    run = Run(tmp_path)
    with run.locked():
        with pytest.warns(UserWarning, match="events are being lost.*No space left"):
            run.log(Note("lost"))
        run.log(Note("lost too, and nobody is told a second time"))


def test_the_second_process_is_refused_and_told_who_is_first(tmp_path):
    code = f"from firstlight.runs import Run\nwith Run({str(tmp_path)!r}).locked(): pass"
    with Run(tmp_path).locked():
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert second.returncode != 0
    assert f"in use by process {os.getpid()}" in second.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0, "the lock is free again"


def test_a_lock_left_by_a_dead_process_is_taken_over(tmp_path):
    code = f"import os\nfrom firstlight.runs import Run\nwith Run({str(tmp_path)!r}).locked(): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    with Run(tmp_path).locked(), pytest.raises(LockedError), Run(tmp_path).locked():
        pass


@pytest.mark.parametrize("bad", ["a_file", "a_file/below"])
def test_a_path_that_is_a_file(tmp_path, bad):
    (tmp_path / "a_file").write_text("keep me")
    with pytest.raises(InputError, match="is a file"):
        Run(tmp_path / bad)
    assert (tmp_path / "a_file").read_text() == "keep me"


def test_a_name_too_long(tmp_path):
    with pytest.raises(DiskError, match="too long"):
        Run(tmp_path / ("x" * 300))


def test_write_whole_on_a_full_disk_names_path_and_bytes(tmp_path, monkeypatch):
    path = tmp_path / "kept.json"
    write_whole(path, b"old")

    def refuse(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DiskError, match=r"kept\.json.*3 bytes.*No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_that_is_missing_or_broken(tmp_path):
    with pytest.raises(InputError, match="is it a run folder"):
        read_json(tmp_path / "recipe.json")
    (tmp_path / "recipe.json").write_text(json.dumps({"a": 1})[:-2])
    with pytest.raises(CorruptError, match="not valid JSON"):
        read_json(tmp_path / "recipe.json")
