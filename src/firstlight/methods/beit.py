"""BEiT: hide rectangles of patches, and name the codes that a tokenizer gives them.

Bao et al., ICLR 2022. https://arxiv.org/abs/2106.08254
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import ranks
from ..encoder import Encoder
from ..parts.holes import Holes
from ..parts.losses import full, spread
from ..parts.masks import some_of
from ..parts.patches import enlarged
from ..parts.residuals import shrink
from ..parts.tokenizer import Tokenizer
from ..ranges import Count, Share
from ..views import Batch, View
from . import Method, Optimisation


class BEiT(Method):
    """Predicts the visual words of patches that the encoder cannot see; a `dvae` says what they are.

    The paper hides 75 of 196 patches and takes lr=1.5e-3 at a batch of 2,048; its encoder has a LayerScale of .1 and a
    drop path of .1 (the encoder's settings: ``init_values=0.1``). Judge it by fine-tuning, or by its middle layers.
    Differs from the paper: a ViT has whatever positions its model has, where the paper's share a relative bias; the
    tokenizer sees the student's picture resampled, where the paper cuts the same crop twice.

    Args:
        encoder: a ViT, whose features become the mean of the patches, as the paper fine-tunes, or a Swin.
        tokenizer: the run or encoder's folder of a `dvae`, or a file of the weights of DALL-E's public encoder.
        mask: the largest hidden share of the patches; rectangles that fit may cover a little less.
        smallest: the least area from which they are drawn, in patches; no more than a third of the side, squared.
        fresh: the encoder has no weights worth keeping: shrink what later blocks add, as the paper does at first.
    """

    views = (View(scale=(0.08, 1.0), bicubic=True, jitter=(0.4, 0.4, 0.4, 0.0), jitter_p=1.0),)
    optimisation = Optimisation(lr=5e-4, warmup=0.1, weight_decay=0.05, clip=3.0)
    decays_places = False

    def __init__(
        self, encoder: Encoder, *, tokenizer: str = "", mask: Share = 75 / 196, smallest: Count = 16, fresh: bool = True
    ):
        super().__init__()
        self.holes = Holes(encoder, "beit", chance=1.0, share=(mask, mask), smallest=smallest)
        some_of(encoder, "beit", mask, int(encoder.regions * mask), encoder.regions, "patches")
        self.tokenizer = Tokenizer(tokenizer, encoder)
        if fresh:
            shrink(encoder)
        encoder.average_patches()  # nothing is asked of a class token
        self.encoder, self.head = encoder, nn.Linear(encoder.token_width, self.tokenizer.count)
        for weight in (self.holes.vector, self.head.weight):
            nn.init.trunc_normal_(weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        codes = self.tokenizer(batch.views[0])
        pooled, patches, hidden = self.holes(self.encoder, batch.views, batch.key)
        logits, wanted = full(self.head(patches)), codes[hidden]

        count = ranks.mean(hidden.sum().to(logits.dtype)).clamp(min=1)  # masks differ, and so do the ranks' numbers
        loss = F.cross_entropy(logits, wanted, reduction="sum") / count

        right = (logits.argmax(1) == wanted).sum() / count
        return {"loss": loss, "accuracy": right, "feature_std": spread(pooled)}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        picture, codes = batch.views[0], self.tokenizer(batch.views[0])
        if not self.tokenizer.decodes:
            return {}
        _, patches, hidden = self.holes(self.encoder, [picture], batch.key)
        said = codes.masked_scatter(hidden, self.head(patches).argmax(1))
        return {
            "picture": picture,
            "masked": torch.where(enlarged(hidden, picture.shape[-1] // self.holes.grid), 0, picture),
            "predicted": self.tokenizer.pictures(said),
            "decoded": self.tokenizer.pictures(codes),
        }
