"""MoCo v3 on ImageNet's photographs, for ResNet-50.

Chen, Xie & He, ICCV 2021. https://arxiv.org/abs/2104.02057
https://github.com/facebookresearch/moco-v3/blob/main/CONFIG.md

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 312,784 steps of 4,096, 1.3 billion photographs of two views each; published with 16 V100.
Published: linear probe 74.6 on ImageNet; 68.9 and 72.8 after 100 and 300 epochs.
Differs: crops are of .08 of a picture and more, not of .2. Photographs are kept with a short side of 280 pixels and
normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "moco_v3(hidden=4096, dim=256, temperature=1.0, momentum=0.996)", "resnet50", epochs=1000, batch=4096, warmup=10,
    optimizer="lars", lr=0.3, weight_decay=1.5e-6,
))  # fmt: skip
