"""FractalDB-60: sixty fractals, sixty thousand pictures; the small set to try things on.

Kataoka et al., "Pre-training without natural images", ACCV 2020, IJCV 2022. https://arxiv.org/abs/2101.08515

Data: 60 categories of 1,000 pictures, drawn as ``fractaldb_1k``.
Cost: 21,093 steps of 256, 5.4 million pictures: an hour or two on one GPU.
Published: the authors share the set as a demonstration; we know of no figures.
Differs: as ``fractaldb_1k``, whose training this takes over.
"""

from ..recipe.pretrain import Pretrain
from ._training import resnet50

recipe = Pretrain(
    data="fractal(interval=0.4, points=200000)", categories=60, instances=1000, **resnet50(60_000)
)  # fmt: skip
