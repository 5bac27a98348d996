"""MAE: hide most patches, encode the others, and paint the hidden ones back.

He et al., CVPR 2022. https://arxiv.org/abs/2111.06377
"""

from torch import Tensor

from ..encoder import Encoder
from ..parts.decoder import Decoder, initialise
from ..parts.masks import leaving_out, random_mask
from ..parts.patches import compared, patchify, standardised
from ..parts.positions import fix
from ..ranges import Few, Share, Width
from ..views import Batch, View
from . import Method, Optimisation


class MAE(Method):
    """Reconstructs the hidden patches of a picture from the visible ones; only a ViT can leave patches out.

    Judge it by fine-tuning with layer decay (the paper's: .65 for ViT-B, .75 for larger), or by a linear probe behind a
    batch norm: nearest neighbours say little about MAE.

    Args:
        encoder: a ViT. Its learned positions, if any, are set to fixed sines and cosines, as in the paper.
        mask: the hidden share of the patches.
        width: of the decoder; None is two thirds of the encoder's. The paper's is 512 for ViT-B and all larger.
        depth: blocks of the decoder; the paper's 8 would take most of a small network's time.
        heads: attention heads of the decoder; None is one for every 32 of its width, as in the paper.
        standardise: predict each patch with its own mean and variance removed, which the paper found better.
        fresh: the encoder has no weights worth keeping: give it the paper's initialisation and positions. False
            leaves it as it is, to continue from a checkpoint.
    """

    views = (View(bicubic=True),)
    optimisation = Optimisation(lr=1.5e-4, warmup=0.05, weight_decay=0.05, betas=(0.9, 0.95))

    def __init__(
        self, encoder: Encoder, *, mask: Share = 0.75, width: Width | None = None, depth: Few = 2,
        heads: Width | None = None, standardise: bool = True, fresh: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.patch, patches = leaving_out(encoder, mask, "mae")
        if fresh:
            initialise(encoder)
            fix(encoder, patches)
        self.encoder, self.mask, self.standardise = encoder, mask, standardise
        values = encoder.channels * self.patch**2
        self.decoder = Decoder(encoder.token_width, patches, values, width=width, depth=depth, heads=heads)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        patches, painted, hidden = self.paint(batch)
        target = standardised(patches) if self.standardise else patches

        error = (painted - target).square().mean(-1)
        return {"loss": (error * hidden).sum() / hidden.sum()}

    def paint(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """All patches ``[B, L, D]``, what the method says they are, and which were hidden, bool ``[B, L]``."""
        patches = patchify(batch.views[0], self.patch)
        keep, hidden = random_mask(batch.key, patches.shape[1], self.mask)
        return patches, self.decoder(self.encoder.tokens(batch.views[0], keep), keep), hidden

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        patches, painted, hidden = self.paint(batch)
        return compared(patches, painted, hidden, self.patch, scaled=self.standardise)
