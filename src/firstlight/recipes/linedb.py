"""LineDB: pictures of nothing but straight lines, whose number is the label; a control.

Kataoka et al., "Replacing labeled real-image datasets with auto-generated contours", CVPR 2022.
https://arxiv.org/abs/2206.09132

Data: 1,000 classes of 1 to 1,000 lines, 1,000 pictures each, 512 px (the last two are our choice). The paper tries 16,
32, 64 ... 512 classes too: ``--data 'line(classes=16)' --categories 16``. With ``line(shuffled=True)`` labels say
nothing about the pictures, and the effect of pre-training must vanish.
Cost: 1,171,875 steps of 256, 300 million pictures, drawn at about 3,400 a second on one AVX-512 core.
Published: that counting lines alone pre-trains, and that it does not with shuffled labels; no figures are at hand.
Differs: the training is that of ``rcdb_1k``. There is no public code for these pictures.
"""

from ..recipe.pretrain import Pretrain
from ._training import deit

recipe = Pretrain(
    data="line", categories=1000, instances=1000,
    **deit("deit_tiny_patch16_224", 1_000_000, epochs=300, batch=256, side=512),
)  # fmt: skip
