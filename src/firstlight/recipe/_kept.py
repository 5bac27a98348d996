"""Pictures that a training leaves in its run folder, for its report."""

import contextlib
from typing import TYPE_CHECKING

from ..errors import InputError
from ..runs import Run

if TYPE_CHECKING:
    from ..data import Pictures
    from ..methods import Method
    from ..views.batches import Batches

SHOWN = 8
"""pictures of which a training shows at its end what its method makes of them"""


def keep_sheet(run: Run, pictures: "Pictures") -> None:
    """Keeps a few of the pictures that are learned from."""
    from ..result import Result, sheet
    from .render import first_of_each

    several = len(pictures.classes) > 1
    title = "One row for each class, one column for each picture" if several else "The first pictures"
    shown = pictures.read(first_of_each(pictures, classes=8, members=6))
    Result("pictures", "What it was trained on", figures=[sheet(shown, 6, title=title)]).save(run.results)


def keep_reconstruction(run: Run, method: "Method", batches: "Batches") -> None:
    """Keeps what the method makes of a few pictures, if it is one that predicts pictures."""
    from ..inspections.reconstruction import Reconstruction, reconstructs

    if reconstructs(type(method)):
        with contextlib.suppress(InputError):  # it could, but not with these settings
            Reconstruction().run(method, batches.some(SHOWN)).save(run.results)
