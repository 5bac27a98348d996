"""RotNet on ImageNet's photographs, for ResNet-50.

Gidaris, Singh & Komodakis, ICLR 2018. https://arxiv.org/abs/1803.07728
https://github.com/open-mmlab/mmselfsup/tree/main/configs/selfsup/rotation_pred

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 700,638 steps of 128, 90 million photographs in four rotations each; published with 8 GPUs.
Published: linear probe 47.0 on ImageNet, 48.1 in an earlier account; 48.2 by another public code after 105 epochs; the
paper's AlexNet 38.7.
Differs: this is the training of a public collection of methods, since the paper's network is an AlexNet. The rate
falls along a cosine, and not tenfold at epochs 30 and 50. Photographs are kept with a short side of 280 pixels and
normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "rotation(scale=(0.08, 1.0))", "resnet50(zero_init_last=False)", epochs=70, batch=128, warmup=5, lr=0.4,
    weight_decay=1e-4,
))  # fmt: skip
