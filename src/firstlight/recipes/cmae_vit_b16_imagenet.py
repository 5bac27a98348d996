"""CMAE on ImageNet's photographs, for ViT-B/16.

Huang et al., TPAMI 2023. https://arxiv.org/abs/2207.13532
https://github.com/ZhichengHuang/CMAE

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 500,455 steps of 4,096, 2.05 billion photographs of two views each; published with 32 GPUs.
Published: fine-tuned 84.7 on ImageNet; 83.8 after 300 epochs.
Differs: the class token and the vectors of hidden patches decay too. Photographs are kept with a short side of 280
pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "cmae(depth=8, hidden=1536, dim=256, momentum=0.996)", "vit_base_patch16_224", epochs=1600, batch=4096, warmup=40,
    lr=1.5e-4, weight_decay=0.05,
))  # fmt: skip
