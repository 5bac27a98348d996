"""SimSiam on ImageNet's photographs, for ResNet-50.

Chen & He, CVPR 2021. https://arxiv.org/abs/2011.10566
https://github.com/facebookresearch/simsiam

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 250,227 steps of 512, 128 million photographs of two views each; published with 8 V100.
Published: linear probe 68.1 on ImageNet; 70.0, 70.8 and 71.3 after 200, 400 and 800 epochs.
Differs: photographs are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet("simsiam(layers=3)", "resnet50", epochs=100, batch=512, lr=0.05, weight_decay=1e-4))
