"""SiT on ImageNet's photographs, for ViT-S/16.

Atito, Awais & Kittler, 2021. https://arxiv.org/abs/2104.03602
https://github.com/Sara-Ahmed/SiT

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 4,008,651 steps of 256, 1.0 billion photographs of two views each; published with 4 GPUs.
Published: we know no figures of this training that we could check.
Differs: as the method; groups begin where patches do, and not at any pixel. Photographs are kept with a short side of
280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "sit(hidden=4096, dim=256, momentum=0.996, weight=1.0)", "vit_small_patch16_224", epochs=801, batch=256, warmup=10,
    lr=5e-4, drop_path=0.1,
))  # fmt: skip
