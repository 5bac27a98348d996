"""Perlin-100: gradient noise in a hundred pairs of frequencies, for ResNet-50.

Inoue et al., "Initialization using Perlin noise for training networks with a limited amount of data", ICPR 2020.
https://doi.org/10.1109/ICPR48806.2021.9412955; compared in Kataoka et al., IJCV 2022. https://arxiv.org/abs/2101.08515

Data: a class for each pair of frequencies from 1 to 10, 256 px; 1,000 pictures a class, which is our choice.
Cost: 35,156 steps of 256, 9 million pictures, drawn at about 60,000 a second on one AVX-512 core.
Published: CIFAR-10 90.9, CIFAR-100 70.2, ImageNet-100 73.0, Places-30 73.3 after fine-tuning;
from scratch 87.6, 60.6, 75.3, 70.3.
Differs: the training is FractalDB's (see ``fractaldb_1k``), with which the comparison was published; the rate falls
along a cosine. There is no public code for these pictures.
"""

from ..recipe.pretrain import Pretrain
from ._training import resnet50

recipe = Pretrain(data="perlin(grid=10)", categories=100, instances=1000, **resnet50(100_000, side=256))
