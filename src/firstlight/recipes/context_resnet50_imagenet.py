"""Context prediction on ImageNet's photographs, for ResNet-50.

Doersch, Gupta & Efros, ICCV 2015. https://arxiv.org/abs/1505.05192
https://github.com/open-mmlab/mmselfsup/tree/main/configs/selfsup/relative_loc

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 175,159 steps of 512, 90 million photographs of nine tiles each; published with 8 GPUs.
Published: linear probe 40.4 on ImageNet, 39.7 in an earlier account; the paper's AlexNet 31.7 at its fourth layer.
Differs: this is the training of a public collection of methods, since the paper's network is like an AlexNet. Green
against magenta is taken out, as in the paper, where that code shows two thirds of the photographs in grey; crops are
of .6 of a picture and more; the head has no dropout and decays like the rest, not five times as much; the rate falls
along a cosine, and not tenfold at epochs 30 and 50. Photographs are kept with a short side of 280 pixels and
normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    # 85 pixels of 255 for each of nine cells, and tiles of 64 anywhere within.
    "context(grid=3, neighbours=8, gap=0.328125, jitter=1.0, colour='project', hidden=4096, layers=2, tile=64)",
    "resnet50(zero_init_last=False)",
    epochs=70, batch=512, warmup=5, lr=0.1, weight_decay=1e-4,
))  # fmt: skip
