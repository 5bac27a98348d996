"""SIGTERM, SIGINT and SIGHUP during training and outside of it, sent to real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from firstlight.errors import Stopped
from firstlight.events import Step, drain
from firstlight.runs import Run
from firstlight.train import checkpoint, train
from once import once
from tiny_training import TinyBatches, same, setup, tiny

HERE = Path(__file__).parent


def _signalled(events, after: int, number: int) -> Iterator[int]:
    """The steps told, with one signal sent to this process after one of them."""
    for event in events:
        if isinstance(event, Step):
            if event.step == after:
                os.kill(os.getpid(), number)
            yield event.step


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_saves_and_resumes_to_the_bit(tmp_path, number, code):
    run, before = Run(tmp_path), {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    told: list[int] = []
    with pytest.raises(Stopped) as caught:
        told.extend(_signalled(train(tiny(), TinyBatches(), setup(), run), 3, number))
    assert caught.value.exit_code == code
    assert told == [1, 2, 3, 4]
    assert [path.name for path in run.checkpoints.iterdir()] == ["step_000000004"]
    assert {n: signal.getsignal(n) for n in before} == before

    resumed, reference = tiny(seed=8), tiny()
    drain(train(resumed, TinyBatches(), setup(), run))
    drain(train(reference, TinyBatches(), setup()))
    assert same(resumed, reference)


def test_a_signal_during_a_save_lets_it_complete(tmp_path, monkeypatch):
    run, real = Run(tmp_path), os.fsync

    def slow(descriptor):
        os.kill(os.getpid(), signal.SIGTERM) if not sent else None
        sent.append(descriptor)
        real(descriptor)

    sent: list[int] = []
    monkeypatch.setattr(os, "fsync", slow)
    with pytest.raises(Stopped):
        drain(train(tiny(), TinyBatches(), setup(save_every=5), run))
    stored, broken = checkpoint.latest(run.checkpoints)
    assert stored is not None
    assert (stored.manifest["step"], broken) == (6, {})
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step_000000005", "step_000000006"]


def test_a_signal_at_the_last_step_still_stops(tmp_path):
    events = train(tiny(), TinyBatches(), setup(steps=2), Run(tmp_path))
    with pytest.raises(Stopped):
        list(_signalled(events, 1, signal.SIGINT))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_000000002"]


def test_in_another_thread_no_handler_is_installed():
    before, failed = signal.getsignal(signal.SIGTERM), []

    def work():
        try:
            drain(train(tiny(), TinyBatches(), setup(steps=2)))
            assert signal.getsignal(signal.SIGTERM) is before
        except BaseException as error:  # handed to the test's own thread
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed
    assert signal.getsignal(signal.SIGTERM) is before


@once
def signalled(folder: Path) -> tuple[Path, int, float, int, str]:
    """One process each: the first two signals, and a hangup followed by a closed standard output."""
    twice = _start(folder / "twice", "slow")
    hung = _start(folder / "hung", "quick")
    try:
        assert hung.stdout.readline() == "begun\n"
        hung.stdout.close()
        hung.send_signal(signal.SIGHUP)

        assert twice.stdout.readline() == "begun\n"
        twice.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert twice.poll() is None  # still in its step
        start = time.monotonic()
        twice.send_signal(signal.SIGTERM)
        status, took = twice.wait(timeout=10), time.monotonic() - start
        return folder, status, took, hung.wait(timeout=240), hung.stderr.read() + twice.stderr.read()
    finally:
        for process in (twice, hung):
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()


def test_the_second_signal_exits_at_once_and_a_hangup_does_not_stop():
    folder, twice, took, hung, said = signalled()
    assert twice == 143
    assert took < 2
    assert not list((folder / "twice").glob("checkpoints/step_*"))
    assert hung == 0
    stored, _ = checkpoint.latest(folder / "hung" / "checkpoints")
    assert stored is not None
    assert stored.manifest["step"] == 20
    assert said == ""


@once
def stopped(folder: Path) -> tuple[Path, list[tuple[int, str]]]:
    """Commands stopped while kernel SVMs are fitted one after the other, and while formula pictures are drawn."""
    fitting = _command(folder, "compare", "digits", "--contenders", "svm", "--seeds", "200", "--out", "fitting")
    drawing = _command(folder, "pretrain", "--categories", "500000", "--size", "32", "--out", "drawing")
    try:
        _wait(lambda: (folder / "fitting" / "svm-draw0" / "results" / "svm.json").exists(), fitting)
        for process, number in ((fitting, signal.SIGTERM), (drawing, signal.SIGINT)):
            assert process.poll() is None
            process.send_signal(number)
        said = [process.communicate(timeout=240)[1] for process in (fitting, drawing)]
        return folder, [(process.returncode, text) for process, text in zip((fitting, drawing), said)]
    finally:
        for process in (fitting, drawing):
            process.kill()
            process.communicate()


def test_a_signal_outside_of_training_ends_the_command_and_writes_its_report():
    folder, ended = stopped()
    for (status, said), expected in zip(ended, (143, 130), strict=True):
        assert status == expected, said
        assert said.splitlines()[-1] == "firstlight: stopped"
        assert "Traceback" not in said
    assert (folder / "fitting" / "report.html").exists()
    assert "stopped: interrupted" in (folder / "fitting" / "events.jsonl").read_text()
    assert not (folder / "drawing").exists()


def _command(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "firstlight", *arguments],
        cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _wait(ready, process: subprocess.Popen) -> None:
    end = time.monotonic() + 240  # other tests may keep the cores busy
    while not ready():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)


def _start(path: Path, speed: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "error", __file__, str(path), speed],
        env=os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _train(path: Path, seconds: float) -> None:
    class Sleepy(TinyBatches):
        def at(self, step, part=0):
            if step == 0:
                print("begun", flush=True)
            end = time.monotonic() + seconds
            while time.monotonic() < end:  # a handler may run, but nothing interrupts the step
                time.sleep(0.01)
            return super().at(step, part)

    drain(train(tiny(), Sleepy(), setup(), Run(path)))


if __name__ == "__main__":
    _train(Path(sys.argv[1]), {"slow": 60.0, "quick": 0.05}[sys.argv[2]])
