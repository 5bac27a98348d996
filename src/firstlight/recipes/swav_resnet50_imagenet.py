"""SwAV on ImageNet's photographs, for ResNet-50.

Caron et al., NeurIPS 2020. https://arxiv.org/abs/2006.09882
https://github.com/facebookresearch/swav

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 250,227 steps of 4,096, 1.0 billion photographs of eight crops each; published with 64 V100.
Published: linear probe 75.3 on ImageNet; 72.1, 73.9 and 74.6 after 100, 200 and 400 epochs.
Differs: the rate rises from 0 and not from .3 (of 4.8). Photographs are kept with a short side of 280 pixels and
normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    # The prototypes rest for 313 steps, one epoch.
    "swav(hidden=2048, prototypes=3000, epsilon=0.05, freeze=0.00125)", "resnet50(zero_init_last=False)", epochs=800,
    batch=4096, warmup=10, lr=0.3, weight_decay=1e-6,
))  # fmt: skip
