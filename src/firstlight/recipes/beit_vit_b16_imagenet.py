"""BEiT on ImageNet's photographs, for ViT-B/16.

Bao et al., ICLR 2022. https://arxiv.org/abs/2106.08254
https://github.com/microsoft/unilm/tree/master/beit

Data: the 1,281,167 training photographs of ImageNet-1k in class folders; ``--data PATH`` says where yours are. The
words are those of DALL-E's public encoder, a file of whose weights is to be at ``dall_e/encoder.pt``; another file, or
the run of a ``dvae`` of your own, is named by ``--method "beit(tokenizer='PATH')"``.
Cost: 500,455 steps of 2,048, 1.0 billion photographs; published with 16 V100.
Published: fine-tuned 83.2 on ImageNet.
Differs: as the method. The public weights of this training have positions of their own for each patch and no
LayerScale, as here; the public command for it has relative biases and a LayerScale of .1. Photographs are kept with a
short side of 280 pixels and normalised by .5 and .5.
"""

from ..recipe.pretrain import Pretrain
from ._training import imagenet

recipe = Pretrain(**imagenet(
    "beit(tokenizer='dall_e/encoder.pt')", "vit_base_patch16_224", epochs=800, batch=2048, warmup=10,
    lr=1.5e-3 * 256 / 2048, weight_decay=0.05, drop_path=0.1,
))  # fmt: skip
