"""BYOL on ImageNet's photographs, for ResNet-50.

Grill et al., NeurIPS 2020. https://arxiv.org/abs/2006.07733
https://github.com/google-deepmind/deepmind-research/tree/master/byol

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 312,784 steps of 4,096, 1.3 billion photographs of two views each.
Published: linear probe 74.3 on ImageNet.
Differs: photographs are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "byol(hidden=4096, dim=256, momentum=0.996)", "resnet50", epochs=1000, batch=4096, warmup=10, lr=0.2,
    weight_decay=1.5e-6,
))  # fmt: skip
