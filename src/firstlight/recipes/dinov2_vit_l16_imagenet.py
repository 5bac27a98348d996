"""DINOv2 on ImageNet's photographs, for ViT-L/16: the public code's short training.

Oquab et al., TMLR 2024. https://arxiv.org/abs/2304.07193
https://github.com/facebookresearch/dinov2/blob/main/dinov2/configs/train/vitl16_short.yaml

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 125,000 steps of 2,048, 256 million photographs of ten crops each; published with 32 GPUs.
Published: k-NN 81.6, linear probe 82.9 on ImageNet.
Differs: as the method; crops part at .4 of the picture, not at .32; stochastic depth grows with the depth, where
theirs is .3 in every block; the rate ends at 2.8e-6, not at 1e-6. Of a rate that grows with the root of the batch,
this is the one for 2,048. Photographs are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    # An epoch of the public code has 1,250 steps, whatever the batch.
    "dinov2(hidden=2048, bottleneck=256, prototypes=65536, teacher_temperature=(0.04, 0.07), momentum=0.992)",
    "vit_large_patch16_224(init_values=1e-5)", epochs=100, batch=2048, warmup=10, lr=0.004 * 2**0.5 / 8, drop_path=0.3,
    steps=100 * 1250,
))  # fmt: skip
