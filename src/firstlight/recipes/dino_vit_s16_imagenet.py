"""DINO on ImageNet's photographs, for ViT-S/16.

Caron et al., ICCV 2021. https://arxiv.org/abs/2104.14294
https://github.com/facebookresearch/dino

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 375,341 steps of 1,024, 384 million photographs of ten crops each; published with 16 GPUs in 2.6 days.
Published: k-NN 73.3, linear probe 76.0 on ImageNet; 74.5 and 77.0 after 800 epochs with settings of their own.
Differs: the rows of the last layer keep a length of 1, which the public command of this training sets free; the rate
ends at 4e-6, not at 1e-6. Photographs are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "dino(hidden=2048, bottleneck=256, prototypes=65536, teacher_temperature=(0.04, 0.07), warm=0.1, "
    "momentum=0.996, freeze_last=0.003333)", "vit_small_patch16_224", epochs=300, batch=1024, warmup=10, lr=5e-4,
    drop_path=0.1,
))  # fmt: skip
