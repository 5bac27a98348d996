"""The neck: the first layers of a projection head, kept after pre-training as the last layers of the encoder.

SimCLR v2: Chen et al., NeurIPS 2020. https://arxiv.org/abs/2006.10029
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from .errors import CorruptError


class Neck(nn.Sequential):
    """Linear without bias, batch norm and ReLU, as often as there are layers.

    Args:
        widths: of the features that come in, then of what each layer puts out.
        device: where its weights are made.

    Attributes:
        widths: as above.
    """

    def __init__(self, widths: Sequence[int], device: str | None = None):
        steps: list[nn.Module] = []
        for entry, width in pairwise(widths):
            steps += [nn.Linear(entry, width, bias=False, device=device), nn.BatchNorm1d(width, device=device)]
            steps.append(nn.ReLU())
        super().__init__(*steps)
        self.widths = tuple(widths)


def rebuilt(about: dict[str, Any], weights: dict[str, Tensor], entry: int, source: str) -> Neck:
    """The neck with these weights, bit for bit.

    Args:
        about: its description in ``config.json``.
        weights: by name.
        entry: the width of the network before it.
        source: the file, for the error's message.

    Raises:
        CorruptError: if description, weights and network do not belong together.
    """
    widths = about.get("widths")
    plain = isinstance(widths, list) and len(widths) > 1 and all(type(width) is int and width > 0 for width in widths)
    if not plain or widths[0] != entry:
        raise CorruptError(f"{source!r}: its widths must be whole numbers that begin with {entry}, got {widths!r}")
    neck = Neck(widths, device="meta")  # nothing is allocated before the shapes are known to be right
    shapes = {name: value.shape for name, value in neck.state_dict().items()}
    if shapes != {name: value.shape for name, value in weights.items()}:
        raise CorruptError(f"{source!r} does not hold a neck of the widths {widths}")
    neck.load_state_dict(weights, assign=True)
    return neck
