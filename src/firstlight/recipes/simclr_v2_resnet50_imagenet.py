"""SimCLR v2 on ImageNet's photographs, for ResNet-50 and a layer of its head.

Chen et al., NeurIPS 2020. https://arxiv.org/abs/2006.10029
https://github.com/google-research/simclr

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 250,227 steps of 4,096, 1.0 billion photographs of two views each.
Published: linear probe 71.7 on ImageNet, of the network without selective kernels.
Differs: from memory are the epochs, the warm-up over a twentieth of them, the rate of 6.4 at the top and the weight
decay of 1e-4. The probe of here sees the features behind the kept layer. Photographs are kept with a short side of
280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "simclr(layers=3, keep=1)", "resnet50", epochs=800, batch=4096, warmup=40, lr=0.4, weight_decay=1e-4,
))  # fmt: skip
