"""Colourisation: show a picture in grey and ask for its colours, as a choice among 313 for each position.

Zhang et al., "Colorful image colorization", ECCV 2016. https://arxiv.org/abs/1603.08511
"""

import torch.nn.functional as F
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..events import Events
from ..parts.gamut import Gamut, look_for_colours, shrunk
from ..parts.losses import spread
from ..parts.painter import Painter
from ..ranges import Share, Side, Temperature, Width
from ..views import Batch, View
from ..views.batches import Batches
from ..views.lab import as_grey, lab_of, lab_to_rgb, normalised
from . import Method, Optimisation


class Colorize(Method):
    """Rare colours weigh more with ``balance=0.5``: how rare each is, a look at all pictures finds before training.

    The encoder has three channels and is shown the lightness L of CIE Lab in each, so that it serves for coloured
    pictures too, to which it is then given as it is.

    Differs from the paper: any encoder and a small decoder in place of its network; pictures are cropped at random;
    the prior is that of the training pictures, and the bins are found by a rule that gives the published number. The
    paper's learning rate is 3e-5 at a batch of 40; this one is for short trainings.

    Args:
        encoder: any encoder of coloured pictures.
        side: of what is painted, in positions; None for a quarter of the picture's, as published.
        width: channels of the decoder.
        balance: the share of the even distribution in the weights' inverse: lambda, .5 in the paper, which makes for
            livelier colours; 1 weighs all alike, from which more is learned of few pictures.
        temperature: sharpens the distribution of which ``reconstruct`` takes the mean.
    """

    views = (View(scale=(0.08, 1.0)),)
    optimisation = Optimisation(lr=1e-3, weight_decay=1e-3, betas=(0.9, 0.99))

    def __init__(
        self, encoder: Encoder, *, side: Side | None = None, width: Width = 128, balance: Share = 1.0,
        temperature: Temperature = 0.38,
    ):  # fmt: skip
        super().__init__()
        if encoder.channels != 3:
            raise InputError("colorize with channels=1: grey pictures have no colours to learn from; set channels=3")
        self.encoder, self.temperature = encoder, temperature
        self.side = max(encoder.size // 4, 1) if side is None else side
        self.gamut = Gamut(balance)
        self.painter = Painter(encoder, len(self.gamut), self.side, width=width)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        lab = lab_of(batch.views[0], self.encoder.mean, self.encoder.std)
        features, tokens = self.encoder.pooled_and_tokens(self._grey(lab).to(batch.views[0].dtype))

        logits = self.painter(features, tokens)
        return {"loss": self.gamut.loss(logits, shrunk(lab[:, 1:], self.side)), "feature_std": spread(features)}

    def prepare(self, batches: Batches) -> Events[None]:
        yield from look_for_colours(batches, "colorize")
        if self.gamut.balance < 1:  # else all colours weigh alike, however rare
            yield from self.gamut.look(batches, self.side, "colorize")

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        lab = lab_of(batch.views[0], self.encoder.mean, self.encoder.std)
        grey = self._grey(lab)
        ab = self.gamut.decode(self.painter(*self.encoder.pooled_and_tokens(grey)), self.temperature)
        lab[:, 1:] = F.interpolate(ab, lab.shape[2:], mode="bilinear")
        coloured = normalised(lab_to_rgb(lab), self.encoder.mean, self.encoder.std)
        return {"picture": batch.views[0], "grey": grey, "coloured": coloured}

    def _grey(self, lab: Tensor) -> Tensor:
        return as_grey(lab, self.encoder.mean, self.encoder.std)
