"""ExFractalDB-1k: a million views of a thousand fractals in space, for a vision transformer.

Kataoka et al., "Replacing labeled real-image datasets with auto-generated contours", CVPR 2022.
https://arxiv.org/abs/2206.09132

Data: 1,000 spatial systems, 25 weights x 40 random views each, 10,000 points, 224 px, as the paper says. The public
script draws rings of views instead: ``mv_fractaldb``.
Cost: 1,171,875 steps of 256, 300 million pictures, drawn at about 60,000 a second on one AVX-512 core.
Published (DeiT-Tiny): CIFAR-10 97.2, CIFAR-100 81.8, Cars 87.0, Flowers 98.9.
Differs: bilinear resizing; no repeated augmentation (of the same picture several times in a batch). RandAugment is two
keyed operations of mean strength 9, not timm's own list.
"""

from ..recipe.pretrain import Pretrain
from ._training import deit

recipe = Pretrain(
    data="fractal3d", categories=1000, instances=1000,
    **deit("deit_tiny_patch16_224", 1_000_000, epochs=300, batch=256, side=224),
)  # fmt: skip
