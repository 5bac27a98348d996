"""DINO on ImageNet's photographs, for ResNet-50.

Caron et al., ICCV 2021. https://arxiv.org/abs/2104.14294
https://github.com/facebookresearch/dino

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 250,227 steps of 512, 128 million photographs of ten crops each; published with 8 GPUs.
Published: k-NN 67.5, linear probe 75.3 on ImageNet by a longer training, of 800 epochs; of this command we know no
figures.
Differs: crops part at .4 of the picture, not at .14; the rate ends at .002 of the highest, not at 1e-6. Photographs
are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "dino(hidden=2048, bottleneck=256, prototypes=65536, teacher_temperature=(0.04, 0.04), momentum=0.996)",
    "resnet50(zero_init_last=False)", epochs=100, batch=512, warmup=10, optimizer="sgd", lr=0.03, weight_decay=1e-4,
))  # fmt: skip
