"""SimMIM on ImageNet's photographs, for Swin-B at 192 pixels.

Xie et al., CVPR 2022. https://arxiv.org/abs/2111.09886
https://github.com/microsoft/SimMIM

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are.
Cost: 62,556 steps of 2,048, 128 million photographs; published with 16 GPUs.
Published: fine-tuned on ImageNet 82.8 at 192 pixels and 83.5 at 224; 84.0 after 800 epochs.
Differs: the rate ends at 0, not at .05 of the highest. Photographs are kept with a short side of 240 pixels and
normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    # The published rate is for a batch of 512.
    "simmim", "swin_base_patch4_window7_224(window_size=6)", epochs=100, batch=2048, warmup=10, lr=2e-4 / 2,
    weight_decay=0.05, size=192,
))  # fmt: skip
