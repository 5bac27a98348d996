"""SimMIM on ImageNet's photographs, for ViT-B/16.

Xie et al., CVPR 2022. https://arxiv.org/abs/2111.09886
https://github.com/microsoft/SimMIM

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 500,455 steps of 2,048, 1.0 billion photographs.
Published: fine-tuned 83.8 on ImageNet.
Differs: as the method; the rate falls along a cosine, and not tenfold at epoch 700. Photographs are kept with a short
side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    # The published rate is for a batch of 512.
    "simmim", "vit_base_patch16_224(init_values=0.1)", epochs=800, batch=2048, warmup=10, lr=1e-4 / 2,
    weight_decay=0.05, drop_path=0.1,
))  # fmt: skip
