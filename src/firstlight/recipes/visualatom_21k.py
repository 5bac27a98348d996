"""VisualAtom-21k: 21 million pictures of 21,000 visual atoms; close to JFT-300M with ViT-B.

Takashima et al., "Visual atoms: pre-training vision transformers with sinusoidal waves", CVPR 2023.
https://arxiv.org/abs/2303.01112

Data: 21,000 categories of 1,000 pictures, drawn as ``visualatom_1k``.
Cost: 230,712 steps of 8,192, 1.9 billion pictures; published with 128 V100. Draw them on the device.
Published (ViT-B, ImageNet-1k after fine-tuning): 83.7; from JFT-300M 84.2, from ImageNet-21k 81.8.
Differs: as ``visualatom_1k``.
"""

from ..recipe.pretrain import Pretrain
from ._training import deit

recipe = Pretrain(
    data="atom", categories=21_000, instances=1000,
    **deit("deit_base_patch16_224", 21_000_000, epochs=90, batch=8192, side=512, warmup=5000 / 230_712),
)  # fmt: skip
