"""Published sets and trainings, one file each; the docstring states data, cost and the result obtained.

``firstlight list recipes`` lists them, ``firstlight run NAME`` runs one; any of its settings can be replaced:
``firstlight run fractaldb_1k --steps 1000 --batch 64``.
"""

import importlib
import re
from typing import Any

from .. import spec
from ..errors import unknown
from ..recipe import Recipe

__all__ = ["find", "told"]

SPOKEN = {"1p_frac": "one_p_frac"}
"""Names that no file of Python can have."""


def find(name: str) -> Recipe:
    """The recipe of a published set: ``recipe`` in the file of that name. A hyphen is as good as an underscore.

    Raises:
        InputError: if there is none; the message names the nearest ones.
    """
    return _module(name).recipe


def told(name: str) -> str:
    """What its file says of it: the paper, the data, the cost and the published result."""
    return re.sub(r"\n(?=(Cost|Published|Training|Differs)\b)", "\n\n", str(_module(name).__doc__))


def _module(name: str) -> Any:
    name = name.lower().replace("-", "_")
    name = SPOKEN.get(name, name)
    if name not in spec.names("recipes"):
        raise unknown("recipe", name, spec.names("recipes"))
    return importlib.import_module(f"{__name__}.{name}")
