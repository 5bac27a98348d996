"""Fractals in space: clouds of points of random affine maps, seen from many sides (ExFractalDB, MV-FractalDB).

Kataoka et al., "Replacing labeled real-image datasets with auto-generated contours", CVPR 2022 (ExFractalDB).
https://arxiv.org/abs/2206.09132
Yamada et al., "MV-FractalDB: formula-driven supervised learning for multi-view image recognition", IROS 2021.
https://github.com/ryosuke-yamada/3dfractaldb
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from ..errors import InputError
from . import Formula, Params
from ._affine3d import WEIGHTS, spacious_system, spatial_weights
from ._canvas import averaged, drawn_side, requirement
from ._chaos3d import MOST_MAPS, MOST_POINTS, cloud_of
from ._project import project, random_view, ring_view
from ._random import Draw

_require = requirement("fractal3d")


@dataclass(frozen=True)
class Fractal3d(Formula):
    """Iterated function systems of space, drawn as points in perspective.

    A category is a system of 2 to 7 affine maps whose cloud is spread along every axis. Its members count through the
    rows of weights and, for each, through the views: with random views, member ``i`` has row ``i // 40 % 25``, which
    makes the 1,000 members of an ExFractalDB class; ``fractal3d(camera='ring', weights=145)`` has row ``i // 12`` and
    view ``i % 12``, the 1,740 of an MV-FractalDB class. Members of one row show the same points; later members repeat
    the rows with other random views.

    Differs from the public code:

    * It draws rings of views only, which its authors call MV-FractalDB. Random views are the papers' ExFractalDB;
      here the camera's whole rotation is random, the turn about its own axis included.
    * Its ring strays from the twelve places by up to pi degrees, because an angle in radians is converted to radians
      once more: ``jitter``.
    * Its pictures are stored upside down; these stand upright.
    * Every cloud has a walk of its own, of 128 chains in single precision after 32 rounds of settling, where the
      public one has one chain in double precision from the origin, 9,999 points long.
    * A member that flies apart is drawn with its linear parts shrunk by tenths until it stays; the public one is
      missing.
    * The number of points shrinks with small pictures unless given, and what is smaller than 128 pixels is drawn
      larger and averaged.

    Attributes:
        camera: where a cloud is seen from: ``random``, from anywhere, or ``ring``, from a ring about the y axis.
        views: how many views a cloud has. If None, 40 random ones, or 12 around the ring.
        weights: rows of weights: 1, 25, 49, 73, 97, 121 or 145, the public files ``weights_ins*.csv``.
        jitter: degrees by which a view of the ring strays to either side, 0 to 180. If None, pi, as the public code
            does; 0 is the exact ring.
        shaded: near points are brighter, from 255 down to 63; else all points are white.
        maps: the least and the most maps of a system, 2 to 7.
        variance: what the variance of a category's cloud must exceed along every axis, the range of all coordinates
            being 2; 0 to below 1. The public scripts use .05, their programs' own default is .15, for which the
            search looks at thirty times as many systems.
        tries: systems looked at before the search for a category gives up.
        points: points of a cloud. If None, 10,000, less in proportion to the drawn area below 224 pixels.
        oversample: how many times larger the picture is drawn before it is averaged down. If None, what brings it to
            128 pixels or just below.

    Raises:
        InputError: if a setting is out of range.
    """

    camera: Literal["random", "ring"] = "random"
    views: int | None = None
    weights: int = 25
    jitter: float | None = None
    shaded: bool = False
    maps: tuple[int, int] = (2, 7)
    variance: float = 0.05
    tries: int = 100_000
    points: int | None = None
    oversample: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "maps", tuple(self.maps))  # JSON brings a list, which cannot be hashed
        _require(self.camera in ("random", "ring"), "camera", self.camera, "'random' or 'ring'")
        _require(self.views is None or 1 <= self.views <= 1 << 20, "views", self.views, f"1 to {1 << 20:,}")
        _require(self.weights in WEIGHTS, "weights", self.weights, f"one of {', '.join(map(str, WEIGHTS))}")
        _require(self.jitter is None or 0 <= self.jitter <= 180, "jitter", self.jitter, "0 to 180 degrees")
        fits = len(self.maps) == 2 and 2 <= self.maps[0] <= self.maps[1] <= MOST_MAPS
        _require(fits, "maps", self.maps, f"(least, most) within 2 to {MOST_MAPS}")
        _require(0 <= self.variance < 1, "variance", self.variance, "0 to below 1")
        _require(self.tries >= 1, "tries", self.tries, "at least 1")
        _require(self.points is None or 1 <= self.points <= MOST_POINTS, "points", self.points, f"1 to {MOST_POINTS:,}")
        _require(self.oversample is None or self.oversample >= 1, "oversample", self.oversample, "at least 1")

    def category(self, draw: Draw) -> Params:
        """Draws systems until the cloud of one is spread enough: ``{"maps": float64 [N, 13]}``.

        Raises:
            InputError: if none of ``tries`` systems is.
        """
        return {"maps": spacious_system(draw, self.maps, self.variance, self.tries, "fractal3d")}

    def instance(self, params: Params, draw: Draw) -> Params:
        """Scales one coefficient of every map and chooses the view, as ``draw.instance`` counts.

        Returns:
            ``maps`` float64 ``[N, 13]``; ``walk``, uint64, which seeds the chains and is the same for all views of
            the cloud; ``view`` float64 ``[3, 3]``, whose rows point to the camera's right, up and behind it.

        Raises:
            InputError: if ``params`` are not those of maps of space.
        """
        if params["maps"].shape[1:] != (13,):
            shape = list(params["maps"].shape)
            raise InputError(f"fractal3d: a class is maps float64 [N, 13], got {shape}: check the codebook")
        views = self.views or (40 if self.camera == "random" else 12)
        row, place = divmod(draw.instance or 0, views)
        row %= self.weights
        view = np.empty((3, 3))
        with np.errstate(over="ignore"):
            if self.camera == "random":
                random_view(np.uint64(draw.key), view)
            else:
                stray = math.pi if self.jitter is None else self.jitter
                ring_view(np.uint64(draw.key), place / views + 1 / 12, stray / 360, view)
        maps = params["maps"] * spatial_weights(self.weights)[row]
        return {"maps": maps, "walk": _walk(draw.seed, draw.category, row), "view": view}

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws a member as uint8 ``[size, size]``, black with white or grey points.

        Raises:
            InputError: if the size is out of range, or the system is none or out of all bounds.
        """
        canvas, factor = drawn_side("fractal3d", size, self.oversample)
        points = self.points or min(10_000, 10_000 * canvas**2 // 224**2)
        cloud, frame = cloud_of(params["maps"], int(params["walk"]), points)
        picture = np.zeros((canvas, canvas), np.uint8)
        project(cloud, frame, points, params["view"], self.shaded, picture)
        return averaged(picture, factor)


@lru_cache(maxsize=1 << 12)
def _walk(seed: int, category: int, row: int) -> np.ndarray:
    """What seeds the chains of a cloud: a stream of the class that the search for it never reaches."""
    walk = np.array(Draw(seed, category).split(-1 - row).key, np.uint64)
    walk.flags.writeable = False
    return walk
