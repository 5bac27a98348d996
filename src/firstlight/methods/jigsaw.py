"""Jigsaw: nine tiles of a picture were shuffled; in which of some known orders do they lie?

Noroozi & Favaro, ECCV 2016. https://arxiv.org/abs/1603.09246
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..neck import Neck
from ..parts.heads import mlp
from ..parts.losses import full, spread
from ..parts.patches import standardised
from ..parts.puzzles import Puzzles
from ..parts.tiles import cut, enlarged, laid
from ..ranges import Count, Layers, Seed, Side, Width
from ..views import Batch, View
from . import Method, Optimisation


class Jigsaw(Method):
    """Every tile goes through the encoder and a layer of its own; the nine results side by side tell the order.

    Differs from the paper: the planes of the colours are not shifted against each other; the rate and the weight decay
    are .1 and 1e-4, as in later public code, not .01 and 5e-4, and the rate falls along a cosine, not in steps. As
    in that code, batch norm sees the nine tiles of a picture together.

    Args:
        encoder: any encoder that accepts pictures as small as a tile.
        permutations: how many orders there are to tell apart: 1,000 in the paper, 100 to 10,000 in later work.
        rule: how they are chosen: "max_min" keeps every two apart, "max_avg", the paper's, does so on average.
        seed: of that choice.
        simple: the form that tutorials begin with: each tile by itself tells at which of nine places it was.
        standardise: give each tile mean 0 and variance 1 in each channel, so that brightness does not tell its place.
        dim: width of a tile's layer: 1,024 in the paper.
        hidden: width of the layer between the nine tiles and the prediction: 4,096 in the paper.
        layers: from the nine tiles on: 2 in the paper; 1, which leaves that one out, in later public code.
        tile: the least side of a tile in pixels: 64 in the paper; small pictures are enlarged for it.
    """

    views = (View(size=255 / 224, scale=(0.6, 1.0), gray=0.3),)
    optimisation = Optimisation("sgd", lr=0.1, warmup=0.05, weight_decay=1e-4)

    def __init__(
        self, encoder: Encoder, *, permutations: Count = 100, rule: str = "max_min", seed: Seed = 0, tile: Side = 16,
        simple: bool = False, standardise: bool = True, dim: Width = 128, hidden: Width = 512, layers: Layers = 2,
    ):  # fmt: skip
        super().__init__()
        self.views = (enlarged(self.views[0], tile, encoder, "jigsaw"),)
        self.encoder, self.simple, self.standardise = encoder, simple, standardise
        self.puzzles = Puzzles(permutations, rule=rule, seed=seed)
        if simple:
            self.head = nn.Linear(encoder.width, 9)
        else:
            self.head = nn.Sequential(
                Neck([encoder.width, dim]), nn.Unflatten(0, (-1, 9)), nn.Flatten(),
                mlp(9 * dim, hidden, permutations, layers, last_bias=True),
            )  # fmt: skip

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        tiles, number = self.puzzles(cut(batch.views[0], batch.key, multiple=self.encoder.multiple), batch.key)
        logits, features = self.predict(tiles)

        answer = self.puzzles.orders[number].flatten() if self.simple else number
        accuracy = (logits.argmax(1) == answer).float().mean()
        return {"loss": F.cross_entropy(logits, answer), "accuracy": accuracy, "feature_std": spread(features)}

    def predict(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the orders ``[B, permutations]``, or of all tiles' places ``[9 B, 9]``, and the tiles' features."""
        seen = standardised(tiles.flatten(3)).view_as(tiles) if self.standardise else tiles
        features = self.encoder(seen.flatten(0, 1))
        return full(self.head(features)), features

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        tiles, _ = self.puzzles(cut(batch.views[0], batch.key, multiple=self.encoder.multiple), batch.key)
        guess = self.puzzles.solution(self.predict(tiles)[0], self.simple)
        place, side = torch.arange(9, device=guess.device).expand_as(guess), batch.views[0].shape[-1]
        return {"picture": batch.views[0], "puzzle": laid(tiles, place, side), "as solved": laid(tiles, guess, side)}
