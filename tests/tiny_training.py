"""A method, pictures and batches so small that a training step takes a millisecond."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from firstlight import ranks
from firstlight.methods import Method, Optimisation
from firstlight.train import Setup
from firstlight.views import Batch

CLASSES = 4


class TinyEncoder(nn.Module):
    """Two layers with everything that makes a resumption hard: running statistics, dropout, weights that are tied."""

    model, size, channels, width, layers = "tiny", 4, 1, 8, 2
    patch = patches = None
    prefix, mean, std = 0, 0.5, 0.5

    def __init__(self, dropout: float = 0.1):
        super().__init__()
        self.stem, self.norm, self.last = nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 8)
        self.tied = self.last.weight
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.dropout(F.relu(self.norm(self.stem(x.flatten(1))))))

    def layer_of(self, name: str) -> int:
        return 0 if name.startswith("stem") else 1


class Tiny(Method):
    optimisation = Optimisation(lr=0.1, warmup=0.1)

    def __init__(self, dropout: float = 0.1):
        super().__init__()
        self.encoder = TinyEncoder(dropout)
        self.head = nn.Linear(8, CLASSES)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.poison: dict[int, float] = {}

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        self.steps += 1
        features = self.encoder(batch.views[0])
        loss = F.cross_entropy(self.head(features), batch.label)
        return {"loss": loss, "spread": features.detach().std()}


class TinyBatches:
    """The same interface as ``Batches``; a batch is a function of the step."""

    def __init__(self, batch: int = 8, parts: int = 1, dtype: torch.dtype = torch.float32):
        self.batch, self.parts, self.dtype = batch, parts, dtype

    def at(self, step: int, part: int = 0) -> Batch:
        draw = torch.Generator().manual_seed(1000 + step)
        label = torch.randint(CLASSES, (self.batch,), generator=draw)
        pictures = torch.randn(self.batch, 1, 4, 4, generator=draw, dtype=self.dtype)
        pictures[:, 0, 0] += label[:, None]
        share = self.batch // (ranks.world() * self.parts)
        mine = slice((ranks.rank() * self.parts + part) * share, (ranks.rank() * self.parts + part + 1) * share)
        index = torch.arange(self.batch)
        return Batch([pictures[mine]], label[mine], index[mine] + step * self.batch, index[mine])

    def stream(self, start: int = 0) -> Iterator[Batch]:
        step = start
        while True:
            for part in range(self.parts):
                yield self.at(step, part)
            step += 1


def tiny(seed: int = 0, dropout: float = 0.1, kind: type[Tiny] = Tiny) -> Tiny:
    torch.manual_seed(seed)
    return kind(dropout)


def setup(**changes) -> Setup:
    changes = {"steps": 20, "batch": 8, "precision": "fp32", "optimisation": Tiny.optimisation} | changes
    return Setup(**changes)


def same(first: nn.Module, second: nn.Module) -> bool:
    """Whether all weights and buffers are equal to the bit."""
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())
