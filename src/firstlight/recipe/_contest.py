"""Pre-training and fine-tuning many networks inside one run, each part once: what comparisons and ablations share."""

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import spec
from ..events import Events
from ..runs import Run, read_json
from . import _choose, logged

if TYPE_CHECKING:
    from ..data import Split
    from ..evaluations import Result
    from .ablate import Ablate
    from .compare import Compare
    from .pretrain import Pretrain


def draws(recipe: "Compare | Ablate", split: "Split") -> "list[Split]":
    """The labelled set of each draw, with the test set they share."""
    from ..data.split import few

    if recipe.labels_per_class is None:
        return [split] * recipe.seeds
    seeds = range(recipe.seed, recipe.seed + recipe.seeds)
    return [type(split)(few(split.train, recipe.labels_per_class, seed), split.test) for seed in seeds]


def pretrained(recipe: "Pretrain") -> Events[Path]:
    """Pre-trains in a run of its own, or goes on with it, and notes its seconds; a finished one is not done again."""
    folder = recipe.out
    if folder is None:
        raise TypeError("a part of a run needs a folder")
    if not (folder / "seconds.json").exists():
        begun = time.monotonic()
        yield from recipe.run(resume=folder.exists())
        Run(folder).write_json("seconds.json", time.monotonic() - begun)
    return folder


def finetuned(
    recipe: "Compare | Ablate",
    part: Run,
    plan: dict[str, Any],
    start: Path | None,
    split: "Split",
    draw: int,
    name: str,
) -> "Events[tuple[Any, Result]]":
    """Fine-tunes what is kept at ``start``, or random weights, and returns the classifier and the result."""
    from ..evaluations import Evaluation

    seed, size = recipe.seed + draw, plan["size"]
    encoder = _choose.encoder(start, recipe.model, size=size, channels=recipe.channels, drop_path=0.0, seed=seed)
    given = {} if recipe.flip is None else {"flip": recipe.flip}
    protocol: Any = spec.build(
        "evaluations", "finetune", Evaluation, steps=plan["finetune_steps"], batch=plan["finetune_batch"],
        precision=plan["precision"], **given,
    )  # fmt: skip
    return (
        yield from protocol.fit(
            encoder, split, size=size, device=plan["device"], seed=seed, run=part, task=f"{name}, draw {draw + 1}"
        )
    )


def once(part: Run, work: "Events[Result]") -> "Events[Result]":
    """The result that ``part`` already holds, or the work's, saved there with the seconds it took."""
    from ..evaluations import Result

    for path in sorted(part.results.glob("*.json")):
        with contextlib.suppress(TypeError, ValueError):
            return Result(**read_json(path))
    begun = time.monotonic()
    result = yield from logged(part, work)
    result.numbers["seconds"] = round(time.monotonic() - begun, 2)
    result.save(part.results)
    return result


def table(result: "Result") -> list[str]:
    """The first table of a result as aligned plain lines, and its text below."""
    first = result.tables[0]
    rows = [[str(cell) for cell in row] for row in [first["columns"], *first["rows"]]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    aligned = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    lines = ["  ".join(row) for row in [aligned[0], ["-" * w for w in widths], *aligned[1:]]]
    return ["", *lines, "", result.text]


def folder(name: str) -> str:
    """A contender's name as that of a folder."""
    return "".join(c if c.isalnum() else "-" for c in name).strip("-")


def plan_of(run: Run, resume: bool) -> dict[str, Any] | None:
    """What an earlier start of this run had planned; None for a fresh one."""
    return read_json(run.path / "recipe.json")["derived"] if resume and (run.path / "recipe.json").exists() else None
