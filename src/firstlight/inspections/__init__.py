"""Ways to look inside what was trained. One file each; every one takes a method and a batch, and returns pictures."""

from dataclasses import dataclass

from ..methods import Method
from ..result import Result
from ..views import Batch

__all__ = ["Inspection"]


@dataclass(frozen=True)
class Inspection:
    """Base of all inspections. Fields are settings."""

    def run(self, method: Method, batch: Batch) -> Result:
        """Looks at what a method makes of a batch, which must lie on the method's device.

        Args:
            method: with the encoder that it holds; it is left as it was found.
            batch: the views that the method declared.

        Raises:
            InputError: if the method has nothing of the kind to show.
        """
        raise NotImplementedError
