"""How good are the features right now? A weighted k-NN on labelled pictures, cheap enough to ask during training.

DINO's classifier (Caron et al. 2021, https://arxiv.org/abs/2104.14294): cosine similarity, weights exp(s / 0.07).
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data import Pictures, Split, Subset
from ..encoder import Encoder
from ..views.make import show


class Probe:
    """A k-NN accuracy of whatever encoder it is called with.

    The pictures are prepared once. Looking changes neither the encoder nor any random state.

    Args:
        split: labelled pictures: those of ``train`` are looked up, those of ``test`` recognised.
        size: side at which pictures are shown.
        device: of the encoder.
        neighbours: how many vote.
        temperature: of the votes.
        most: at most so many pictures of each, evenly spread over the set, to keep it cheap.
    """

    def __init__(
        self,
        split: Split,
        *,
        size: int,
        device: str = "cpu",
        neighbours: int = 20,
        temperature: float = 0.07,
        most: int = 1000,
    ):
        self.size, self.device = size, device
        self.neighbours, self.temperature = neighbours, temperature
        self.known, self.asked = _spread(split.train, most), _spread(split.test, most)
        self.shown: tuple[list[Tensor], list[Tensor]] | None = None

    def __call__(self, encoder: Encoder) -> dict[str, float]:
        """``{"knn": accuracy}``, a fraction of 1."""
        if self.shown is None:  # the encoder says how many channels and which normalisation
            self.shown = self._show(encoder, self.known), self._show(encoder, self.asked)
        known, asked = (self._features(encoder, pictures) for pictures in self.shown)
        labels = torch.from_numpy(self.known.labels).to(known.device)

        weight, place = (asked @ known.T).topk(min(self.neighbours, len(known)))
        votes = asked.new_zeros(len(asked), int(labels.max()) + 1)
        votes.scatter_add_(1, labels[place], (weight / self.temperature).exp())
        truth = torch.from_numpy(self.asked.labels).to(known.device)
        return {"knn": (votes.argmax(1) == truth).float().mean().item()}

    def _show(self, encoder: Encoder, pictures: Pictures) -> list[Tensor]:
        settings = {"size": self.size, "channels": encoder.channels, "mean": encoder.mean, "std": encoder.std}
        return [
            show(pictures.read(numbers), device=self.device, **settings)
            for numbers in np.array_split(np.arange(len(pictures)), max(1, len(pictures) // 128))
        ]

    @torch.no_grad()
    def _features(self, encoder: Encoder, pictures: list[Tensor]) -> Tensor:
        modes = {module: module.training for module in encoder.modules()}
        encoder.eval()
        features = torch.cat([F.normalize(encoder(part).float(), dim=1) for part in pictures])
        for module, training in modes.items():
            module.training = training
        return features


def _spread(pictures: Pictures, most: int) -> Pictures:
    labelled = np.flatnonzero(pictures.labels >= 0)
    kept = labelled[np.linspace(0, len(labelled) - 1, min(most, len(labelled))).round().astype(int)]
    return Subset(pictures, kept)
