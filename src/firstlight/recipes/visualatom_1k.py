"""VisualAtom-1k: a million pictures of a thousand visual atoms, for ViT-Tiny.

Takashima et al., "Visual atoms: pre-training vision transformers with sinusoidal waves", CVPR 2023.
https://arxiv.org/abs/2303.01112

Data: 1,000 categories of 1,000 pictures, 512 px, with the numbers of the public script.
Cost: 1,171,875 steps of 256, 300 million pictures, drawn at about 500 a second on one core: with more than a few GPUs,
draw on the device.
Published (ViT-Tiny): ImageNet-1k 74.2 after fine-tuning; others who tried again report 73.6.
Differs: the rate ends at 0, not at 1e-5; bilinear resizing; no repeated augmentation (of the same picture several
times in a batch). RandAugment is two keyed operations of mean strength 9, not timm's own list.
"""

from ..recipe.pretrain import Pretrain
from ._training import deit

recipe = Pretrain(
    data="atom", categories=1000, instances=1000,
    **deit("deit_tiny_patch16_224", 1_000_000, epochs=300, batch=256, side=512, warmup=5000 / 1_171_875),
)  # fmt: skip
