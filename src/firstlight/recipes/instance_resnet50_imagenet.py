"""Instance discrimination (NPID) of ImageNet's photographs, for ResNet-50.

Wu et al., CVPR 2018. https://arxiv.org/abs/1805.01978
https://github.com/zhirongw/lemniscate.pytorch

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 1,000,911 steps of 256, 256 million views.
Published: linear probe 54.0, k-NN (k = 200) 46.8 on ImageNet; 58.5 by a later checkpoint of the authors, with 65,536
negatives in a softmax.
Differs: the rate falls along a cosine, and not tenfold at epochs 120 and 160. Photographs are kept with a short side
of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "instance(negatives=4096, temperature=0.07)", "resnet50(zero_init_last=False)", epochs=200, batch=256, lr=0.03,
))  # fmt: skip
