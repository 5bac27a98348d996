"""Context prediction: where does this tile of a picture lie, seen from the tile in the middle?

Doersch, Gupta & Efros, ICCV 2015. https://arxiv.org/abs/1505.05192
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..encoder import Encoder
from ..parts.aberration import one_channel, without_green_magenta
from ..parts.heads import mlp
from ..parts.losses import full, spread
from ..parts.tiles import around, cells_of, cut, enlarged, laid
from ..ranges import Layers, Range, Share, Side, Width
from ..views import Batch, View
from . import Method, Optimisation

Neighbours, Gap = Annotated[int, Range(1, 8)], Annotated[float, Range(0, 2)]


class Context(Method):
    """The middle tile of a 3 x 3 grid and one around it go through the encoder; a head tells which of 8 it was.

    Gaps keep lines from continuing from tile to tile.

    Differs from the paper: tiles are not made coarse and large again at random; batch norm scales and shifts; momentum
    is .9, not .999; the rate falls along a cosine, where the authors' code keeps it and the later one takes steps.

    Args:
        encoder: any encoder that accepts pictures as small as a tile.
        neighbours: how many of the 8 are shown, each in a pair with the middle: 1 in the paper, whose set was large.
        gap: between tiles, as a share of a tile's side: half in the paper, a third in the later public code.
        jitter: the share of the gap over which a tile's place varies: 7/24 in the paper, 1 in that code.
        colour: "keep" does nothing. In large photographs lenses shift colours outwards, which tells where a tile was:
            "project" takes out green against magenta, "drop" leaves one random channel. The paper tried these two.
        hidden: width of the head's layers: 4,096 in the paper.
        layers: of the head: 3 in the paper, of which the last one predicts.
        tile: the least side of a tile in pixels: 96 in the paper; small pictures are enlarged for it.
    """

    views = (View(scale=(0.6, 1.0)),)
    optimisation = Optimisation("sgd", lr=0.1, warmup=0.07, weight_decay=1e-4, decay_vectors=True)

    def __init__(
        self, encoder: Encoder, *, neighbours: Neighbours = 4, gap: Gap = 0.5, jitter: Share = 7 / 24, tile: Side = 8,
        colour: Literal["drop", "project", "keep"] = "keep", hidden: Width = 512, layers: Layers = 3,
    ):  # fmt: skip
        super().__init__()
        self.cut = {"multiple": encoder.multiple, "share": 1 / (1 + gap), "jitter": jitter}
        self.views = (enlarged(self.views[0], tile, encoder, "context", share=1 / (1 + gap)),)
        self.encoder, self.neighbours, self.colour = encoder, neighbours, colour
        self.head = mlp(2 * encoder.width, hidden, 8, layers, last_bias=True)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        tiles, place = around(cut(batch.views[0], batch.key, **self.cut), batch.key, self.neighbours)
        logits, features = self.predict(tiles, batch.key)

        loss = F.cross_entropy(logits, place.flatten())
        accuracy = (logits.argmax(1) == place.flatten()).float().mean()
        return {"loss": loss, "accuracy": accuracy, "feature_std": spread(features)}

    def predict(self, tiles: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[B n, 8]`` of the places of the neighbours in ``[B, 1 + n, C, s, s]``, and all tiles' features."""
        if self.colour == "drop":
            tiles = one_channel(tiles, key)
        elif self.colour == "project":
            tiles = without_green_magenta(tiles, self.encoder)
        features = self.encoder(tiles.flatten(0, 1))
        middle, others = features.unflatten(0, tiles.shape[:2]).split([1, self.neighbours], dim=1)
        return full(self.head(torch.cat([middle.expand_as(others), others], dim=2).flatten(0, 1))), features

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        picture = batch.views[0]
        tiles, place = around(cut(picture, batch.key, **self.cut), batch.key, self.neighbours)
        guess = self.predict(tiles, batch.key)[0].argmax(1).view_as(place)
        pair = lambda places: laid(tiles[:, :2], cells_of(places[:, :1]), picture.shape[-1])  # noqa: E731
        return {"picture": picture, "two tiles": pair(place), "as predicted": pair(guess)}
