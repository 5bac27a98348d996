"""Bezier-144: Bézier curves, 144 pairs of their number and their control points, for ResNet-50.

Kataoka et al., "Pre-training without natural images", ACCV 2020, IJCV 2022. https://arxiv.org/abs/2101.08515

Data: a class for each pair on a grid of 12 by 12, 256 px; 1,000 pictures a class, which is our choice.
Cost: 50,625 steps of 256, 13 million pictures, drawn at about 38,000 a second on one AVX-512 core.
Published: CIFAR-10 87.6, CIFAR-100 62.5, ImageNet-100 72.7, Places-30 73.5 after fine-tuning;
from scratch 87.6, 60.6, 75.3, 70.3.
Differs: the training is FractalDB's (see ``fractaldb_1k``), with which the comparison was published; the rate falls
along a cosine. There is no public code for these pictures.
"""

from ..recipe.pretrain import Pretrain
from ._training import resnet50

recipe = Pretrain(data="bezier(grid=12)", categories=144, instances=1000, **resnet50(144_000, side=256))
