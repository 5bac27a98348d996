"""Masked patch prediction: corrupt half of a picture's patches, and name the mean colour of each of them.

Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021, appendix B.1.2. https://arxiv.org/abs/2010.11929
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from ..parts.losses import full
from ..parts.masks import corruption, some_of
from ..parts.patches import class_colour, colour_class, patchify, unpatchify
from ..ranges import Share
from ..views import Batch, View
from . import Method, Optimisation


class MaskedPatch(Method):
    """BERT's game with patches: most are replaced by a learned vector, some by another patch, some left as they are.

    The colour is 3 bits of each channel, 512 classes: of the mean in 0..1, ``64 r + 8 g + b``. Another patch is one of
    the same picture. Its pixels take the place before patches are embedded, which is to replace the embedding wherever
    a patch is embedded by itself, as in all but hybrid models. The paper's learning rate is 2e-4 at a batch of 4,096,
    after 10,000 steps of warm-up; crops and weight decay are not named there, and these are MAE's.
    Differs from the paper: nothing is asked of the class token, so features are the mean of the patches from then on.

    Args:
        encoder: a ViT.
        mask: the share of patches that is corrupted.
        blank: the share of the corrupted ones that the learned vector replaces, by chance,
        swapped: and that shows another patch; the others are left as they are, and predicted too.
    """

    views = (View(bicubic=True),)
    optimisation = Optimisation(lr=5e-4, warmup=0.1, weight_decay=0.05)

    def __init__(self, encoder: Encoder, *, mask: Share = 0.5, blank: Share = 0.8, swapped: Share = 0.1):
        super().__init__()
        if not encoder.maskable or encoder.patch is None or encoder.patches is None or encoder.entry is None:
            raise InputError(
                f"masked_patch needs a ViT, such as 'vit_tiny_patch16_224'; {encoder.model!r} has no tokens of patches"
            )
        hidden = round(encoder.patches * mask)
        self.count = some_of(encoder, "masked_patch", mask, hidden, encoder.patches, "patches")
        if not 0 < blank + swapped <= 1:
            raise InputError(f"masked_patch(blank={blank}, swapped={swapped}): shares of a whole; try 0.8 and 0.1")
        encoder.average_patches()
        self.encoder, self.patch, self.blank, self.swapped = encoder, encoder.patch, blank, swapped
        self.hole = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, encoder.entry), std=0.02))
        self.head = nn.Linear(encoder.token_width, 8**encoder.channels)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        patches, corrupted, _, _, logits = self.guess(batch)

        logits, wanted = full(logits[corrupted]), self.colours(patches)[corrupted]
        right = (logits.argmax(1) == wanted).float().mean()
        return {"loss": F.cross_entropy(logits, wanted), "accuracy": right}

    def guess(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Patches, which are corrupted, patches as they are seen, which are not seen, and the logits of all."""
        patches = patchify(batch.views[0], self.patch)
        corrupted, blank, source = corruption(batch.key, patches.shape[1], self.count, self.blank, self.swapped)
        seen = patches.gather(1, source[..., None].expand_as(patches))
        tokens = self.encoder.tokens(unpatchify(seen, self.patch), hidden=blank, hole=self.hole[0])
        return patches, corrupted, seen, blank, self.head(tokens[:, self.encoder.prefix :])

    def colours(self, patches: Tensor) -> Tensor:
        """The class of each patch's mean colour, ``[B, L]``."""
        mean, std = (patches.new_tensor(value) for value in (self.encoder.mean, self.encoder.std))
        return colour_class(patches.unflatten(2, (-1, self.encoder.channels)).mean(2) * std + mean)

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        patches, corrupted, seen, blank, logits = self.guess(batch)
        mean, std = (patches.new_tensor(value) for value in (self.encoder.mean, self.encoder.std))
        named = (class_colour(logits.argmax(2), self.encoder.channels) - mean) / std
        painted = torch.where(corrupted[..., None], named.repeat(1, 1, self.patch**2), patches)
        shown = {"picture": patches, "masked": seen.masked_fill(blank[..., None], 0), "predicted": painted}
        return {name: unpatchify(rows, self.patch) for name, rows in shown.items()}
