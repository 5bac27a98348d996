"""Bezier-1024: Bézier curves, 1024 pairs of their number and their control points, for ResNet-50.

Kataoka et al., "Pre-training without natural images", ACCV 2020, IJCV 2022. https://arxiv.org/abs/2101.08515

Data: a class for each pair on a grid of 32 by 32, 256 px; 1,000 pictures a class, which is our choice.
Cost: 360,000 steps of 256, 92 million pictures, drawn at about 12,000 a second on one AVX-512 core.
Published: CIFAR-10 89.7, CIFAR-100 68.1, ImageNet-100 73.0, Places-30 73.6 after fine-tuning;
from scratch 87.6, 60.6, 75.3, 70.3.
Differs: the training is FractalDB's (see ``fractaldb_1k``), with which the comparison was published; the rate falls
along a cosine. There is no public code for these pictures.
"""

from ..recipe.pretrain import Pretrain
from ._training import resnet50

recipe = Pretrain(data="bezier(grid=32)", categories=1024, instances=1000, **resnet50(1_024_000, side=256))
