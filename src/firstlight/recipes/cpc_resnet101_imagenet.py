"""CPC on ImageNet's photographs, for ResNet-101 v2 up to its third stage.

van den Oord et al., 2018. https://arxiv.org/abs/1807.03748

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 500,455 steps of 512, 256 million photographs of 49 patches each; published with 32 GPUs.
Published: linear probe 48.7 on ImageNet, on the mean of the patches' features.
Differs: as the method. Not stated in the paper, and chosen here: the length (200 epochs), a rate that falls along a
cosine, no weight decay, the context (five blocks of 256 channels) and the width in which patches are compared (64).
The paper's network has no batch norm and no other norm is named; here it is group norm. The paper shows photographs in
grey; here one in five is, and the colours of most others are changed. Photographs are kept with a short side of 320
pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "cpc(grid=7, patch=64, steps=5, first=1, directions=1, drop=0.0, dim=64, hidden=256, depth=5)",
    "resnetv2_101(layers=(3, 4, 23), norm_layer='groupnorm')", epochs=200, batch=512, lr=1e-4, weight_decay=0.0,
    size=256,
))  # fmt: skip
