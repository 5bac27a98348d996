"""Two processes under torchrun learn what one learns, and agree on everything that must not differ."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

from firstlight import ranks
from firstlight.errors import Stopped
from firstlight.events import Step, Warned, drain
from firstlight.methods import Optimisation
from firstlight.recipe import load
from firstlight.recipe.pretrain import Pretrain
from firstlight.runs import Run, read_events
from firstlight.train import checkpoint, train
from once import once
from tiny_training import Tiny, TinyBatches, setup, tiny

HERE = Path(__file__).parent
CHOSEN = Optimisation(lr=1.0, warmup=0.2, clip=0.5)


class Contrast(Tiny):
    """Batch norm, and a loss in which every picture of the batch meets every other, wherever it is."""

    def forward(self, batch, t):
        features = F.normalize(self.encoder(batch.views[0]), dim=1)
        others = F.cross_entropy(features @ ranks.gather(features).T / 0.5, batch.index)
        return {"loss": others + F.cross_entropy(self.head(features), batch.label)}


class Poisoned(Tiny):
    """One rank's loss is not a number in its third step."""

    seen = 0

    def forward(self, batch, t):
        self.seen += 1
        out = super().forward(batch, t)
        if self.seen == 3 and ranks.rank() == 1:
            out["loss"] = out["loss"] * torch.nan
        return out


def _contrast() -> Tiny:
    return tiny(dropout=0.0, kind=Contrast).double()


def _without_batch_norm() -> Tiny:
    """Batch statistics are those of a part, so only without them do parts add up to the whole."""
    method = tiny(dropout=0.0).double()
    method.encoder.norm = nn.LayerNorm(8, dtype=torch.float64)
    return method


CASES = {"contrast": (_contrast, 1), "parts": (_without_batch_norm, 2)}


@once
def launched(folder: Path) -> Path:
    """Everything two processes do, in one launch: importing torch takes longest."""
    launch = _launched(__file__, str(folder))
    said = launch.communicate(timeout=240)[1]
    assert launch.returncode == 0, said[-4000:]
    return folder


@pytest.fixture(scope="module")
def told() -> Path:
    return launched()


def _launched(*arguments: str, cwd: Path | None = None) -> subprocess.Popen:
    """Two processes; what they say comes in one stream."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    environment = os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=cwd, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_learns(told, case):
    method = CASES[case][0]()
    losses = _losses(method, parts=1)
    theirs = safetensors.torch.load_file(told / f"{case}.safetensors")
    for name, value in method.state_dict().items():
        if name != "steps":  # counts forward passes
            torch.testing.assert_close(theirs[name], value, rtol=1e-6, atol=1e-6)
    assert json.loads((told / f"{case}.json").read_text()) == pytest.approx(losses, rel=1e-5)


def test_both_ranks_hold_the_same_weights(told):
    assert [json.loads((told / f"same-{rank}.json").read_text()) for rank in range(2)] == [True, True]


def test_a_resumption_by_two_processes_is_exact_to_the_bit(told):
    assert [json.loads((told / f"resumed-{rank}.json").read_text()) for rank in range(2)] == [True, True]


def test_a_signal_to_one_rank_stops_both_after_the_same_step(told):
    first, second = (json.loads((told / f"stopped-{rank}.json").read_text()) for rank in range(2))
    assert first["step"] == second["step"] == 4
    assert first["code"] == second["code"] == 143
    stored, _ = checkpoint.latest(told / "stopped" / "checkpoints")
    assert stored is not None
    assert stored.manifest["step"] == 4
    assert stored.manifest["environment"]["processes"] == 2


def test_a_spoilt_loss_on_one_rank_is_skipped_by_both(told):
    for rank in range(2):
        outcome = json.loads((told / f"skipped-{rank}.json").read_text())
        assert outcome["skipped"] == [0, 0, 1, 1, 1]
        assert len(outcome["warnings"]) == 1
        assert outcome["finite"]


def test_one_process_goes_on_with_a_warning(told):
    run, method = Run(told / "stopped"), tiny()
    events = list(train(method, TinyBatches(), setup(steps=20), run))
    assert any(isinstance(e, Warned) and "processes was 2, is 1" in e.text for e in events)


@once
def commanded(folder: Path) -> tuple[Path, int, str, str, Path]:
    """A run of two processes, how it was stopped and resumed and what was said, and the same run of one process.

    Without --out: the processes agree on a folder, and the first alone writes, locks and speaks.
    """
    settings = {"model": "test_resnet", "size": 32, "categories": 4, "steps": 24, "batch": 8, "device": "cpu"}
    settings |= {"precision": "fp32", "optimizer": "sgd", "lr": 0.003}
    given = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    path = folder / "runs" / "pretrain-001"
    launch = _launched("-m", "firstlight", "pretrain", *given, cwd=folder)
    try:
        end = time.monotonic() + 100
        while not any(event["event"] == "step" for event in read_events(path)):
            assert launch.poll() is None, launch.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(int((path / "run.lock").read_text().split()[1]), signal.SIGTERM)
        stopped = launch.communicate(timeout=240)[1]
    finally:
        launch.kill()
        launch.wait()
    assert len(list((path / "checkpoints").iterdir())) == 1
    assert [folder.name for folder in path.parent.iterdir()] == [path.name]

    again = _launched("-m", "firstlight", "resume", str(path))
    resumed = again.communicate(timeout=100)[1]
    assert again.returncode == 0, resumed
    recipe = load(path)
    assert isinstance(recipe, Pretrain)
    return path, launch.returncode, stopped, resumed, drain(recipe.moved(folder / "alone").run())


def test_the_command_line_under_torchrun_stops_resumes_and_learns_what_one_process_learns():
    path, status, stopped, resumed, alone = commanded()
    assert status != 0
    assert "exitcode  : 143" in stopped
    stops = [line for line in stopped.splitlines() if line.startswith("firstlight:")]
    assert len(stops) == 1
    assert "; saved" in stops[0]
    assert resumed.count("goes on after step") == resumed.count("encoder: ") == 1
    told = [event["step"] for event in read_events(path) if event["event"] == "step"]
    assert told == list(range(1, 25))
    ours, theirs = (safetensors.torch.load_file(p / "encoder" / "model.safetensors") for p in (path, alone))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-4)  # in float32; in float64 above, 1e-6


def _losses(method: Tiny, parts: int) -> list[float]:
    batches, chosen = TinyBatches(16, parts=parts, dtype=torch.float64), setup(batch=16, accumulate=parts)
    events = train(method, batches, dataclasses.replace(chosen, optimisation=CHOSEN))
    return [event.values["loss"] for event in events if isinstance(event, Step)]


def _work(folder: Path) -> None:
    rank = ranks.rank()
    for case, (make, parts) in CASES.items():
        method = make()
        with torch.no_grad():
            method.head.bias += rank  # ranks that begin apart are made equal
        losses = _losses(method, parts)
        if rank == 0:
            weights = {name: value.clone() for name, value in method.state_dict().items()}
            safetensors.torch.save_file(weights, folder / f"{case}.safetensors")
            _keep(folder / f"{case}.json", losses)
        _keep(folder / f"same-{rank}.json", _equal_everywhere(method))
    _keep(folder / f"resumed-{rank}.json", _resumed_equals_uninterrupted(folder))
    _keep(folder / f"stopped-{rank}.json", _stopped(Run(folder / "stopped")))
    _keep(folder / f"skipped-{rank}.json", _skipped())


def _keep(path: Path, value) -> None:
    path.write_text(json.dumps(value))


def _equal_everywhere(method: nn.Module) -> bool:
    flat = torch.cat([value.flatten().double() for value in method.state_dict().values()])
    both = ranks.gather(flat[None])
    return torch.equal(both[0], both[1])


def _resumed_equals_uninterrupted(folder: Path) -> bool:
    reference, resumed, chosen = tiny(), tiny(seed=5), setup(save_every=7)
    drain(train(reference, TinyBatches(), chosen))
    run = Run(folder / "resumed")
    for event in train(tiny(), TinyBatches(), chosen, run):
        if isinstance(event, Step) and event.step == 12:
            break
    drain(train(resumed, TinyBatches(), chosen, run))
    return all(torch.equal(a, b) for a, b in zip(reference.state_dict().values(), resumed.state_dict().values()))


def _stopped(run: Run) -> dict:
    last = 0
    try:
        for event in train(tiny(), TinyBatches(), setup(), run):
            if isinstance(event, Step):
                last = event.step
                if last == 3 and ranks.rank() == 1:
                    os.kill(os.getpid(), signal.SIGTERM)
    except Stopped as stop:
        return {"step": last, "code": stop.exit_code}
    return {"step": last, "code": 0}


def _skipped() -> dict:
    method = tiny(kind=Poisoned)
    events = list(train(method, TinyBatches(), setup(steps=5)))
    weights = torch.cat([value.flatten().double() for value in method.state_dict().values()])
    return {
        "skipped": [event.values["skipped"] for event in events if isinstance(event, Step)],
        "warnings": [event.text for event in events if isinstance(event, Warned)],
        "finite": bool(torch.isfinite(weights).all()),
    }


if __name__ == "__main__":
    with ranks.joined("cpu"):
        _work(Path(sys.argv[1]))
