"""What a method makes of pictures: hidden parts painted back, colours put in, puzzles solved, beside what was there.

Such figures stand in the papers of these methods, for instance in He et al., CVPR 2022,
https://arxiv.org/abs/2111.06377
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import spec
from ..encoder import Encoder
from ..errors import InputError
from ..methods import Method
from ..result import Result, sheet
from ..views import Batch
from . import Inspection

LARGEST = 160
"""pixels a side; larger pictures are reduced to it, so that a report of dozens stays below some megabytes"""


@dataclass(frozen=True)
class Reconstruction(Inspection):
    """Draws each picture of a batch as it was, as the method saw it, and as the method says that it was."""

    def run(self, method: Method, batch: Batch) -> Result:
        if not reconstructs(type(method)):
            able = [name for name in spec.names("methods") if reconstructs(spec.find("methods", name, Method))]
            raise InputError(f"{method_name(method)} predicts no pictures; those that do: {', '.join(able)}")

        training = method.training
        try:
            with torch.no_grad():
                shown = method.eval().reconstruct(batch)
        finally:
            method.train(training)
        if not shown:
            raise InputError(f"{method_name(method)} has no pictures to show with these settings")

        columns = [pixels(values, method.encoder) for values in shown.values()]
        pictures = [picture for row in zip(*columns) for picture in row]
        figure = sheet(pictures, len(columns), heads=list(shown), side=LARGEST)
        text = f"{method_name(method)} on {len(batch)} pictures: {', '.join(shown)}."
        settings = {"pictures": len(batch), "method": method_name(method)}
        return Result("reconstruction", "What it makes of pictures", text, figures=[figure], settings=settings)


def reconstructs(kind: type[Method]) -> bool:
    """Whether a kind of method says what pictures were like."""
    return kind.reconstruct is not Method.reconstruct


def method_name(method: Method) -> str:
    """What the method is called: its file's name."""
    return type(method).__module__.rpartition(".")[2]


def pixels(values: Tensor, encoder: Encoder) -> list[np.ndarray]:
    """Normalised pictures ``[B, C, S, S]`` as uint8 ``[S, S]`` or ``[S, S, 3]``; values beyond are clipped."""
    mean, std = (torch.as_tensor(value, dtype=torch.float32).view(-1, 1, 1) for value in (encoder.mean, encoder.std))
    whole = ((values.detach().float().cpu() * std + mean) * 255).round().clamp(0, 255).byte().numpy()
    return [picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0) for picture in whole]
