"""Look inside a pre-training: draw what its method makes of pictures ('reconstruction')."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from .. import spec
from ..errors import InputError
from ..events import Events, Note, Saved
from ..runs import Run
from . import Recipe, _choose, begin, check_free, load, open_run, write_report
from ._kept import SHOWN
from .pretrain import Pretrain

if TYPE_CHECKING:
    from ..methods import Method
    from ..result import Result


@dataclass(frozen=True, kw_only=True)
class Inspect(Recipe):
    """Look inside a pre-training: draw what its method makes of pictures ('reconstruction').

    Uses the newest checkpoint, so a training that is still under way can be looked at too.
    """

    what: tyro.conf.Positional[str]
    """what to draw: 'reconstruction' shows hidden parts painted back, colours put in, puzzles solved"""
    folder: tyro.conf.Positional[Path]
    """a pre-training run, finished or not"""
    data: str | None = None
    """pictures to look at, as in pretrain; unset: those that it was trained on"""
    pictures: int = SHOWN
    """how many of them"""
    device: str | None = None
    """cuda, mps or cpu; unset: the best there is"""
    seed: int = 0
    """of the choice of pictures, and of what is hidden of them"""
    out: Path | None = None
    """a new folder for the pictures and a report of their own; unset: the run's results, and its report anew"""

    def run(self, resume: bool = False) -> Events[Path]:
        _choose.positive(pictures=self.pictures)
        from ..inspections import Inspection

        inspection = spec.build("inspections", self.what, Inspection)
        trained = self._trained()
        data = self.data or trained.data
        data = data if _choose.is_formula(data) else _choose.known_source(data, "--data")
        if _choose.is_formula(data):
            _choose.picture_formula(data)
        device = _choose.device(self.device)
        check_free(self.out, resume)

        pictures = yield from trained.pictures(data)
        method = yield from trained.learner(pictures)
        step = self._restore(method)
        reached = Note(f"{trained.method}, after step {step:,} of {trained.steps:,}")
        yield reached
        method = method.to(device)
        result = inspection.run(method, trained.batches(pictures, method, device).some(self.pictures, self.seed))

        run = Run(self.folder) if self.out is None else open_run(self.out, "inspect", resume)
        if self.out is not None:
            begin(run, self, {"device": device, "step": step})
            run.log(reached)
            run.close()
        where = f" of {data!r}" if self.data else " that it learned from"
        result.text = f"{trained.method} after step {step:,} of {trained.steps:,}, on {self.pictures} pictures{where}."
        result.settings |= {"data": data, "seed": self.seed, "step": step}
        result.save(run.results)
        path = _draw(result, run.results / f"{result.name}.png")
        yield Saved(result.name, str(path))
        yield Saved("report", str(write_report(run)))
        return path

    def _trained(self) -> Pretrain:
        """The pre-training, with settings that suit a look at it."""
        if not (self.folder / "recipe.json").is_file():
            raise InputError(f"{str(self.folder)!r} is not a run folder: it has no recipe.json")
        recipe = load(self.folder)
        if not isinstance(recipe, Pretrain):
            raise InputError(f"{str(self.folder)!r} is a run of {recipe.command()!r}; expected one of 'pretrain'")
        return dataclasses.replace(recipe, draw="cpu", hold_out=recipe.hold_out and self.data is None)

    def _restore(self, method: "Method") -> int:
        """Gives the method the weights of the newest checkpoint, and says after which step that was."""
        from ..errors import CorruptError
        from ..train import checkpoint

        stored, broken = checkpoint.latest(self.folder / "checkpoints")
        if stored is None:
            if broken:
                raise CorruptError("; ".join(broken.values()))
            raise InputError(f"{str(self.folder)!r} has no checkpoint; the first is saved after some minutes")
        try:
            method.load_state_dict(stored.weights)
        except RuntimeError as error:
            raise InputError(f"{str(stored.path)!r} does not fit the run's recipe: {error}") from None
        return int(stored.manifest["step"])


def _draw(result: "Result", path: Path) -> Path:
    """The first figure as a PNG file."""
    import io

    from ..report.montage import montage
    from ..runs import write_whole

    file = io.BytesIO()
    montage(result.figures[0]).save(file, "PNG", optimize=True)
    write_whole(path, file.getvalue())
    return path
