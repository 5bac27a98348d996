"""RotNet: by how many quarter turns was the picture rotated?

Gidaris, Singh & Komodakis, "Unsupervised representation learning by predicting image rotations", ICLR 2018.
https://arxiv.org/abs/1803.07728
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from ..parts.losses import full, spread
from ..ranges import Shares
from ..views import Batch, View
from ..views.random import Salt, uniform
from . import Method, Optimisation


class Rotation(Method):
    """All four rotations of every picture are in the batch, as published, which is better than one at random.

    They are made here, of the finished views: after all augmentations, and without loss, since a quarter turn moves
    pixels and changes none. A flip afterwards would turn 90 degrees of one picture into 270 of its mirror image, and
    no network could tell the two apart.

    Differs from the public code: the momentum is not Nesterov's; the rate of .1 is for a batch of 256, not of 128 (192
    for ImageNet), and falls along a cosine, not in steps; crops are resized, where those of CIFAR-10 are moved by up to
    4 pixels.

    Args:
        encoder: any encoder.
        scale: the area of the random crops that are rotated, as a fraction of the picture's.
    """

    views = (View(),)
    optimisation = Optimisation("sgd", lr=0.1, warmup=0.05, weight_decay=5e-4, decay_vectors=True)

    def __init__(self, encoder: Encoder, *, scale: Shares = (0.2, 1.0)):
        super().__init__()
        self.views = (View(scale=tuple(scale)),)
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, 4)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        pictures, turns = four_rotations(batch.views[0])
        features = self.encoder(pictures)

        logits = full(self.head(features))
        accuracy = (logits.argmax(1) == turns).float().mean()
        return {"loss": F.cross_entropy(logits, turns), "accuracy": accuracy, "feature_std": spread(features)}

    def check(self, batch: int, parts: int = 1) -> None:
        super().check(batch, parts)
        if any(view.rotate or view.flip_vertical for view in self.views):
            raise InputError(
                "rotation asks how a picture was turned, and its views turn pictures themselves (upside down and "
                "mirrored is half a turn); allowed is View(rotate=0, flip_vertical=0)"
            )

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        turns = (uniform(batch.key, Salt.QUARTER) * 4).long()
        shown = turned(batch.views[0], turns)
        guess = self.head(self.encoder(shown)).argmax(1)
        return {"picture": batch.views[0], "turned": shown, "turned back": turned(shown, -guess % 4)}


def four_rotations(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures ``[4 B, C, S, S]`` turned by 0, 90, 180 and 270 degrees counter-clockwise, and their int64 ``[4 B]``."""
    turns = torch.arange(4, device=pictures.device).repeat_interleave(len(pictures))
    return torch.cat([torch.rot90(pictures, number, (2, 3)) for number in range(4)]), turns


def turned(pictures: Tensor, turns: Tensor) -> Tensor:
    """Each of ``[B, C, S, S]`` turned by its own number of quarter turns, int64 ``[B]``."""
    every = four_rotations(pictures)[0].unflatten(0, (4, -1))
    return every[turns, torch.arange(len(pictures), device=pictures.device)]
