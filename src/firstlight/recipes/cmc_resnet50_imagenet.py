"""CMC on ImageNet's photographs, for two ResNet-50: one for the lightness and one for the colours.

Tian et al., ECCV 2020. https://arxiv.org/abs/1906.05849
https://github.com/HobbitLong/CMC

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 2,402,188 steps of 128, 307 million photographs; published with 4 GPUs.
Published: linear probe 66.2 on ImageNet, on the features of both networks, with colours of another kind and stronger
augmentation. Of L and ab with crops and flips alone we know no figures for these networks.
Differs: as the method; the authors' public weights are of 4,096 negatives. The rate falls along a cosine, and not
tenfold at epochs 120, 160 and 200. Photographs are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "cmc(negatives=16384)", "resnet50(zero_init_last=False)", epochs=240, batch=128, lr=0.06, weight_decay=1e-4,
))  # fmt: skip
