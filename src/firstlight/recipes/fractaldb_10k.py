"""FractalDB-10k: ten million pictures of ten thousand fractals, for ResNet-50.

Kataoka et al., "Pre-training without natural images", ACCV 2020, IJCV 2022. https://arxiv.org/abs/2101.08515

Data: 10,000 categories of 1,000 pictures, drawn as ``fractaldb_1k``.
Cost: 3,515,625 steps of 256, 900 million pictures, drawn at about 5,000 a second on one AVX-512 core. Finding the
classes takes about half a minute; ``firstlight codebook`` keeps them.
Published: CIFAR-10 94.1, CIFAR-100 77.3, ImageNet-1k 71.5, Places-365 50.8, VOC12 73.6, Omniglot 29.2.
Differs: as ``fractaldb_1k``.
"""

from ..recipe.pretrain import Pretrain
from ._training import resnet50

recipe = Pretrain(
    data="fractal(interval=0.4, points=200000)", categories=10_000, instances=1000, **resnet50(10_000_000)
)  # fmt: skip
