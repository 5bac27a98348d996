"""Jigsaw puzzles of ImageNet's photographs, for ResNet-50.

Noroozi & Favaro, ECCV 2016. https://arxiv.org/abs/1603.09246
https://github.com/facebookresearch/vissl/tree/main/configs/config/pretrain/jigsaw

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 525,478 steps of 256, 135 million photographs of nine tiles each; published with 8 GPUs.
Published: linear probe 48.6 on ImageNet; 46.7 and 48.1 with 2,000 and 10,000 orders; an AlexNet 34.8.
Differs: this is the training of a public collection of methods, since the paper's network is an AlexNet. The orders
are found by the same rule, not read from its file; crops are of .6 of a picture and more, not nearly all of it; three
in ten photographs are shown in grey, as in the paper, not two in three; biases do not decay; the rate rises from 0, not
from .025, and falls along a cosine, not tenfold at epochs 30, 60, 90 and 100. Photographs are kept with a short side
of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "jigsaw(permutations=100, rule='max_avg', puzzles=1, standardise=False, dim=1000, layers=1)",
    "resnet50(zero_init_last=False)", epochs=105, batch=256, warmup=5, lr=0.1, weight_decay=1e-4,
))  # fmt: skip
