"""Masked patch prediction on ImageNet's photographs, for ViT-B/16.

Dosovitskiy et al., ICLR 2021, appendix B.1.2. https://arxiv.org/abs/2010.11929

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 1,000,000 steps of 4,096, 4.1 billion photographs; published with 14 passes over JFT-300M.
Published: fine-tuned 79.9 on ImageNet, from JFT-300M. The paper saw similar gains from ImageNet's own photographs, and
little more after 100,000 steps (``--steps 100000``).
Differs: as the method. JFT-300M is not public. Not stated in the paper: crops, which are MAE's here, and whether the
weight decay of .1, which it has for all its trainings, holds for this one too. Photographs are kept with a short side
of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    # Epochs stand for hundredths: the rate rises for one of them, 10,000 steps.
    "masked_patch", "vit_base_patch16_224", epochs=100, batch=4096, warmup=1, lr=2e-4 * 256 / 4096, weight_decay=0.1,
    steps=1_000_000,
))  # fmt: skip
