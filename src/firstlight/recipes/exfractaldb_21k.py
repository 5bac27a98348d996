"""ExFractalDB-21k: 21 million views of 21,000 fractals in space; above ImageNet-21k with ViT-B.

Kataoka et al., "Replacing labeled real-image datasets with auto-generated contours", CVPR 2022.
https://arxiv.org/abs/2206.09132

Data: 21,000 spatial systems of 1,000 pictures, drawn as ``exfractaldb_1k``.
Cost: 230,712 steps of 8,192, 1.9 billion pictures, drawn at about 60,000 a second on one AVX-512 core; published with
128 V100. Keep the classes with ``firstlight codebook fractal3d --categories 21000``.
Published (ViT-B, ImageNet-1k after fine-tuning): 82.7; from ImageNet-21k 81.8, from scratch 79.8.
Differs: as ``exfractaldb_1k``.
"""

from ..recipe.pretrain import Pretrain
from ._training import deit

recipe = Pretrain(
    data="fractal3d", categories=21_000, instances=1000,
    **deit("deit_base_patch16_224", 21_000_000, epochs=90, batch=8192, side=224),
)  # fmt: skip
