"""Colourisation of ImageNet's photographs, for VGG-16 with batch norm.

Zhang et al., ECCV 2016. https://arxiv.org/abs/1603.08511
https://github.com/richzhang/colorization/tree/caffe

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 450,000 steps of 40, 18 million photographs.
Published: an AlexNet that was trained to colour: linear probe 30.4 on ImageNet. Of this network we know no figures.
Differs: as the method; crops are of .08 of a picture and more. The paper's network is a VGG whose last groups are
dilated in place of pooled, with batch norm after each group; this one's decoder begins at a coarser map. Photographs
are shown at 224 pixels, not at 176; the weight decay is AdamW's, not added to Adam's gradient; the rate falls along a
cosine, and not in two steps to 3e-6. Photographs are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "colorize(width=256, balance=0.5)", "vgg16_bn",
    epochs=14, batch=40, lr=3e-5 * 256 / 40, weight_decay=1e-3, steps=450_000,
))  # fmt: skip
