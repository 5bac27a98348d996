"""FractalDB-1k for a vision transformer: DeiT-Tiny with the data-efficient training.

Nakashima et al., "Can vision transformers learn without natural images?", AAAI 2022. https://arxiv.org/abs/2103.13023

Data: as ``fractaldb_1k``.
Cost: 1,171,875 steps of 256, 300 million pictures, drawn at about 5,000 a second on one AVX-512 core.
Published: CIFAR-10 96.8, CIFAR-100 81.6, Cars 86.0, Flowers 98.3, VOC12 84.5, Places-30 78.0, ImageNet-100 87.3;
from scratch 78.3, 57.7, 11.6, 77.1, 64.8, 75.7, 73.2; from ImageNet-1k 98.0, 85.5, 89.9, 99.4, 88.7, 80.0.
Differs: colour jitter of .4 is left out, as timm leaves it out beside RandAugment; bilinear resizing; no repeated
augmentation (of the same picture several times in a batch). RandAugment is two keyed operations of mean strength 9,
not timm's own list. The batch is not known to us; the rate, 3e-4 for 512, scales with it.
"""

from ..recipe.pretrain import Pretrain
from ._training import deit

training = deit("deit_tiny_patch16_224", 1_000_000, epochs=300, batch=256, side=362, warmup=10 / 300)
recipe = Pretrain(
    data="fractal(interval=0.4, points=200000)", categories=1000, instances=1000, **(training | {"lr": 3e-4 / 2})
)  # fmt: skip
