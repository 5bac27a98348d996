"""Guesses what colour each pixel has, from the pixels before it or from those around it, and paints what is missing.

As in Chen et al., "Generative pretraining from pixels", ICML 2020. https://proceedings.mlr.press/v119/chen20s.html
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError, unknown
from ..views.random import Salt, uniforms


class Pixels(nn.Module):
    """Scores the colours of a palette at every patch of a Vision Transformer.

    With the objective 'causal' they come from the token before it, the class token before the first; with 'bert' from
    the patch's own, whose place a learned vector takes where it is hidden.

    Args:
        encoder: with a class token; it is not kept.
        method: whose name errors carry.
        colours: of the palette.
        objective: 'causal' or 'bert'.
        mask: the share of pixels hidden by 'bert', each by itself.

    Raises:
        InputError: for another objective, an encoder without such tokens, or a share that hides nothing or everything.
    """

    def __init__(self, encoder: Encoder, method: str, colours: int, objective: str, mask: float):
        super().__init__()
        if objective not in ("causal", "bert"):
            raise unknown(f"objective of {method}", objective, ("causal", "bert"))
        if not encoder.maskable or encoder.patches is None or encoder.entry is None or not encoder.prefix:
            raise InputError(
                f"{method} needs a ViT with a class token, such as 'vit_tiny_patch16_224'; {encoder.model!r} is none"
            )
        if not 0 < mask < 1:
            raise InputError(f"{method}(mask={mask}): allowed is above 0 and below 1; the paper has 0.15")
        self.causal, self.mask, self.prefix = objective == "causal", mask, encoder.prefix
        self.head = nn.Linear(encoder.token_width, colours, bias=False)
        self.hole = None if self.causal else nn.Parameter(torch.zeros(1, encoder.entry))

    def wanted(self, key: Tensor, codes: Tensor) -> Tensor:
        """Which pixels are to be guessed, bool ``[B, N]``: all, or those hidden by the samples' keys ``[B]``."""
        return uniforms(key, codes.shape[1], Salt.TOKEN) < (1 if self.causal else self.mask)

    def forward(self, encoder: Encoder, pictures: Tensor, hidden: Tensor) -> Tensor:
        """Logits ``[B, N, colours]`` of normalised pictures; 'causal' hides nothing but what comes behind."""
        if self.hole is None:
            return self.head(encoder.tokens(pictures)[:, self.prefix - 1 : -1])
        return self.head(encoder.tokens(pictures, hidden=hidden, hole=self.hole[0])[:, self.prefix :])

    def filled(self, codes: Tensor, key: Tensor, look: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """The codes ``[B, N]`` of pictures with some guessed, and which those are, bool ``[B, N]``.

        Args:
            codes: of the whole pictures.
            key: int64 ``[B]``, the samples' keys.
            look: the logits ``[B, N, colours]`` of pictures with these codes, where these patches are hidden.

        Returns:
            With 'causal', the lower half is drawn, pixel by pixel, each with its probability given those before it.
        """
        hidden = self.wanted(key, codes)
        if not self.causal:
            return torch.where(hidden, look(codes, hidden).argmax(2), codes), hidden
        half = codes.shape[1] // 2
        hidden[:, :half] = False
        found, draw = codes.masked_fill(hidden, 0), uniforms(key, codes.shape[1], Salt.PAINT).double()
        for place in range(half, codes.shape[1]):
            below = look(found, hidden)[:, place].double().softmax(1).cumsum(1)
            found[:, place] = (below < draw[:, place, None] * below[:, -1:]).sum(1)
        return found, hidden
