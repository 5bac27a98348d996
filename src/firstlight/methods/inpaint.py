"""Context encoder: cut a hole into a picture and paint what was there.

Pathak et al., "Context encoders: feature learning by inpainting", CVPR 2016. https://arxiv.org/abs/1604.07379
"""

import torch
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..events import Events
from ..parts.adversary import Adversary
from ..parts.gap import Gap
from ..parts.losses import full
from ..parts.painter import Kind, painter_from
from ..ranges import Share, Weight, Width
from ..views import Batch, View
from ..views.batches import Batches
from . import Method, Optimisation


class Inpaint(Method):
    """Paints a square hole, which is filled with the training pictures' mean colour, from the pooled features alone.

    By default the hole is anywhere and all around it is painted too, from which more is learned of small pictures;
    the published way is ``hole=7/16, random=False, overlap=1/32, border=10, painter="deep"``.
    Differs from the paper, that aside: pooled features are the bottleneck, in place of 4,000 channels; no tanh squashes
    what is painted, as views may have any normalisation; holes anywhere are squares too; and one optimiser moves the
    discriminator at the painter's rate, where the published one's was a tenth of that.

    Args:
        encoder: any encoder.
        hole: the side of what is hidden, as a share of the picture's: 56 of 128 pixels in the published code.
        random: the hole is anywhere where it fits, in place of in the middle.
        overlap: how far around the hole is painted too, although it is seen, so that hole and picture fit, as a share
            of the picture's side: 4 of 128 pixels in that code; 1 is the whole picture.
        border: the weight of an error there, 10 in that code; it is 1 in the hole.
        painter: "deep" paints by deconvolutions, as in the paper; "linear" by one layer, which takes half of the time
            and leaves the learning to the encoder; "auto" is linear up to 32 pixels.
        width: channels of a deep painter's layers.
        adversarial: the weight of a discriminator's opinion against that of the error: .001 in the paper; 0 has none.
    """

    views = (View(scale=(0.6, 1.0)),)
    optimisation = Optimisation(lr=1e-3, betas=(0.5, 0.999), weight_decay=0.0)

    def __init__(
        self, encoder: Encoder, *, hole: Share = 0.5, random: bool = True, overlap: Share = 1.0,
        border: Weight = 0.2, painter: Kind = "auto", width: Width = 64, adversarial: Share = 0.0,
    ):  # fmt: skip
        super().__init__()
        if not border or adversarial == 1:
            given = f"inpaint(border={border}, adversarial={adversarial})"
            raise InputError(f"{given}: allowed is above 0, and 0 to below 1; try 10 and 0.001")
        self.gap = Gap(encoder, hole, overlap, random)
        self.encoder, self.border, self.adversarial, side = encoder, border, adversarial, self.gap.side
        self.painter = painter_from(encoder, encoder.channels, side, width=width, kind=painter)
        self.adversary = Adversary(encoder.channels, side) if adversarial else None

    def prepare(self, batches: Batches) -> Events[None]:
        self.gap.look(batches)
        yield from ()

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        opened, truth, hidden = self.gap(batch.views[0], batch.key)
        painted = full(self.painter(self.encoder(opened)))

        error = ((painted - truth).square() * torch.where(hidden, 1.0, self.border)).mean()
        if self.adversary is None:
            return {"loss": error}

        fooled, judged = self.adversary(painted, truth)
        loss = (1 - self.adversarial) * error + self.adversarial * fooled + judged
        return {"loss": loss, "error": error.detach(), "fooled": fooled.detach(), "judged": judged.detach()}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        picture = batch.views[0]
        opened = self.gap(picture, batch.key)[0]
        painted = self.painter(self.encoder(opened)).to(picture.dtype)
        return {"picture": picture, "masked": opened, "predicted": self.gap.filled(picture, painted, batch.key)}
