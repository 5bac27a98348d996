"""Clouds of points: fractals in space mixed with parts of others, alone or in rooms full of them (PC-FractalDB).

Yamada et al., "Point cloud pre-training with natural 3D structures", CVPR 2022.
https://openaccess.thecvf.com/content/CVPR2022/papers/Yamada_Point_Cloud_Pre-Training_With_Natural_3D_Structures_CVPR_2022_paper.pdf
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from . import Formula, Kind, Params
from ._affine3d import spacious_system
from ._canvas import requirement
from ._chaos3d import MOST_MAPS, MOST_POINTS, centre, cloud_of, fit, gather
from ._classes import known
from ._math import cos_sin
from ._random import Draw

_require = requirement("points")

TRIES = 100
"""Places tried for an object before a scene is called full."""


@dataclass(frozen=True)
class Points(Formula):
    """Fractal clouds, float32 ``[points, 3]``; the size that a picture would have plays no part.

    A category is a system of 2 to 7 affine maps whose cloud is spread along every axis, as for ``fractal3d``. A
    member is FractalNoiseMix: four fifths of its points are of its class and one fifth is of another, drawn anew for
    each member; each part is scaled to a range of 2 and centred by itself. In a ``scene``, such members stand as
    objects on the floor of a room, the first of the scene's own class and the others of any; ``annotated`` tells
    their boxes and classes.

    Differs from the public code:

    * It mixes all classes with the same few others, in the same order, and a class may meet itself. There too, the
      sum of a part is divided by the number of all points when the part is centred, which pulls the parts apart:
      ``official``.
    * Every member has a walk of its own, of 128 chains in single precision; there, all members of a class share
      their four fifths. Range and mean are measured on whole rounds of the chains, up to 511 points more than shown.
    * How a cloud is fitted into its box is not published. Here every axis is stretched to fill it, so boxes are
      tight. Angles turn the first axis towards the second.
    * Other classes are always this formula's own, searched for when they are first needed, even where a codebook
      gives the member's class.

    Attributes:
        points: points of a cloud. If None, 10,000, and 40,000 for a scene, whose objects share them evenly.
        noise_share: the share of points that is of another class, 0 to below 1.
        classes: how many classes others are drawn from, at least 2.
        official: mixes as the public code does.
        scene: rooms instead of single objects.
        objects: the least objects of a scene; a Poisson number of mean 5 comes on top. Fewer where the room is full:
            no place in 100 tries with a quarter free between the circles around the boxes.
        room: the side of a room, of which no more than the centres of objects are inside. Objects are .75 to 1.25
            wide, and within a tenth of that deep and high.
        maps: the least and the most maps of a system, 2 to 7.
        variance: what the variance of a category's cloud must exceed along every axis, the range of all coordinates
            being 2; 0 to below 1.
        tries: systems looked at before the search for a category gives up.

    Raises:
        InputError: if a setting is out of range.
    """

    points: int | None = None
    noise_share: float = 0.2
    classes: int = 1000
    official: bool = False
    scene: bool = False
    objects: int = 15
    room: float = 15.0
    maps: tuple[int, int] = (2, 7)
    variance: float = 0.05
    tries: int = 100_000

    def __post_init__(self):
        object.__setattr__(self, "maps", tuple(self.maps))  # JSON brings a list, which cannot be hashed
        _require(self.points is None or 1 <= self.points <= MOST_POINTS, "points", self.points, f"1 to {MOST_POINTS:,}")
        _require(0 <= self.noise_share < 1, "noise_share", self.noise_share, "0 to below 1")
        _require(2 <= self.classes <= 1 << 24, "classes", self.classes, f"2 to {1 << 24:,}")
        _require(1 <= self.objects <= 10_000, "objects", self.objects, "1 to 10,000")
        _require(0 < self.room < math.inf, "room", self.room, "above 0, finite")
        fits = len(self.maps) == 2 and 2 <= self.maps[0] <= self.maps[1] <= MOST_MAPS
        _require(fits, "maps", self.maps, f"(least, most) within 2 to {MOST_MAPS}")
        _require(0 <= self.variance < 1, "variance", self.variance, "0 to below 1")
        _require(self.tries >= 1, "tries", self.tries, "at least 1")

    @property
    def kind(self) -> Kind:
        return "cloud"

    def category(self, draw: Draw) -> Params:
        """Draws systems until the cloud of one is spread enough: ``{"maps": float64 [N, 13]}``.

        Raises:
            InputError: if none of ``tries`` systems is.
        """
        return {"maps": spacious_system(draw, self.maps, self.variance, self.tries, "points")}

    def instance(self, params: Params, draw: Draw) -> Params:
        """Chooses what a member is mixed with and, in a scene, what stands where.

        Returns:
            ``maps`` as given; ``mixed`` int64 ``[K]``, the class that each object is mixed with; ``labels`` int64
            ``[K]``, the class of each object, the member's own first; in a scene ``boxes`` float64 ``[K, 7]``: centre,
            size, angle in radians. Without a scene K is 1.
        """
        boxes = _furnish(self.objects + _poisson_five(draw), self.room, draw) if self.scene else np.empty((1, 0))
        labels = np.append(draw.category, draw.integers(0, self.classes, len(boxes) - 1))
        if self.official:
            places = np.append(draw.instance or 0, draw.integers(0, self.classes, len(boxes) - 1))
            mixed = _shuffled(draw.seed, self.classes)[places % self.classes]
        else:
            mixed = draw.integers(0, self.classes - 1, len(boxes))
            mixed += mixed >= labels  # any class but its own
        found = {"maps": params["maps"], "labels": labels, "mixed": mixed}
        return found | {"boxes": boxes} if self.scene else found

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws a member as float32 ``[points, 3]``, its mean, or the middle of the room's floor, at the origin.

        Raises:
            InputError: if a system is none or out of all bounds, or the size is out of range although it is not used.
        """
        _require(8 <= size <= 8192, "size", size, "8 to 8192")
        labels, mixed = params["labels"].tolist(), params["mixed"].tolist()
        boxes = params["boxes"] if self.scene else np.empty((0, 7))
        cosines, sines = cos_sin(boxes[:, 6] / (2 * math.pi))
        cloud = np.empty((self.points or (40_000 if self.scene else 10_000), 3), np.float32)
        for number in range(len(labels)):
            part = cloud[number * len(cloud) // len(labels) : (number + 1) * len(cloud) // len(labels)]
            maps = params["maps"] if number == 0 else known(self, draw.seed, labels[number])["maps"]
            other = params["maps"] if mixed[number] == draw.category else known(self, draw.seed, mixed[number])["maps"]
            self._mix(maps, other, draw.split(number), part)
            if self.scene and len(part):
                fit(part, boxes[number], cosines[number], sines[number])
        return cloud

    def annotated(self, params: Params, size: int, draw: Draw) -> Params:
        """Draws a member; of a scene also ``boxes`` float32 ``[K, 7]`` and ``labels`` int64 ``[K]``.

        A box is its centre, its size and the angle in radians, within -pi to pi, by which it is turned about the
        third axis, the first axis towards the second.
        """
        found = {"cloud": self.render(params, size, draw)}
        if self.scene:
            found |= {"boxes": params["boxes"].astype(np.float32), "labels": params["labels"].astype(np.int64)}
        return found

    def _mix(self, maps: np.ndarray, other: np.ndarray, draw: Draw, cloud: np.ndarray) -> None:
        noise = int(len(cloud) * self.noise_share)
        start = len(cloud) - noise
        for number, (system, part) in enumerate(((maps, cloud[:start]), (other, cloud[start:]))):
            if len(part):
                points, frame = cloud_of(system, draw.split(number).key, len(part))
                gather(points, frame, part)
                if self.official:
                    part += ((frame[:3] - frame[4]) * frame[3] - 1) * (1 - len(part) / len(cloud))
        centre(cloud)


def _poisson_five(draw: Draw) -> int:
    """A Poisson number of mean 5: how many even numbers can be multiplied before the product falls to exp(-5)."""
    product, count = float(draw.uniform()), 0
    while product > 0.006737946999085467 and count < 100:  # beyond 100 with a chance of 1e-90
        product *= float(draw.uniform())
        count += 1
    return count


def _furnish(objects: int, side: float, draw: Draw) -> np.ndarray:
    """Boxes that leave a quarter between the circles around them, float64 ``[K, 7]``, K at least 1, on the floor."""
    boxes, circles = [], []
    for number in range(objects):
        own = draw.split(2 + number)  # render takes stream 1
        wide, deep, high, turns = own.uniform(0.0, 1.0, 4).tolist()
        wide = 0.75 + 0.5 * wide
        deep, high = wide * (0.9 + 0.2 * deep), wide * (0.9 + 0.2 * high)
        radius = math.sqrt(wide * wide + deep * deep) / 2
        for x, y in ((0.5 - own.uniform(0.0, 1.0, (TRIES, 2))) * side).tolist():
            if all(math.sqrt((x - u) * (x - u) + (y - v) * (y - v)) >= radius + r + 0.25 for u, v, r in circles):
                boxes.append((x, y, high / 2, wide, deep, high, (1 - 2 * turns) * math.pi))
                circles.append((x, y, radius))
                break
        else:
            break
    return np.array(boxes)


@lru_cache(maxsize=16)
def _shuffled(seed: int, classes: int) -> np.ndarray:
    """The classes in one random order for all members of a data set."""
    return np.argsort(Draw(seed, -1).bits(classes), kind="stable")
