"""SupCon on ImageNet's photographs and their labels, for ResNet-50.

Khosla et al., NeurIPS 2020. https://arxiv.org/abs/2004.11362
https://github.com/google-research/google-research/tree/master/supcon

Data: the 1,281,167 training photographs of ImageNet-1k in class folders, with their labels; ``--data PATH`` says
where yours are.
Cost: 72,983 steps of 6,144, 448 million photographs of two views each; published with 128 TPU cores.
Published: 78.7 on ImageNet by a linear classifier on the frozen network.
Differs: views are cropped, flipped, jittered and greyed, not AutoAugment's; crops are of .2 of a picture and more,
not of .08. The head has a hidden layer, as in the paper, where the public script has none. The public code multiplies
the loss by the temperature, which LARS undoes but for the weight decay: ``--weight-decay 0.01`` weighs it as there.
Photographs are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "supcon", "resnet50", epochs=350, batch=6144, warmup=12, optimizer="lars", lr=0.4, weight_decay=1e-3,
))  # fmt: skip
