"""Context prediction: where does this tile of a picture lie, seen from another one?

Doersch, Gupta & Efros, ICCV 2015. https://arxiv.org/abs/1505.05192
"""

from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor

from ..encoder import Encoder
from ..parts.aberration import one_channel, without_green_magenta
from ..parts.losses import full, spread
from ..parts.pairs import PairHead, Pairs
from ..parts.tiles import cut, enlarged
from ..ranges import Layers, Range, Share, Side, Width
from ..views import Batch, View
from . import Method, Optimisation

Neighbours, Gap = Annotated[int, Range(1, 8)], Annotated[float, Range(0, 2)]


class Context(Method):
    """Two adjacent tiles go through the encoder, and a head tells in which of 8 directions one lies from the other.

    Gaps keep lines from continuing from tile to tile. By default all pairs of four tiles are shown, which are larger
    parts of a small picture than nine would be; the paper's are ``grid=3, neighbours=1``.

    Differs from the paper: tiles are not made coarse and large again at random; batch norm scales and shifts; momentum
    is .9, not .999; the rate falls along a cosine, where the authors' code keeps it and the later one takes steps.

    Args:
        encoder: any encoder that accepts pictures as small as a tile.
        grid: tiles along a side. Of 2 x 2, each is asked about from each other, so that all 8 directions occur;
        neighbours: of 3 x 3, from the middle, about so many of the 8 around it: 1 in the paper, whose set was large.
        gap: between tiles, as a share of a tile's side: half in the paper, a third in the later public code.
        jitter: the share of the gap over which a tile's place varies: 7/24 in the paper, 1 in that code.
        colour: "keep" does nothing. In large photographs lenses shift colours outwards, which tells where a tile was:
            "project" takes out green against magenta, "drop" leaves one random channel. The paper tried these two.
        hidden: width of the head's layers: 4,096 in the paper.
        layers: of the head, of which the last one predicts: 3 in the paper, 2 in the later public code.
        tile: the least side of a tile in pixels: 96 in the paper; small pictures are enlarged for it.
    """

    views = (View(scale=(0.6, 1.0)),)
    optimisation = Optimisation("sgd", lr=0.1, warmup=0.07, weight_decay=1e-4, decay_vectors=True)

    def __init__(
        self, encoder: Encoder, *, grid: Literal[2, 3] = 2, neighbours: Neighbours = 4, gap: Gap = 1 / 3,
        jitter: Share = 1.0, tile: Side = 16, colour: Literal["drop", "project", "keep"] = "keep",
        hidden: Width = 4096, layers: Layers = 2,
    ):  # fmt: skip
        super().__init__()
        self.cut = {"grid": grid, "multiple": encoder.multiple, "share": 1 / (1 + gap), "jitter": jitter}
        self.views = (enlarged(self.views[0], tile, encoder, "context", grid=grid, share=1 / (1 + gap)),)
        self.encoder, self.pairs, self.colour = encoder, Pairs(grid, neighbours), colour
        self.head = PairHead(encoder.width, hidden, layers)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        tiles, place = self.pairs(cut(batch.views[0], batch.key, **self.cut), batch.key)
        logits, features = self.predict(tiles, batch.key)

        loss = F.cross_entropy(logits, place.flatten())
        accuracy = (logits.argmax(1) == place.flatten()).float().mean()
        return {"loss": loss, "accuracy": accuracy, "feature_std": spread(features)}

    def predict(self, tiles: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[B pairs, 8]`` of the directions in which pairs of tiles lie, and all tiles' features."""
        if self.colour == "drop":
            tiles = one_channel(tiles, key)
        elif self.colour == "project":
            tiles = without_green_magenta(tiles, self.encoder)
        features = self.encoder(tiles.flatten(0, 1))
        return full(self.head(features.unflatten(0, tiles.shape[:2]), self.pairs.numbers)), features

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        tiles, place = self.pairs(cut(batch.views[0], batch.key, **self.cut), batch.key)
        guess = self.predict(tiles, batch.key)[0].argmax(1).view_as(place)
        return self.pairs.pictured(batch.views[0], tiles, batch.key, {"two tiles": place, "as predicted": guess})
