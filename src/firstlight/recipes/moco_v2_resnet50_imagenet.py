"""MoCo v2 on ImageNet's photographs, for ResNet-50.

Chen et al., 2020. https://arxiv.org/abs/2003.04297
https://github.com/facebookresearch/moco

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 1,000,911 steps of 256, 256 million photographs of two views each.
Published: linear probe 67.5 on ImageNet; 71.1 after 800 epochs (``--steps 4003646``).
Differs: photographs are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "moco(queue=65536, temperature=0.2, momentum=0.999, symmetric=False)", "resnet50(zero_init_last=False)", epochs=200,
    batch=256, lr=0.03, weight_decay=1e-4,
))  # fmt: skip
