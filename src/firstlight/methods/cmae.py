"""CMAE: a masked autoencoder whose features of a masked picture also find those of the whole one, a little shifted.

Huang et al., TPAMI 2023. https://arxiv.org/abs/2207.13532
"""

from torch import Tensor

from ..encoder import Encoder
from ..parts.decoder import Decoder, initialise
from ..parts.heads import OverPatches, mlp
from ..parts.losses import info_nce
from ..parts.masks import leaving_out, random_mask
from ..parts.momentum import Momentum
from ..parts.patches import compared, patchify, standardised
from ..parts.positions import fix
from ..parts.shift import SHIFTED, Shift
from ..ranges import Embedding, Few, Share, Temperature, Weight, Width
from ..views import Batch
from . import Method, Optimisation


class CMAE(Method):
    """Both crops come from one larger crop; only the one that the target sees, whole, has its colours changed.

    Args:
        encoder: a ViT. Its learned positions, if any, are set to fixed sines and cosines, as in MAE.
        mask: the hidden share of the patches.
        width: of both decoders, one attention head for every 32; None is two thirds of the encoder's. Paper: 512.
        depth: blocks of the pixel decoder; the feature decoder has 2. Paper: 8.
        hidden: width of the hidden layers of projector and predictor. Paper: 1,536.
        dim: width of what is contrasted. Paper: 256.
        temperature: of the softmax.
        weight: of the contrast.
        momentum: of the target; constant. Paper: .996.
        shift: how far the crops may lie apart, as a share of their side: 32 of 224 pixels in the paper.
        fresh: the encoder has no weights worth keeping: give it MAE's initialisation and positions.
    """

    views = SHIFTED
    optimisation = Optimisation(lr=1.5e-4, warmup=0.05, weight_decay=0.05, betas=(0.9, 0.95))

    def __init__(
        self, encoder: Encoder, *, mask: Share = 0.65, width: Width | None = None, depth: Few = 4,
        hidden: Width = 512, dim: Embedding = 128, temperature: Temperature = 0.07, weight: Weight = 1.0,
        momentum: Share = 0.99, shift: Share = 1 / 7, fresh: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.patch, self.length = leaving_out(encoder, mask, "cmae")
        self.shift = Shift(encoder, "cmae", shift)
        if fresh:
            initialise(encoder)
            fix(encoder, self.length)
        self.encoder, self.views, self.mask = encoder, self.shift.views, mask
        self.temperature, self.weight, entry = temperature, weight, encoder.token_width
        self.pixels = Decoder(entry, self.length, encoder.channels * self.patch**2, width=width, depth=depth)
        self.features = Decoder(entry, self.length, entry, width=width, depth=2)
        self.projector, self.predictor = mlp(entry, hidden, dim, last_norm=True), mlp(dim, hidden, dim)
        self.target = Momentum(OverPatches(encoder, self.projector), start=momentum, end=momentum)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        patches, tokens, keep, hidden = self._see(batch)
        repair = (self.pixels(tokens, keep) - standardised(patches))[hidden].square().mean()

        query = self.predictor(self.projector(self.features(tokens, keep).mean(1)))
        key = self.target(self.shift(batch.views[1], batch.key, 1))
        contrast = 2 * self.temperature * info_nce(query, key, self.temperature)
        return {"loss": repair + self.weight * contrast, "repair": repair.detach(), "contrast": contrast.detach()}

    def _see(self, batch: Batch) -> tuple[Tensor, ...]:
        """All patches of the online crop, the tokens of those kept, which those are, and which are hidden."""
        picture = self.shift(batch.views[0], batch.key, 0)
        keep, hidden = random_mask(batch.key, self.length, self.mask)
        return patchify(picture, self.patch), self.encoder.tokens(picture, keep), keep, hidden

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        patches, tokens, keep, hidden = self._see(batch)
        return compared(patches, self.pixels(tokens, keep), hidden, self.patch, scaled=True)
