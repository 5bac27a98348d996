"""A kept encoder that is only looked at: it is never trained, and sees pictures as it was trained on them."""

import torch
from torch import Tensor, nn

from ..encoder import Encoder


class Frozen(nn.Module):
    """Holds another encoder, always in evaluation mode, for pictures that are normalised for a trained one.

    Args:
        path: a kept encoder: its folder, or a run.
        like: the encoder that is trained; the other is read in its size and channels.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, path: str, like: Encoder):
        super().__init__()
        self.encoder = Encoder.load(path, size=like.size, channels=like.channels).requires_grad_(False)
        mean, std, own_mean, own_std = (
            torch.tensor(x).float().view(-1, 1, 1) for x in (like.mean, like.std, self.encoder.mean, self.encoder.std)
        )
        self.register_buffer("scale", std / own_std, persistent=False)
        self.register_buffer("shift", (mean - own_mean) / own_std, persistent=False)
        self.train()

    def normalised(self, pictures: Tensor) -> Tensor:
        """Pictures ``[B, C, S, S]`` normalised for ``like``, as this encoder wants them."""
        return pictures * self.scale + self.shift

    def train(self, mode: bool = True) -> "Frozen":
        """Stays in evaluation mode."""
        return super().train(False)
