"""iGPT-S on ImageNet's photographs at 32 pixels: 76 million weights.

Chen et al., ICML 2020. https://proceedings.mlr.press/v119/chen20s.html
https://github.com/openai/image-gpt

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 1,000,000 steps of 128, 128 million photographs of 1,024 pixels each.
Published: 2.0895 nats a pixel on test photographs (the public checkpoint). Of its linear probe on ImageNet we know no
figures.
Differs: as the method. All photographs are trained on, where the paper sets 4 % aside. They are kept with a short side
of 40 pixels, and a square of .34 of their area or more is shown at 32, where the paper cuts 224 pixels out of a short
side of 256 to 384 and then makes these small. They are normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "igpt", "vit_tiny_patch16_224(patch_size=1, embed_dim=512, depth=24, num_heads=8)", epochs=100,
    batch=128, warmup=1, lr=0.003 * 256 / 128, weight_decay=0.0, size=32, steps=1_000_000,
))  # fmt: skip
