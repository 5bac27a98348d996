"""Autoencoder: paint the picture again from its features; denoising: from the features of a spoilt one.

Hinton & Salakhutdinov, Science 2006. https://doi.org/10.1126/science.1127647
Denoising: Vincent et al., ICML 2008, https://www.cs.toronto.edu/~larocheh/publications/icml-2008-denoising-autoencoders.pdf
"""

from typing import Literal

import torch
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..parts.losses import full
from ..parts.painter import Painter
from ..ranges import Share, Width
from ..views import Batch, View
from ..views.random import Salt, normal, uniforms
from . import Method, Optimisation


class AutoEncoder(Method):
    """Reconstructs pictures from the pooled features, which are the bottleneck, by the mean squared error.

    Differs from the papers: no layer is trained by itself first; the encoder is any network, and deconvolutions paint.
    A masked pixel loses all its channels and takes the views' zero, which is grey, where the paper's was black.

    Args:
        encoder: any encoder.
        noise: how much the picture that the encoder sees is spoilt; 0 is a plain autoencoder. The share of pixels that
            are masked, .1 to .5 in the paper; or the standard deviation that is added to values in 0..1.
        corruption: "masking" or "gaussian".
        width: channels of the painter's layers.
    """

    views = (View(),)
    optimisation = Optimisation(lr=1e-3, weight_decay=0.0)

    def __init__(
        self, encoder: Encoder, *, noise: Share = 0.0, corruption: Literal["masking", "gaussian"] = "masking",
        width: Width = 64,
    ):  # fmt: skip
        super().__init__()
        if noise == 1 and corruption == "masking":
            raise InputError(f"autoencoder(noise={noise}): no pixel would be left; allowed is 0 to below 1, try 0.25")
        self.encoder, self.noise, self.corruption = encoder, noise, corruption
        self.painter = Painter(encoder, encoder.channels, encoder.size, width=width, tokens=False)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        spoilt = self.spoilt(batch.views[0], batch.key)
        painted = self.painter(self.encoder(spoilt))
        return {"loss": (full(painted) - batch.views[0]).square().mean()}

    def spoilt(self, pictures: Tensor, key: Tensor) -> Tensor:
        """What the encoder sees of pictures ``[B, C, S, S]``."""
        if not self.noise:
            return pictures
        if self.corruption == "masking":
            hidden = uniforms(key, pictures[0, 0].numel(), Salt.CORRUPT) < self.noise
            return pictures.masked_fill(hidden.view_as(pictures[:, :1]), 0.0)
        draw = normal(key, pictures[0].numel(), Salt.CORRUPT).view_as(pictures).to(pictures.dtype)
        unit = torch.tensor(self.encoder.std, dtype=pictures.dtype, device=pictures.device).view(-1, 1, 1)
        return pictures + draw * (self.noise / unit)

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        picture, spoilt = batch.views[0], self.spoilt(batch.views[0], batch.key)
        predicted = self.painter(self.encoder(spoilt)).to(picture.dtype)
        return {"picture": picture} | ({"spoilt": spoilt} if self.noise else {}) | {"predicted": predicted}
