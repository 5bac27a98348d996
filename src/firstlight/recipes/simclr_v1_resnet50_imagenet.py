"""SimCLR on ImageNet's photographs, for ResNet-50.

Chen et al., ICML 2020. https://arxiv.org/abs/2002.05709
https://github.com/google-research/simclr

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 312,784 steps of 4,096, 1.3 billion photographs of two views each.
Published: linear probe 69.3 on ImageNet (the public checkpoint: 69.1).
Differs: the weight decay is the paper's 1e-6; the public code's commands pass 1e-4. Photographs are kept with a short
side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet("simclr", "resnet50", epochs=1000, batch=4096, warmup=10, lr=0.3, weight_decay=1e-6))
