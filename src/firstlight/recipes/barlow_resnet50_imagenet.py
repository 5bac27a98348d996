"""Barlow Twins on ImageNet's photographs, for ResNet-50.

Zbontar et al., ICML 2021. https://arxiv.org/abs/2103.03230
https://github.com/facebookresearch/barlowtwins

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 625,569 steps of 2,048, 1.3 billion photographs of two views each.
Published: linear probe 73.2 on ImageNet (the public code: 73.5), 55.0 and 69.7 fine-tuned on 1 and 10 % of the
labels.
Differs: the public code divides the gradient by the number of processes, as ``barlow(public=True)`` does: that slows
biases and batch norms, which LARS does not adapt. Photographs are kept with a short side of 280 pixels and normalised
by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "barlow(hidden=8192)", "resnet50", epochs=1000, batch=2048, warmup=10, lr=0.2, weight_decay=1e-6,
))  # fmt: skip
