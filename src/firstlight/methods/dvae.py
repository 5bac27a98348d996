"""dVAE: squeeze a picture through a grid of codes from a learned book, so that BEiT has words to predict.

Ramesh et al., "Zero-shot text-to-image generation" (DALL-E), ICML 2021. https://arxiv.org/abs/2102.12092
"""

import math
from pathlib import Path

from torch import Tensor

from .. import ranks
from ..encoder import Encoder
from ..errors import InputError
from ..parts.losses import entropy, full
from ..parts.schedules import cosine
from ..parts.tokenizer import Codes, stride
from ..parts.unfolding import Colours, logit_laplace
from ..ranges import Few, Several, Share, Temperature, Weight, Width
from ..views import Batch, View
from ..views.random import Salt, gumbel
from . import Method, Optimisation


class DVAE(Method):
    """Codes are drawn with Gumbel noise, relaxed to shares that harden while the temperature falls along a cosine.

    The paper: codes=8192, the full kl after 5,000 of its 3,000,000 updates and the temperature 1/16 after 150,000,
    at lr=1e-4 (batch 512), falling to 1/80 of it; the pixels' likelihood is its logit-Laplace distribution.
    Differs from the paper: any encoder that leaves a grid makes the codes, where the paper's is convolutional; a
    smaller decoder; the weights are not averaged over the training; a scale of the pixels has a least value.

    Args:
        encoder: a ViT (features become its patches' mean), or another with 2x2 or more positions in its last map.
        codes: how many there are.
        width: of their vectors; the decoder halves it each time that it doubles the side.
        depth: residual blocks of the decoder at each resolution.
        kl: weight of the divergence of the codes' probabilities from uniform, reached along a cosine during
        warm: this fraction of the training.
        coldest: the last temperature, reached after
        cool: this fraction of the training.
    """

    views = (View(scale=(0.2, 1.0), bicubic=True),)
    optimisation = Optimisation(lr=5e-4, lr_end=0.0125, warmup=0.05, weight_decay=1e-4)

    def __init__(
        self, encoder: Encoder, *, codes: Several = 512, width: Width = 128, depth: Few = 1, kl: Weight = 6.6,
        warm: Share = 0.1, coldest: Temperature = 1 / 16, cool: Share = 0.5,
    ):  # fmt: skip
        super().__init__()
        if min(warm, cool) <= 0:
            raise InputError(f"dvae(warm={warm}, cool={cool}): allowed are above 0 to 1; nearest: 0.001")
        self.encoder, self.kl, self.warm, self.coldest, self.cool = encoder, kl, warm, coldest, cool
        encoder.average_patches()  # nothing is asked of a class token
        self.colours = Colours(encoder)
        self.codes = Codes(encoder.token_width, codes, width, depth, stride(encoder, "dvae"), encoder.channels)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        logits = self._logits(batch.views[0])  # [B, N, codes]
        noise = gumbel(batch.key, logits[0].numel(), Salt.GUMBEL).to(logits.dtype).view_as(logits)
        shares = ((logits + noise) / cosine(1.0, self.coldest, t / self.cool)).softmax(-1)

        pixels = logit_laplace(self.colours(batch.views[0]), *self.codes.paint(shares)).mean()
        divergence = math.log(self.codes.count) - entropy(logits.softmax(-1))
        weight = self.kl * cosine(0.0, 1.0, t / self.warm) * logits.shape[1] / batch.views[0][0].numel()

        used = logits.detach().argmax(-1).flatten().bincount(minlength=self.codes.count) / logits[..., 0].numel()
        seen = {"pixels": pixels.detach(), "kl": divergence.detach(), "perplexity": entropy(ranks.mean(used)).exp()}
        return {"loss": pixels + weight * divergence, **seen}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        decoded = self.codes.pictures(self._logits(batch.views[0]).argmax(-1))
        return {"picture": batch.views[0], "decoded": self.colours.normalised(decoded)}

    def keep(self, folder: Path) -> Path:
        self.codes.save(super().keep(folder))
        return folder

    def _logits(self, pictures: Tensor) -> Tensor:
        return full(self.codes.logits(self.encoder.tokens(pictures)[:, self.encoder.prefix :]))
