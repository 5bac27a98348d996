"""1p-frac: a thousand classes made of one single fractal, whose shapes hardly differ to the eye.

Nakamura et al., "Scaling backwards: minimal synthetic pre-training?", ECCV 2024. https://arxiv.org/abs/2408.00677

Data: one system of two maps with a sigma of 3.5, every coefficient multiplied by .9 to 1.1 for each class; a picture a
class, random 3x3 patches, 100,000 points, 512 px, filling at least .05.
Cost: 312,500 steps of 256, 80 million views of 1,000 pictures.
Published (ViT-Tiny): CIFAR-100 84.2, ImageNet-100 89.0; from scratch 64.2 and 74.9. With factors of .999 to 1.001, 1.2
and 1.9: ``firstlight ablate delta``. ViT-B with 21,000 classes: ImageNet-1k 82.1, from ImageNet-21k 81.8.
Differs: the filling rate is that of points, where the public code counts patches, which cover more; and the single
system has to fill as much itself. The public script that generates it sets sigma to 4. As for augmentation, see
``ofdb_1k``.
"""

from ..recipe.pretrain import Pretrain
from ._training import one_picture

recipe = Pretrain(
    data="fractal(sampler='svd', maps=(2, 2), sigma=3.5, delta=0.1, min_fill=0.05, interval=0)",
    categories=1000, instances=1, **one_picture(1000, side=512),
)  # fmt: skip
