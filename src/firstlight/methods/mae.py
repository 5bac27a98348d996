"""MAE: hide most patches, encode the others, and paint the hidden ones back.

He et al., CVPR 2022. https://arxiv.org/abs/2111.06377
"""

import torch
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..parts.decoder import Decoder, initialise
from ..parts.masks import random_mask
from ..parts.patches import patchify, standardised, unpatchify
from ..parts.positions import fix
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
        self, encoder: Encoder, *, mask: float = 0.75, width: int | None = None, depth: int = 2,
        heads: int | None = None, standardise: bool = True, fresh: bool = True,
    ):  # fmt: skip
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
        painted = standardised(patches, undo=painted) if self.standardise else painted
        mixed = torch.where(hidden[..., None], painted, patches)
        shown = {"picture": patches, "masked": patches.masked_fill(hidden[..., None], 0), "predicted": mixed}
        return {name: unpatchify(rows, self.patch) for name, rows in shown.items()}
