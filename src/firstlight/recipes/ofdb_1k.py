"""OFDB-1k: one picture for each of a thousand fractals, and augmentation for the rest.

Nakamura et al., "Pre-training vision transformers with very limited synthesized images", ICCV 2023.
https://arxiv.org/abs/2307.14710

Data: 1,000 systems with a filling rate of .2, the unchanged one of each, 200,000 points, 362 px.
Cost: 312,500 steps of 256, 80 million views of 1,000 pictures.
Published (ViT-Tiny): CIFAR-100 84.0, ImageNet-100 88.6; with the million pictures of FractalDB-1k 81.6 and 88.5, from
scratch 64.2 and 74.9. Without crops 4.1 points less on CIFAR-100, without mixing 3.8, without RandAugment .8.
Differs: the public script takes the first row of weights, which multiplies a coefficient by .2, for the unchanged one;
``--data 'fractal(interval=0.4, points=200000)'`` does that too. Colour jitter is left out, as timm leaves it out beside
RandAugment, which is two keyed operations of mean strength 9 and not timm's own list; every picture is mixed by mixup
or CutMix, evenly, as published. Stochastic depth of .1 and weight decay of .05 are DeiT's.
"""

from ..recipe.pretrain import Pretrain
from ._training import one_picture

recipe = Pretrain(
    data="fractal(interval=0, points=200000)", categories=1000, instances=1, **one_picture(1000, side=362)
)  # fmt: skip
