"""Several members of another family in one picture, with boxes and labels: for detection and multi-label pre-training.

Anderson & Farrell, "Improving fractal pre-training", WACV 2022. https://arxiv.org/abs/2110.03091
"""

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from . import Formula, Params, picture
from ._background import empty, paste, surround
from ._canvas import requirement
from ._classes import known
from ._inner import checked, inner
from ._random import Draw
from ._scratch import borrowed

_require = requirement("several")

LEAST_SIDE = 8
"""Pixels; no family draws smaller."""
MOST_CLASSES = 1 << 20


@dataclass(frozen=True)
class Several(Formula):
    """One to five members of another family's classes, at random sizes and places, the later behind the earlier.

    The class of a picture is that of its first object, which lies on top of the others and wholly inside the frame, so
    that a single label is always true. The others are of any class and may stick out by up to half of their side. An
    object of which no pixel is left to see has no box.

    Where the inner family leaves pixels empty, what lies behind shows; the canvas is empty in the same value, black
    for fractals and white for contours. Families without empty pixels are pasted as squares, on black.

    With the published colours and backgrounds:
    ``painted(of="several(of='painted(background=None, blur=0)')", colour=False)``.

    Differs from the public code:

    * Objects are drawn at the size they are shown, where the public code stretches them from half the picture's side.
    * Every object is drawn anew, where the public code takes them from the last 512, drawing one for two pictures.
    * The first object's place, as above.

    Attributes:
        of: the inner formula with its settings, as text. Not ``several`` again.
        count: the fewest and the most objects, 1 to 255, all numbers alike.
        classes: how many classes of the inner formula there are.
        members: how many members of each class there are.
        sizes: the smallest and largest side of an object, as a share of the picture's; at least 8 pixels are drawn.
        flips: transposes and flips objects, each with a chance of one half.

    Raises:
        InputError: if a setting is out of range, or ``of`` is no formula of pictures.
    """

    of: str = "fractal(mode='density', sampler='svd', points=100_000)"
    count: tuple[int, int] = (1, 5)
    classes: int = 100
    members: int = 1000
    sizes: tuple[float, float] = (0.15, 0.6)
    flips: bool = True

    def __post_init__(self):
        object.__setattr__(self, "count", tuple(self.count))  # lists, read from JSON, could not be hashed
        object.__setattr__(self, "sizes", tuple(self.sizes))
        _require(_rising(self.count, 1, 255), "count", self.count, "(fewest, most) within 1 to 255")
        fits = _rising(self.sizes, 0, 1) and self.sizes[0] > 0
        _require(fits, "sizes", self.sizes, "(smallest, largest) above 0 and at most 1")
        _require(1 <= self.members <= 1 << 31, "members", self.members, "1 to 2 ** 31")
        most = checked("several", self.of, never="several").categories or MOST_CLASSES
        _require(1 <= self.classes <= most, "classes", self.classes, f"1 to {most:,}, the classes of {self.of}")

    @property
    def categories(self) -> int:
        return self.classes

    def category(self, draw: Draw) -> Params:
        """The parameters of the first object's class, their names after ``of.``, and its number, ``class``.

        Raises:
            InputError: if the number is beyond ``classes``.
        """
        if not 0 <= draw.category < self.classes:
            raise InputError(f"several(classes={self.classes}): there is no class {draw.category}")
        first = known(inner(self.of), draw.seed, draw.category)
        return {"class": np.array(draw.category)} | {f"of.{name}": value for name, value in first.items()}

    def instance(self, params: Params, draw: Draw) -> Params:
        """Draws what stands where.

        Returns:
            ``params`` and of each object the class and the number within it, ``objects`` int64 ``[K, 2]``, the side
            and the place, ``frames`` float64 ``[K, 3]`` in 0..1, and ``turns`` int64 ``[K]``, bits for transposed,
            upside down and left to right.
        """
        number = int(draw.integers(self.count[0], self.count[1] + 1))
        objects = np.stack([draw.integers(0, self.classes, number), draw.integers(0, self.members, number)], 1)
        objects[0, 0] = params["class"]
        frames = draw.uniform(shape=(number, 3))
        frames[:, 0] = self.sizes[0] + (self.sizes[1] - self.sizes[0]) * frames[:, 0]
        turns = draw.integers(0, 8, number) if self.flips else np.zeros(number, np.int64)
        return params | {"objects": objects, "frames": frames, "turns": turns}

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws the objects, the first last, as uint8 ``[size, size]``, or ``[size, size, 3]`` of a coloured family.

        Raises:
            InputError: if the size is out of range.
        """
        return self._draw(params, size, draw.seed)[0]

    def annotated(self, params: Params, size: int, draw: Draw) -> Params:
        """The picture with ``boxes`` float32 ``[K, 4]``, ``labels`` int64 ``[K]`` and ``present`` uint8 ``[classes]``.

        Boxes (left, top, right, bottom; right and bottom one beyond the last pixel) are tight around the pixels of an
        object that are seen. Objects in the order they were drawn in ``instance``, without those that are hidden.
        """
        drawn, owner = self._draw(params, size, draw.seed)
        boxes = np.empty(4 * len(params["objects"]), np.int64)
        surround(owner, size, boxes)
        boxes = boxes.reshape(-1, 4)
        seen = boxes[:, 2] > 0
        labels = params["objects"][seen, 0]
        present = np.zeros(self.classes, np.uint8)
        present[labels] = 1
        return {"picture": drawn, "boxes": boxes[seen].astype(np.float32), "labels": labels, "present": present}

    def _draw(self, params: Params, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The picture, and the number of the object on each pixel from 1, 0 for none: uint8 ``[size * size]``."""
        _require(8 <= size <= 8192, "size", size, "8 to 8192 pixels")
        formula, nothing, canvas = inner(self.of), empty(inner(self.of)), np.empty(0, np.uint8)
        ground = _BLACK if nothing is None else nothing
        owner = borrowed("objects", size * size, np.uint8)
        owner.fill(0)
        for k in range(len(params["objects"]) - 1, -1, -1):
            category, member = params["objects"][k].tolist()
            own = {name[3:]: value for name, value in params.items() if name.startswith("of.")} if k == 0 else None
            share, across, down = params["frames"][k].tolist()
            side = min(size, max(LEAST_SIDE, int(share * size)))
            drawn = picture(
                formula, category, member, size=side, seed=seed, params=own or known(formula, seed, category)
            )
            if not canvas.size:
                canvas = np.full((size, size, *drawn.shape[2:]), ground if drawn.ndim == 3 else ground[0], np.uint8)
            # Anywhere inside for the first object; with the centre inside for the others.
            free, start = (size - side + 1, 0) if k == 0 else (size, -(side // 2))
            left, top = start + int(across * free), start + int(down * free)
            square, what = (drawn.reshape(-1), side, drawn.size // side**2), (ground, nothing is None)
            turn, flat = int(params["turns"][k]), canvas.reshape(-1)
            paste(*square, *what, turn, left, top, k + 1, size, flat, owner)
        return canvas, owner


_BLACK = np.zeros(3, np.uint8)


def _rising(pair: tuple, low: float, high: float) -> bool:
    return len(pair) == 2 and low <= pair[0] <= pair[1] <= high
