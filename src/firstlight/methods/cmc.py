"""CMC: what one network sees in a picture's lightness and another in its colours shall tell the same picture apart.

Tian et al., "Contrastive multiview coding", ECCV 2020. https://arxiv.org/abs/1906.05849
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from ..events import Events
from ..parts.bank import Bank, Discrimination
from ..parts.gamut import look_for_colours
from ..parts.heads import check_widths
from ..parts.losses import full, spread
from ..ranges import Amount, Embedding, Share, Temperature
from ..views import Batch
from ..views.batches import Batches
from . import Method, Optimisation


class CMC(Method):
    """A picture's lightness is found by what a memory holds of its colours, and the other way round.

    The features of a picture are those of both networks, side by side, so the encoder becomes twice as wide.

    Differs from the paper: the memories begin with a look at all pictures, not with random vectors; for small sets
    (``negatives=0``) the softmax runs over a whole memory, which the authors expect to be the better loss; and the rate
    falls along a cosine, not in steps.

    Args:
        encoder: any encoder of coloured pictures; it gets its second network here.
        pictures: how many there are in the training set.
        dim: width of the vectors.
        temperature: .07 in the paper, .1 for STL-10.
        momentum: of the memories: the share of a vector that stays when its picture is seen.
        negatives: 16,384 in the paper for ImageNet, by noise-contrastive estimation; 0 takes the full softmax.
    """

    optimisation = Optimisation("sgd", lr=0.06, warmup=0.0, weight_decay=1e-4, decay_vectors=True)

    def __init__(
        self, encoder: Encoder, *, pictures: int = 0, dim: Embedding = 128, temperature: Temperature = 0.07,
        momentum: Share = 0.5, negatives: Amount = 0,
    ):  # fmt: skip
        super().__init__()
        check_widths("cmc", dim=dim)
        if encoder.channels != 3:
            raise InputError("cmc with channels=1: grey pictures have no colours to compare with; set channels=3")
        self.light_head, self.colour_head = nn.Linear(encoder.width, dim), nn.Linear(encoder.width, dim)
        encoder.add_colour()
        self.encoder = encoder
        self.lights, self.colours = (Bank(pictures, dim, momentum, "cmc") for _ in range(2))
        self.find_light, self.find_colour = (Discrimination(temperature, negatives) for _ in range(2))

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = self.encoder(batch.views[0])
        light, colour = self._rows(features)

        of_light = self.find_colour(light, self.colours, batch.index, batch.key)
        of_colour = self.find_light(colour, self.lights, batch.index, batch.key)
        self.lights.hear(batch.index, light, t)
        self.colours.hear(batch.index, colour, t)
        return {"loss": of_light + of_colour, "colour": of_colour.detach(), "feature_std": spread(features)}

    def prepare(self, batches: Batches) -> Events[None]:
        yield from look_for_colours(batches, "cmc")
        for place, bank in enumerate((self.lights, self.colours)):
            rows = lambda batch, place=place: self._rows(self.encoder(batch.views[0]))[place]  # noqa: E731
            yield from bank.fill(rows, batches)

    def _rows(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors of the lightness and of the colours."""
        light, colour = features.chunk(2, dim=1)
        return F.normalize(full(self.light_head(light)), dim=1), F.normalize(full(self.colour_head(colour)), dim=1)
