"""PIRL: a picture and a jigsaw of it shall both be like what a memory holds of the picture, and unlike other pictures.

Misra & van der Maaten, CVPR 2020. https://arxiv.org/abs/1912.01991
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..events import Events
from ..parts.bank import Bank, Discrimination
from ..parts.losses import full, spread
from ..parts.tiles import cut, enlarged, shuffled
from ..ranges import Amount, Embedding, Share, Side, Temperature
from ..views import Batch, View
from ..views.batches import Batches
from . import Method, Optimisation

COLOUR = {"jitter": (0.4, 0.4, 0.4, 0.2), "jitter_p": 1.0, "gray": 0.2}


class PIRL(Method):
    """Nine tiles of a second crop go through the encoder one by one and meet again, in random order, in their head.

    The loss is that of the published code: noise-contrastive estimation as in instance discrimination, which for
    small sets (``negatives=0``) is the softmax over the whole memory, which begins with a look at all pictures.

    Differs from the paper: its equation scores the negatives by the softmax's own probability, and its memory begins
    at random. Differs from the published code: flips and colours are the same for all tiles of a picture, and its
    posterising and the like are left out.

    Args:
        encoder: any encoder that accepts pictures as small as a tile.
        pictures: how many there are in the training set.
        dim: width of the vectors.
        temperature: .07 in the paper.
        momentum: of the memory of pictures: the share of a vector that stays when its picture is seen.
        negatives: 32,000 in the paper; 0 takes the full softmax.
        jigsaw: the weight of the jigsaw's term; the picture's own has the rest.
        tile: the least side of a tile in pixels; the jigsaws of small pictures are enlarged for it.
    """

    views = (View(scale=(0.08, 1.0), **COLOUR), View(size=255 / 224, scale=(0.6, 1.0), **COLOUR))
    optimisation = Optimisation("sgd", lr=0.03, lr_end=0.001, warmup=0.0, weight_decay=1e-4)

    def __init__(
        self, encoder: Encoder, *, pictures: int = 0, dim: Embedding = 128, temperature: Temperature = 0.07,
        momentum: Share = 0.5, negatives: Amount = 0, jigsaw: Share = 0.5, tile: Side = 16,
    ):  # fmt: skip
        super().__init__()
        self.views = (self.views[0], enlarged(self.views[1], tile, encoder, "pirl"))
        self.encoder, self.jigsaw = encoder, jigsaw
        self.head = nn.Linear(encoder.width, dim)
        self.tile_head = nn.Linear(encoder.width, dim)
        self.join = nn.Linear(9 * dim, dim)
        self.bank = Bank(pictures, dim, momentum, "pirl")
        self.find = Discrimination(temperature, negatives)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = self.encoder(batch.views[0])
        picture = self._row(features)

        tiles = cut(batch.views[1], batch.key, multiple=self.encoder.multiple)
        pieces = self.tile_head(self.encoder(tiles.flatten(0, 1))).unflatten(0, (len(batch), -1))
        puzzle = F.normalize(full(self.join(shuffled(pieces, batch.key).flatten(1))), dim=1)

        own, other = (self.find(rows, self.bank, batch.index, batch.key) for rows in (picture, puzzle))
        loss = (1 - self.jigsaw) * own + self.jigsaw * other
        self.bank.hear(batch.index, picture, t)
        return {"loss": loss, "jigsaw": other.detach(), "feature_std": spread(features)}

    def prepare(self, batches: Batches) -> Events[None]:
        yield from self.bank.fill(lambda batch: self._row(self.encoder(batch.views[0])), batches)

    def _row(self, features: Tensor) -> Tensor:
        return F.normalize(full(self.head(features)), dim=1)
