"""MultiMAE on ImageNet's photographs and maps of them, for ViT-B/16.

Bachmann et al., ECCV 2022. https://arxiv.org/abs/2204.01678
https://github.com/EPFL-VILAB/MultiMAE

Data: the 1,281,167 training photographs of ImageNet-1k, in ``rgb``, and maps of depth and of classes in ``depth`` and
``classes`` beside it, which are yours to make; ``--data PATH`` says where they are. The paper's depth is of Omnidata's
network and its 133 classes of Mask2Former's. Of class folders without maps, photographs alone are learned from.
Cost: 1,000,911 steps of 2,048, 2.05 billion photographs; published with 8 A100.
Published: fine-tuned 83.3 on ImageNet, from photographs, depth and classes. Of photographs alone we know no figures.
Differs: as the method. Photographs are kept with a short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "multimae(width=256)", "vit_base_patch16_224", epochs=1600, batch=2048, warmup=40, lr=1e-4, weight_decay=0.05,
))  # fmt: skip
