"""The command line: every recipe is a command, and a few more that list and repeat."""

import contextlib
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from . import __version__, spec
from .errors import FirstlightError, InputError, Stopped, unknown

COMMANDS = {
    "run": "repeat a recipe.json or a run folder's recipe in a new folder, or run a published recipe by name",
    "resume": "go on with a run that was stopped or killed",
    "list": "list formulas, methods, models, evaluations, inspections or published recipes",
}
LISTS = ("formulas", "methods", "models", "evaluations", "inspections", "recipes")


def run(arguments: list[str]) -> int:
    """Runs one command and returns the exit status: 0, 2 for a mistake in the input, 130 or 143 when stopped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may have no letters for what is printed
    try:
        with _interruptible():
            return _dispatch(arguments)
    except FirstlightError as error:
        if not (isinstance(error, Stopped) and _follows()):
            print(f"firstlight: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as error:
        if not _follows():
            print("firstlight: stopped", file=sys.stderr)
        return 143 if isinstance(error, Terminated) else 130
    except BrokenPipeError:  # `firstlight list models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class Terminated(KeyboardInterrupt):
    """SIGTERM came. Like Ctrl-C, it is no ``Exception``, so that nothing on the way takes it for an error."""


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Lets SIGTERM end the work as Ctrl-C does: what is under way is closed, and reports are written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _follows() -> bool:
    """Whether this is one of several processes and not the first, which speaks for all."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) > 0


def _dispatch(arguments: list[str]) -> int:
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"firstlight {__version__}")
        return 0
    if name == "list":
        return _list(rest)
    if name == "run" and rest and not rest[0].startswith("-") and _published(rest[0]):
        return _published_run(*rest)
    if name in ("run", "resume"):
        return _repeat(name, rest)
    if name not in spec.names("recipe"):
        raise unknown("command", name, [*spec.names("recipe"), *COMMANDS])
    return _recipe(name, rest)


def _recipe(name: str, arguments: list[str]) -> int:
    import tyro

    from .recipe import Recipe

    module = importlib.import_module(f"firstlight.recipe.{name}")
    kind = spec.find("recipe", name, Recipe)
    recipe = tyro.cli(kind, prog=f"firstlight {name}", description=module.__doc__, args=arguments)
    return _show(recipe.run())


def _show(events: Any) -> int:
    from .console import watch

    watch(events)
    return 0


def _published(name: str) -> bool:
    """Whether a name is meant for a published recipe: no file or folder has it, and it does not look like one's."""
    return not (Path(name).exists() or "/" in name or name.endswith(".json"))


def _published_run(name: str, *arguments: str) -> int:
    import tyro

    from . import recipes

    recipe, told = recipes.find(name), recipes.told(name)
    chosen = tyro.cli(type(recipe), prog=f"firstlight run {name}", description=told, default=recipe, args=arguments)
    return _show(chosen.run())


def _repeat(name: str, arguments: list[str]) -> int:
    if len(arguments) not in (1, 3) or arguments[0].startswith("-") or arguments[1:2] not in ([], ["--out"]):
        where = "RUN" if name == "resume" else "(recipe.json [--out FOLDER] | NAME [settings])"
        print(f"usage: firstlight {name} {where}\n\n{COMMANDS[name]}")
        return 0 if arguments in (["-h"], ["--help"]) else 2
    from .recipe import load

    recipe = load(arguments[0])
    if name == "resume":
        if len(arguments) == 3:
            raise InputError("resume writes to the run it resumes; it takes no --out")
        return _show(recipe.moved(Path(arguments[0])).run(resume=True))
    return _show(recipe.moved(Path(arguments[2]) if len(arguments) == 3 else None).run())


def _list(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: firstlight list {{{','.join(LISTS)}}} [PATTERN]\n\n{COMMANDS['list']}")
        return 0 if arguments else 2
    what, pattern = arguments[0], (arguments[1] if len(arguments) > 1 else "*")
    if what not in LISTS:
        raise unknown("list", what, LISTS)
    if what == "models":
        from . import encoder

        print("\n".join(encoder.names(pattern)))
        return 0
    import fnmatch

    names = fnmatch.filter(spec.names(what), pattern)
    for name in names:
        print(f"{name:{max(16, *map(len, names))}s} {spec.summary(what, name)}")
    return 0


def _help() -> str:
    lines = [f"  {name:12s} {spec.summary('recipe', name)}" for name in _ordered(spec.names("recipe"))]
    lines += [f"  {name:12s} {text[0].upper()}{text[1:]}." for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: firstlight COMMAND [settings]",
            "",
            "Pre-train vision models on pictures drawn from formulas, or on your own unlabelled pictures; fine-tune on",
            "a few labels; find out which road is best for your data.",
            "",
            *lines,
            "",
            "'firstlight COMMAND --help' lists a command's settings. Start with: firstlight quickstart",
        ]
    )


def _ordered(names: list[str]) -> list[str]:
    """The commands in the order in which a newcomer meets them; new ones come last."""
    first = ["quickstart", "compare", "render", "pretrain", "finetune", "evaluate", "inspect", "report", "export"]
    return [name for name in first if name in names] + [name for name in names if name not in first]
