"""What a method wants to see of one picture, said without naming any library, and the batch it receives."""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError

__all__ = [
    "BYOL",
    "CENTER",
    "MOCO_V1",
    "MOCO_V2",
    "MULTI_CROP",
    "PAIR",
    "PLAIN",
    "SWAV",
    "Batch",
    "Geometry",
    "View",
    "count",
]


@dataclass(frozen=True)
class View:
    """``count`` crops of one picture made the same way, each sample with its own draw. Zero switches a step off.

    The steps run in the order of the fields: crop and resize, flips, rotation, RandAugment, colour, grey, blur,
    solarise, normalise, erase.
    """

    count: int = 1
    size: float = 1.0
    """side, as a fraction of the recipe's picture size"""
    crop: Literal["random", "center"] = "random"
    """random resized crop, or the whole picture resized and its centre kept"""
    scale: tuple[float, float] = (0.2, 1.0)
    """the crop's area as a fraction of the picture's (random), drawn uniformly"""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """the crop's width / height, drawn log-uniformly"""
    keep: float = 1.0
    """the side of the kept centre as a fraction of the resized short side (center)"""
    bicubic: bool = False
    flip: float = 0.5
    """probability of a left-right flip"""
    flip_vertical: float = 0.0
    rotate: float = 0.0
    """probability of a rotation by a multiple of 90 degrees, all four equally likely"""
    randaugment: float = 0.0
    """mean strength of two random operations, 0 to 10; 9 is the usual one"""
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """brightness, contrast, saturation and hue, in torchvision's ranges, in a random order for each sample"""
    jitter_p: float = 0.8
    gray: float = 0.0
    blur: float = 0.0
    """probability of a Gaussian blur with the standard deviation drawn from ``sigma``"""
    sigma: tuple[float, float] = (0.1, 2.0)
    """in pixels of a 224-pixel picture; scaled with the view's side"""
    solarize: float = 0.0
    """probability of inverting all values of 0.5 (128 of 255) and above"""
    erase: float = 0.0
    """probability of replacing a random rectangle (2 to 33 % of the area) by noise, after normalising"""
    like: int | None = None
    """the number of another view, by whose draws this one is cropped, flipped and rotated: to see the same part of the
    picture, its ranges must be the same too"""

    def __post_init__(self):
        if not 0 <= self.randaugment <= 10:
            raise InputError(f"View(randaugment={self.randaugment!r}): allowed is 0 to 10")
        for name in ("flip", "flip_vertical", "rotate", "jitter_p", "gray", "blur", "solarize", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"View({name}={getattr(self, name)!r}): allowed is 0 to 1")
        for name, most in (("scale", 1.0), ("ratio", float("inf"))):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise InputError(f"View({name}={(low, high)!r}): needs 0 < least <= most{' <= 1' * (most == 1)}")


PLAIN = (View(),)
CENTER = (View(crop="center", flip=0.0, keep=1.0),)

_SIMCLR = View(2, scale=(0.08, 1.0), jitter=(0.8, 0.8, 0.8, 0.2), gray=0.2, blur=0.5)
PAIR = (_SIMCLR,)

MOCO_V1 = (View(2, jitter=(0.4, 0.4, 0.4, 0.4), jitter_p=1.0, gray=0.2),)
MOCO_V2 = (View(2, jitter=(0.4, 0.4, 0.4, 0.1), gray=0.2, blur=0.5),)
SWAV = (replace(_SIMCLR, scale=(0.14, 1.0)), replace(_SIMCLR, count=6, size=96 / 224, scale=(0.05, 0.14)))

_FIRST = View(scale=(0.08, 1.0), bicubic=True, jitter=(0.4, 0.4, 0.2, 0.1), gray=0.2, blur=1.0)
BYOL = (_FIRST, replace(_FIRST, blur=0.1, solarize=0.2))

MULTI_CROP = (
    replace(_FIRST, scale=(0.4, 1.0)),
    replace(_FIRST, scale=(0.4, 1.0), blur=0.1, solarize=0.2),
    replace(_FIRST, count=8, size=96 / 224, scale=(0.05, 0.4), blur=0.5),
)


def count(views: tuple[View, ...]) -> int:
    """How many pictures a method sees of each sample."""
    return sum(view.count for view in views)


@dataclass
class Geometry:
    """Where one view came from, for methods that need to know. All ``[B]`` or ``[B, 4]`` on the batch's device."""

    box: Tensor
    """top, left, height, width of the crop in the source picture's pixels, float32 ``[B, 4]``"""
    flipped: Tensor
    """bool ``[B]``, left-right"""
    flipped_vertical: Tensor
    turns: Tensor
    """int64 ``[B]``, quarter turns counter-clockwise, after the flips"""


@dataclass
class Batch:
    """What a method receives.

    Attributes:
        views: one float tensor ``[B, C, S, S]`` for each crop, in the order the method declared them.
        label: int64 ``[B]``, -1 where unlabelled.
        key: int64 ``[B]``, one random key for each sample, a pure function of (seed, epoch, sample). A method's own
            random draws (masks, mixing) come from here, so that they depend on neither workers nor ranks.
        index: int64 ``[B]``, the pictures' numbers in their set.
        geometry: one record for each view.
        maps: what else is known of each pixel of view 0, ``[B, 1, S, S]``, for methods that ask for it: "depth",
            float32, 0 where it was not measured, and "classes", int64, -1 where unknown.
    """

    views: list[Tensor]
    label: Tensor
    key: Tensor
    index: Tensor
    geometry: list[Geometry] = field(default_factory=list)
    maps: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label)

    def to(self, device: str | torch.device) -> "Batch":
        """The same batch on another device."""
        move = lambda x: x.to(device, non_blocking=True)  # noqa: E731
        geometry = [Geometry(*(move(x) for x in vars(g).values())) for g in self.geometry]
        maps = {kind: move(values) for kind, values in self.maps.items()}
        return Batch([move(v) for v in self.views], move(self.label), move(self.key), move(self.index), geometry, maps)
