"""A small transformer that fills in hidden patches: the decoder of masked autoencoders.

He et al., CVPR 2022. https://arxiv.org/abs/2111.06377
"""

import torch
from torch import Tensor, nn

from ..errors import InputError
from .positions import sincos


class Decoder(nn.Module):
    """Puts the visible tokens back in their places, a learned token in the others, and predicts every patch.

    Args:
        entry: width of the encoder's tokens.
        patches: the number of patches of a whole picture, a square number.
        values: how many numbers to predict for each patch.
        width: of the decoder; a multiple of 4 and of ``heads``.
        depth: the number of blocks.
        heads: attention heads of each block.

    Raises:
        InputError: if ``width`` cannot be divided among the heads.
    """

    def __init__(self, entry: int, patches: int, values: int, *, width: int = 512, depth: int = 8, heads: int = 16):
        super().__init__()
        if min(width, heads) < 1 or depth < 0:
            given = f"width={width}, heads={heads}, depth={depth}"
            raise InputError(f"a decoder of {given}: allowed are 1 and more, 1 and more, 0 and more")
        if width % heads:
            raise InputError(f"a decoder {width} wide cannot be divided among {heads} heads")
        self.enter = nn.Linear(entry, width)
        self.hole = nn.Parameter(torch.empty(1, 1, width))  # three dimensions, so that it decays, as published
        self.register_buffer("position", sincos(width, round(patches**0.5)), persistent=False)
        self.blocks = nn.Sequential(*(_block(width, heads) for _ in range(depth)), nn.LayerNorm(width, eps=1e-6))
        self.leave = nn.Linear(width, values)
        initialise(self)
        nn.init.normal_(self.hole, std=0.02)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """Predictions ``[B, L, values]`` for all patches.

        Args:
            tokens: what the encoder made of the visible patches, prefix tokens first, ``[B, prefix + K, entry]``.
            keep: int64 ``[B, K]``, where the visible patches belong.
        """
        prefix, seen = self.enter(tokens).tensor_split([tokens.shape[1] - keep.shape[1]], dim=1)
        canvas = self.hole.to(seen.dtype).expand(len(seen), len(self.position), -1)
        canvas = canvas.scatter(1, keep[..., None].expand_as(seen), seen) + self.position

        out = self.blocks(torch.cat([prefix, canvas], dim=1))
        return self.leave(out[:, prefix.shape[1] :])


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """The paper's initialisation: Xavier-uniform weights with patch convolutions seen as linear layers, zero biases."""
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(part.weight.view(len(part.weight), -1))
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        if isinstance(part, nn.MultiheadAttention):
            nn.init.xavier_uniform_(part.in_proj_weight)
            nn.init.zeros_(part.in_proj_bias)
    for name, parameter in module.named_parameters():
        if name.endswith("cls_token"):
            nn.init.normal_(parameter, std=0.02)


def _block(width: int, heads: int) -> nn.TransformerEncoderLayer:
    """One pre-norm ViT block."""
    return nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    )
