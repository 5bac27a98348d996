"""MV-FractalDB: twelve views around each of 145 clouds of a thousand fractals in space.

Yamada et al., "MV-FractalDB: formula-driven supervised learning for multi-view image recognition", IROS 2021.
https://github.com/ryosuke-yamada/3dfractaldb

Data: 1,000 spatial systems, 145 weights x 12 views on a ring each, 224 px; written as tar shards, views in order, so
that twelve pictures in a row are one object.
Cost: 1.74 million pictures, drawn at about 60,000 a second on one AVX-512 core and written at some thousands a second.
Published: pre-training for networks that look at all views at once; we have no figures that we could verify.
Differs: this draws the set only, because we have no multi-view network. The public pictures stand upside down.
"""

from pathlib import Path

from ..recipe.render import Render

recipe = Render(
    formula="fractal3d(camera='ring', weights=145)", categories=1000, instances=145 * 12, size=224, format="tar",
    order="classes", shard_size=1740, out=Path("mv_fractaldb"),
)  # fmt: skip
