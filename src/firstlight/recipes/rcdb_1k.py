"""RCDB-1k: a million pictures of a thousand radial contours, for a vision transformer.

Kataoka et al., "Replacing labeled real-image datasets with auto-generated contours", CVPR 2022.
https://arxiv.org/abs/2206.09132

Data: 1,000 categories of 1,000 pictures, 512 px, in the form of the public code, which made the public set.
``--data contour`` is the paper's form, in which radius and axes belong to the class.
Cost: 1,171,875 steps of 256, 300 million pictures, drawn at about 3,000 a second on one AVX-512 core.
Published (DeiT-Tiny): CIFAR-10 97.0, CIFAR-100 82.2, Cars 86.5, Flowers 98.9.
Differs: bilinear resizing; no repeated augmentation (of the same picture several times in a batch). RandAugment is two
keyed operations of mean strength 9, not timm's own list.
"""

from ..recipe.pretrain import Pretrain
from ._training import deit

recipe = Pretrain(
    data="contour(form='code')", categories=1000, instances=1000,
    **deit("deit_tiny_patch16_224", 1_000_000, epochs=300, batch=256, side=512),
)  # fmt: skip
