"""MoCo v3 on ImageNet's photographs, for ViT-B/16.

Chen, Xie & He, ICCV 2021. https://arxiv.org/abs/2104.02057
https://github.com/facebookresearch/moco-v3/blob/main/CONFIG.md

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 93,835 steps of 4,096, 384 million photographs of two views each; published with 64 GPUs.
Published: linear probe 76.7 on ImageNet, fine-tuned 83.2.
Differs: the patch projection, which is never trained, is initialised as timm does it. Photographs are kept with a
short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "moco_v3(hidden=4096, dim=256)", "vit_base_patch16_224(weight_init='moco')", epochs=300, batch=4096, warmup=40,
    lr=1.5e-4, weight_decay=0.1,
))  # fmt: skip
