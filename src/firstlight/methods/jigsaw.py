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
    are .1 and 1e-4, as in later public code, not .01 and 5e-4, and the rate falls along a cosine, not in steps; a step
    asks for several orders of a picture's tiles. As in that code, batch norm sees a picture's tiles together.

    Args:
        encoder: any encoder that accepts pictures as small as a tile.
        permutations: how many orders there are to tell apart: 1,000 in the paper, 100 to 10,000 in later work.
        rule: how they are chosen: "max_min" keeps every two apart, "max_avg", the paper's, does so on average.
        seed: of that choice.
        puzzles: orders of each picture's tiles to ask for in a step, all of them at most; the simple form has one.
        simple: the form that tutorials begin with: each tile by itself tells at which of nine places it was.
        standardise: give each tile mean 0 and variance 1 in each channel, so that brightness does not tell its place.
        dim: width of a tile's layer: 1,024 in the paper.
        hidden: width of the layer between the nine tiles and the prediction: 4,096 in the paper.
        layers: from the nine tiles on: 2 in the paper; 1, which leaves ``hidden`` out, in later public code.
        tile: the least side of a tile in pixels: 64 in the paper; small pictures are enlarged for it.
    """

    views = (View(size=255 / 224, scale=(0.6, 1.0), gray=0.3),)
    optimisation = Optimisation("sgd", lr=0.1, warmup=0.05, weight_decay=1e-4)

    def __init__(
        self, encoder: Encoder, *, permutations: Count = 100, rule: str = "max_min", seed: Seed = 0,
        puzzles: Count = 8, simple: bool = False, standardise: bool = True, dim: Width = 128, hidden: Width = 512,
        layers: Layers = 1, tile: Side = 16,
    ):  # fmt: skip
        super().__init__()
        self.views = (enlarged(self.views[0], tile, encoder, "jigsaw"),)
        self.encoder, self.simple, self.standardise = encoder, simple, standardise
        self.asked, self.puzzles = 1 if simple else puzzles, Puzzles(permutations, rule=rule, seed=seed)
        self.narrow = nn.Identity() if simple else Neck([encoder.width, dim])
        entry, answers = (encoder.width, 9) if simple else (9 * dim, permutations)
        self.head = mlp(entry, hidden, answers, 1 if simple else layers, last_bias=True)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        tiles = cut(batch.views[0], batch.key, multiple=self.encoder.multiple)
        number = self.puzzles(batch.key, self.asked)
        logits, features = self.predict(tiles, number)

        answer = self.puzzles.orders[number].flatten() if self.simple else number.flatten()
        accuracy = (logits.argmax(1) == answer).float().mean()
        return {"loss": F.cross_entropy(logits, answer), "accuracy": accuracy, "feature_std": spread(features)}

    def predict(self, tiles: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[B n, permutations]`` of ``[B, n]`` puzzles (simple: ``[9 B n, 9]`` of tiles), and all features."""
        seen = standardised(tiles.flatten(3)).view_as(tiles) if self.standardise else tiles
        features = self.encoder(seen.flatten(0, 1))
        shown = self.puzzles.arranged(self.narrow(features).unflatten(0, (-1, 9)), number)
        rows = shown.flatten(0, 2) if self.simple else shown.flatten(2).flatten(0, 1)
        return full(self.head(rows)), features

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        tiles, number = cut(batch.views[0], batch.key, multiple=self.encoder.multiple), self.puzzles(batch.key)
        guess, side = self.puzzles.solution(self.predict(tiles, number)[0], self.simple), batch.views[0].shape[-1]
        shown, place = self.puzzles.arranged(tiles, number)[:, 0], torch.arange(9, device=guess.device).expand_as(guess)
        return {"picture": batch.views[0], "puzzle": laid(shown, place, side), "as solved": laid(shown, guess, side)}
