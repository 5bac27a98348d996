"""The formula that a composition is made of, written as text such as ``fractal(mode='density')``."""

from functools import lru_cache

from .. import spec
from ..errors import InputError
from . import Formula


@lru_cache(maxsize=256)
def inner(text: str) -> Formula:
    """The formula that ``text`` names, with its settings checked; built once a process."""
    return spec.build("formulas", text, Formula)


def checked(composition: str, text: str, *, never: str, directly: bool = False) -> Formula:
    """The inner formula of a composition, which must draw pictures.

    Args:
        composition: the composition's own name, for messages.
        text: its setting ``of``.
        never: the name of a formula that must not be inside it.
        directly: whether ``never`` is allowed deeper inside.

    Raises:
        InputError: if the text names no formula that draws pictures, or one of the forbidden ones.
    """
    formula = inner(text)
    if formula.kind != "picture":
        raise InputError(
            f"{composition}(of={text!r}): allowed are formulas of pictures, and this one draws {formula.kind}s"
        )
    names = [type(part).__module__.rpartition(".")[2] for part in chain(formula)]
    if never in names[: 1 if directly else None]:
        raise InputError(f"{composition}(of={text!r}): allowed are formulas other than {never}")
    return formula


def chain(formula: Formula) -> list[Formula]:
    """The formula, the one it is made of, and so on inwards."""
    found = [formula]
    while isinstance(text := getattr(found[-1], "of", None), str):
        found.append(inner(text))
    return found
