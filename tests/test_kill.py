"""SIGKILL at random moments of a training, and at every single input or output of a save.

The children are forked from one process that has imported torch and taken a step, so that a trial costs what its
training costs. That process is its own interpreter: a fork of the test process could inherit locked threads.
"""

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from firstlight.events import Step, drain
from firstlight.runs import Run, read_events
from firstlight.train import checkpoint, train
from once import once
from tiny_training import TinyBatches, setup, tiny

HERE = Path(__file__).parent
KILLS, STEPS = 100, 150


@once
def killed(folder: Path) -> dict:
    return _fresh_process("kill", folder)


@once
def killed_in_a_save(folder: Path) -> dict:
    return _fresh_process("points", folder)


def test_killed_a_hundred_times_it_ends_with_the_same_bits():
    told = killed()
    assert told["kills"] == KILLS
    assert told["finished"] >= 1
    assert told["torn"] >= 1, "no kill hit a save: the test shows nothing"
    assert told["advanced"] >= KILLS // 5, "the trainings hardly got on between the kills"
    assert told["places"] >= 10
    assert told["different"] == []


def test_killed_at_every_point_of_a_save_a_checkpoint_loads():
    told = killed_in_a_save()
    assert told["points"] > 25
    assert told["unfit"] == []
    assert 0 < told["new"] < told["points"]  # early kills leave the previous checkpoint, late ones the new


def _fresh_process(what: str, folder: Path) -> dict:
    result = subprocess.run(
        [sys.executable, __file__, what, str(folder)],
        env=os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


def _train(folder: Path) -> None:
    run = Run(folder)
    with run.locked():
        for event in train(tiny(seed=os.getpid() % 1000), TinyBatches(), setup(steps=STEPS, save_every=3), run):
            run.log(event)


def _outcome(folder: Path) -> tuple[dict, dict]:
    """Checksums of weights, optimiser and counters, and the log's values without clocks; the last report counts."""
    stored, broken = checkpoint.latest(folder / "checkpoints")
    assert stored is not None
    assert not broken
    values = {}
    for event in read_events(folder):
        if event["event"] == "step":
            timeless = {name: value for name, value in event["values"].items() if name != "images_per_second"}
            values[event["step"]] = (event["images"], timeless)
    return stored.manifest["files"], values


def _done(folder: Path) -> int:
    return max((int(path.name[5:]) for path in folder.glob("checkpoints/step_*")), default=0)


def _forked(work) -> int:
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def _kill_trials(folder: Path) -> dict:
    _start_alike(folder / "reference")
    _train(folder / "reference")
    expected = _outcome(folder / "reference")
    draw = random.Random(0)
    told = {"kills": 0, "torn": 0, "finished": 0, "advanced": 0, "different": []}
    ends, longest, stuck = set(), 0.06, 0
    run = folder / "run-0"
    _start_alike(run)
    while told["kills"] < KILLS or told["finished"] == 0:
        before = _done(run)
        child = _forked(functools.partial(_train, run))
        if told["kills"] < KILLS:
            time.sleep(draw.uniform(0.005, longest))
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        told["torn"] += any(run.glob("checkpoints/.tmp-step*"))
        told["advanced"] += _done(run) > before
        stuck = 0 if _done(run) > before else stuck + 1
        if stuck >= 3:  # a busy disk: give each trial time for a save
            longest, stuck = min(1.5 * longest, 0.6), 0
        ends.add((run.name, _done(run)))
        if os.WIFSIGNALED(status):
            told["kills"] += 1
            continue
        assert os.WEXITSTATUS(status) == 0
        told["finished"] += 1
        if _outcome(run) != expected:
            told["different"].append(run.name)
        shutil.rmtree(run)
        run = folder / f"run-{told['finished']}"
        _start_alike(run)
    return told | {"places": len(ends)}


def _start_alike(folder: Path) -> None:
    """A first checkpoint after no step, so that trials may begin with other weights and still end alike."""
    run, chosen = Run(folder), setup(steps=STEPS, save_every=1)
    for event in train(tiny(), TinyBatches(), chosen, run):
        run.log(event)
        if isinstance(event, Step) and event.step == 2:
            break


NAMES = ("open", "write", "fsync", "mkdir", "rename", "close", "unlink", "rmdir")


def _kill_points(folder: Path) -> dict:
    """Saves a third checkpoint beside two older ones and dies before the k-th call to the system, for every k."""
    for step in (1, 2):
        checkpoint.save(folder / "before", step, _files(step), {})
    told = {"points": 0, "new": 0, "unfit": []}
    while True:
        work = folder / "work"
        shutil.copytree(folder / "before", work)
        status = os.waitpid(_forked(functools.partial(_save_and_die, work, told["points"])), 0)[1]
        stored, broken = checkpoint.latest(work)
        if stored is None or broken or stored.state["step"] != stored.manifest["step"] or stored.manifest["step"] < 2:
            told["unfit"].append(told["points"])
        checkpoint.tidy(work)
        if any(work.glob(".tmp-*")):
            told["unfit"].append(told["points"])
        shutil.rmtree(work)
        if os.WEXITSTATUS(status) == 0:
            return told
        assert os.WEXITSTATUS(status) == 137
        told["new"] += stored is not None and stored.manifest["step"] == 3
        told["points"] += 1


def _save_and_die(folder: Path, after: int) -> None:
    files, left = _files(3), [after]

    def counted(real):
        def call(*arguments, **named):
            if not left[0]:
                os._exit(137)
            left[0] -= 1
            return real(*arguments, **named)

        return call

    for name in NAMES:
        setattr(os, name, counted(getattr(os, name)))
    checkpoint.save(folder, 3, files, {})


def _files(step: int) -> dict[str, bytes]:
    method = tiny()
    return checkpoint.pack(method, torch.optim.AdamW(method.parameters()), {"step": step})


if __name__ == "__main__":
    torch.set_num_threads(1)
    drain(train(tiny(), TinyBatches(), setup(steps=2)))  # torch imports more at its first optimiser step
    trials = {"kill": _kill_trials, "points": _kill_points}[sys.argv[1]]
    print(json.dumps(trials(Path(sys.argv[2]))))
