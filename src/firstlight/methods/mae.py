"""MAE: hide most patches, encode the others, and paint the hidden ones back.

He et al., CVPR 2022. https://arxiv.org/abs/2111.06377
"""

from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..parts.decoder import Decoder, initialise
from ..parts.masks import random_mask
from ..parts.patches import patchify, standardised
from ..parts.positions import fix
from ..views import Batch, View
from . import Method, Optimisation


class MAE(Method):
    """Reconstructs the hidden patches of a picture from the visible ones; only a ViT can leave patches out.

    Judge it by fine-tuning, or by a linear probe behind a batch norm: nearest neighbours say little about MAE.

    Args:
        encoder: a ViT. Its learned positions, if any, are set to fixed sines and cosines, as in the paper.
        mask: the hidden share of the patches.
        width: of the decoder. The paper's 512, 8 and 16 go with ViT-B and larger.
        depth: blocks of the decoder.
        heads: attention heads of the decoder.
        standardise: predict each patch with its own mean and variance removed, which the paper found better.
        fresh: the encoder has no weights worth keeping: give it the paper's initialisation and positions. False
            leaves it as it is, to continue from a checkpoint.
    """

    views = (View(bicubic=True),)
    optimisation = Optimisation(lr=1.5e-4, warmup=0.05, weight_decay=0.05, betas=(0.9, 0.95))

    def __init__(
        self,
        encoder: Encoder,
        *,
        mask: float = 0.75,
        width: int = 512,
        depth: int = 8,
        heads: int = 16,
        standardise: bool = True,
        fresh: bool = True,
    ):
        super().__init__()
        if not encoder.maskable or encoder.patch is None or encoder.patches is None:
            raise InputError(
                f"mae needs a ViT, such as 'vit_tiny_patch16_224'; {encoder.model!r} cannot leave out patches"
            )
        if not 0 < int(encoder.patches * (1 - mask)) < encoder.patches:
            raise InputError(f"mask={mask} must hide some of the {encoder.patches} patches and leave some; try 0.75")
        if fresh:
            initialise(encoder)
            fix(encoder, encoder.patches)
        self.encoder, self.patch, self.mask, self.standardise = encoder, encoder.patch, mask, standardise
        values = encoder.channels * encoder.patch**2
        self.decoder = Decoder(encoder.width, encoder.patches, values, width=width, depth=depth, heads=heads)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        target = patchify(batch.views[0], self.patch)
        target = standardised(target) if self.standardise else target

        keep, hidden = random_mask(batch.key, target.shape[1], self.mask)
        painted = self.decoder(self.encoder.tokens(batch.views[0], keep), keep)

        error = (painted - target).square().mean(-1)
        return {"loss": (error * hidden).sum() / hidden.sum()}
