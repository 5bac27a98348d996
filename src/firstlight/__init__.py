"""Pre-train vision models on pictures drawn from formulas, or on your own unlabelled pictures; fine-tune; compare.

>>> import firstlight
>>> firstlight.render("fractal", category=3, instance=0, size=64).shape
(64, 64)
>>> run = firstlight.pretrain(data="fractal", model="resnet18", size=64, steps=1000)  # doctest: +SKIP
>>> firstlight.compare("photos/", labels_per_class=10)  # doctest: +SKIP

Importing this costs nothing: torch is loaded by the first call that needs it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from .encoder import Encoder

__version__ = "0.1.0"
__all__ = [
    "compare",
    "evaluate",
    "finetune",
    "inspect",
    "list_evaluations",
    "list_formulas",
    "list_inspections",
    "list_methods",
    "load",
    "load_classifier",
    "pretrain",
    "render",
]


def pretrain(**settings: Any) -> Path:
    """Pre-trains an encoder and returns its run folder. Settings: ``firstlight.recipe.pretrain.Pretrain``."""
    return _run("pretrain", settings)


def finetune(data: str | Path, **settings: Any) -> Path:
    """Fine-tunes on labelled pictures and returns the run folder. Settings: ``recipe.finetune.Finetune``."""
    return _run("finetune", {"data": str(data), **settings})


def evaluate(data: str | Path, **settings: Any) -> Path:
    """Measures an encoder on labelled pictures; returns the run folder. Settings: ``recipe.evaluate.Evaluate``."""
    return _run("evaluate", {"data": str(data), **settings})


def inspect(what: str, run: str | Path, **settings: Any) -> Path:
    """Draws what a pre-training makes of pictures; returns the PNG file. Settings: ``recipe.inspect.Inspect``."""
    return _run("inspect", {"what": what, "folder": Path(run), **settings})


def compare(data: str | Path, **settings: Any) -> Path:
    """Says which road is best for these pictures; returns the run folder. Settings: ``recipe.compare.Compare``."""
    return _run("compare", {"data": str(data), **settings})


def render(
    formula: str = "fractal", *, category: int = 0, instance: int = 0, size: int = 224, seed: int = 0
) -> "np.ndarray":
    """Draws one picture: uint8 ``[size, size]`` or ``[size, size, 3]``, the same bytes on every machine.

    Args:
        formula: a family, with settings where wanted: ``"fractal(patch='density')"``.
        category: the number of the class, from 0.
        instance: the number of the picture within its class, from 0.
        size: the side in pixels.
        seed: another seed is another data set.

    Raises:
        InputError: for an unknown formula or setting, naming the nearest.
    """
    from . import spec
    from .formulas import Formula, picture

    return picture(spec.build("formulas", formula, Formula), category, instance, size=size, seed=seed)


def load(path: str | Path, **settings: Any) -> "Encoder":
    """Loads an encoder from a run folder, an encoder folder or a checkpoint; see ``encoder.Encoder.load``."""
    from .encoder import Encoder

    return Encoder.load(Path(path), **settings)


def load_classifier(path: str | Path, **settings: Any) -> "nn.Sequential":
    """Loads a run's classifier, from normalised pictures to logits; see ``classifier.load_classifier``."""
    from . import classifier

    folder = Path(path) / "classifier"
    return classifier.load_classifier(folder if folder.is_dir() else path, **settings)


def list_formulas() -> list[str]:
    """The names of all formula families."""
    return _names("formulas")


def list_methods() -> list[str]:
    """The names of all training methods."""
    return _names("methods")


def list_evaluations() -> list[str]:
    """The names of all evaluation protocols."""
    return _names("evaluations")


def list_inspections() -> list[str]:
    """The names of all ways to look inside what was trained."""
    return _names("inspections")


def _names(folder: str) -> list[str]:
    from . import spec

    return spec.names(folder)


def _run(name: str, settings: dict[str, Any]) -> Path:
    from . import spec
    from .console import watch
    from .recipe import Recipe

    kind = spec.find("recipe", name, Recipe)
    spec.check(kind, {k: v for k, v in settings.items() if k not in ("data", "what", "folder")}, name)
    return watch(kind(**settings).run())
