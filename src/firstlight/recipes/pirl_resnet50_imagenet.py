"""PIRL, with jigsaws of ImageNet's photographs, for ResNet-50.

Misra & van der Maaten, CVPR 2020. https://arxiv.org/abs/1912.01991
https://github.com/facebookresearch/vissl

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 1,000,911 steps of 1,024, 1.0 billion photographs of ten views each; published with 32 GPUs.
Published: linear probe 63.6 (paper), 64.3 (the public code) on ImageNet.
Differs: as the method: flips and colours are the same for all tiles of a picture, and posterising and the like are
left out. Photographs are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "pirl(negatives=32000)", "resnet50(zero_init_last=False)", epochs=800, batch=1024, lr=0.03,
))  # fmt: skip
