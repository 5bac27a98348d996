"""MoBY on ImageNet's photographs, for Swin-T.

Xie et al., 2021. https://arxiv.org/abs/2105.04553
https://github.com/SwinTransformer/Transformer-SSL

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 750,683 steps of 512, 384 million photographs of two views each.
Published: linear probe 75.3 on ImageNet; 70.9 after 100 epochs.
Differs: Swin's relative biases decay too. Photographs are kept with a short side of 280 pixels and normalised by .5
and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "moby(hidden=4096, dim=256)", "swin_tiny_patch4_window7_224", epochs=300, batch=512, warmup=5, lr=5e-4,
    weight_decay=0.05, drop_path=0.2,
))  # fmt: skip
