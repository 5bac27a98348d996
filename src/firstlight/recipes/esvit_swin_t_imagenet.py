"""EsViT on ImageNet's photographs, for Swin-T.

Li et al., ICLR 2022. https://arxiv.org/abs/2106.09785
https://github.com/microsoft/esvit

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 750,683 steps of 512, 384 million photographs of ten crops each.
Published: k-NN 75.7, linear probe 78.0 on ImageNet; without the regions 74.2 and 77.0.
Differs: the rows of the last layers keep a length of 1, which the public command sets free; the rate ends at .002 of
the highest, not at 1e-6. Photographs are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "esvit(hidden=2048, bottleneck=256, prototypes=65536, teacher_temperature=(0.04, 0.07), warm=0.1, "
    "momentum=0.996, freeze_last=0.003333)", "swin_tiny_patch4_window7_224", epochs=300, batch=512, warmup=10, lr=5e-4,
    drop_path=0.1,
))  # fmt: skip
