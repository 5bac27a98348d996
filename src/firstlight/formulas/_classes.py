"""The other classes of a formula, for members that are put together from several of them."""

from functools import lru_cache

from . import Formula, Params
from ._random import Draw


@lru_cache(maxsize=1 << 16)
def known(formula: Formula, seed: int, category: int) -> Params:
    """The parameters of a class, searched for once a process. The arrays cannot be written to."""
    params = formula.category(Draw(seed, category))
    for value in params.values():
        value.flags.writeable = False
    return params
