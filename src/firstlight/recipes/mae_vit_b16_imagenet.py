"""MAE on ImageNet's photographs, for ViT-B/16.

He et al., CVPR 2022. https://arxiv.org/abs/2111.06377
https://github.com/facebookresearch/mae

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 500,455 steps of 4,096, 2.05 billion views.
Published: fine-tuned 83.6, linear probe 68.0 on ImageNet; 83.3 fine-tuned after 800 epochs.
Differs: photographs are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "mae(depth=8)", "vit_base_patch16_224", epochs=1600, batch=4096, warmup=40, lr=1.5e-4, weight_decay=0.05,
))  # fmt: skip
