"""iBOT on ImageNet's photographs, for ViT-S/16.

Zhou et al., ICLR 2022. https://arxiv.org/abs/2111.07832
https://github.com/bytedance/ibot

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 1,000,911 steps of 1,024, 1.0 billion photographs of twelve crops each; published with 16 GPUs.
Published: k-NN 75.2, linear probe 77.9 on ImageNet, fine-tuned 82.3.
Differs: crops part at .4 of the picture, not at .25; the rows of the last layer keep a
length of 1, which the public command sets free; the rate ends at 4e-6, not at 1e-6. Photographs are kept with a short
side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "ibot(hidden=2048, bottleneck=256, prototypes=8192, teacher_temperature=(0.04, 0.07), warm=0.0375, "
    "momentum=0.996, freeze_last=0.00125, small=10)", "vit_small_patch16_224", epochs=800, batch=1024, warmup=10,
    lr=5e-4, drop_path=0.1,
))  # fmt: skip
