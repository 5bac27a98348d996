"""iGPT: read a picture like a text, and predict each pixel's colour from those before it.

Chen et al., "Generative pretraining from pixels", ICML 2020. https://proceedings.mlr.press/v119/chen20s.html
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import ranks
from ..encoder import Encoder
from ..events import Events, Note
from ..parts.losses import full
from ..parts.palette import Palette
from ..parts.patches import enlarged
from ..parts.pixels import Pixels
from ..ranges import Amount, Several, Share
from ..views import Batch, View
from ..views.batches import Batches
from . import Method, Optimisation


class IGPT(Method):
    """A pixel is a patch of the encoder, and its colour the nearest in a palette to the mean of what the patch holds.

    The encoder's features are read in the middle of the network from then on (``Encoder.read_at``), which is trained
    whole: evaluations and fine-tuning use what comes before that block. With patch_size=1 a pixel is a pixel.

    Differs from the paper: timm's layer norm, GELU and initialisation; colours are embedded linearly, by the patch
    embedding, which therefore begins blind to all of a patch but its mean, and stays so; the class token, after which
    the first pixel is predicted, has a position of its own; features are of the colours themselves, not the palette's;
    the rate is .001 at a batch of 256; the paper's is .003, for its largest network .001, at one of 128.

    Args:
        encoder: a ViT with a class token.
        colours: of the palette, found by k-means on the training pictures.
        objective: 'causal': predict each pixel from those before it, row by row; 'bert': predict hidden ones from all.
        mask: the share of pixels hidden by 'bert', each by itself.
        middle: the block at which features are read, from 0; None for the middle one.
    """

    views = (View(scale=(0.34, 1.0), ratio=(1.0, 1.0), bicubic=True),)
    optimisation = Optimisation(lr=1e-3, warmup=0.05, weight_decay=0.0, betas=(0.9, 0.95))

    def __init__(
        self, encoder: Encoder, *, colours: Several = 512, objective: Literal["causal", "bert"] = "causal",
        mask: Share = 0.15, middle: Amount | None = None,
    ):  # fmt: skip
        super().__init__()
        self.pixels = Pixels(encoder, "igpt", colours, objective, mask)
        self.palette = Palette(encoder, colours)
        encoder.level_patches()
        encoder.read_at(middle, causal=objective == "causal")
        self.encoder = encoder

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        codes = self.palette.codes(batch.views[0])
        wanted = self.pixels.wanted(batch.key, codes)
        logits = self.pixels(self.encoder, self.palette.paint(codes), wanted)[wanted]

        count = ranks.mean(wanted.sum().to(self.palette.rows.dtype)).clamp(min=1 / ranks.world())
        loss = F.cross_entropy(full(logits), codes[wanted], reduction="sum") / count
        loss = loss + 0 * batch.views[0].sum()  # a picture that is not finite has a nearest colour all the same
        return {"loss": loss, "accuracy": (logits.detach().argmax(1) == codes[wanted]).sum() / count}

    def prepare(self, batches: Batches) -> Events[None]:
        self.palette.find(batches)
        yield Note(f"igpt: {len(self.palette.rows)} colours found on {len(batches.pictures):,} pictures")

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        """'causal' completes the lower half, drawing each colour with its probability; 'bert' shows the likeliest."""
        codes = self.palette.codes(batch.views[0])
        look = lambda codes, hidden: self.pixels(self.encoder, self.palette.paint(codes), hidden)  # noqa: E731
        found, hidden = self.pixels.filled(codes, batch.key, look)
        shown, painted = enlarged(~hidden, self.palette.patch), self.palette.paint(codes)
        return {"picture": painted, "given": torch.where(shown, painted, 0.0), "predicted": self.palette.paint(found)}
