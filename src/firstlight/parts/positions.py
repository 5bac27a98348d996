"""Fixed two-dimensional sine and cosine position embeddings.

The form of He et al., CVPR 2022. https://arxiv.org/abs/2111.06377
"""

import torch
from torch import Tensor, nn

from ..errors import InputError


def sincos(width: int, grid: int, prefix: int = 0) -> Tensor:
    """Embeddings of a square grid, float32 ``[prefix + grid * grid, width]``, row by row.

    The first half of a row encodes the column and the second half the row, each as sines then cosines at ``width / 4``
    frequencies from 1 down to almost 1 / 10000. The ``prefix`` tokens stand nowhere and get zeros.

    Raises:
        InputError: if ``width`` is not a multiple of 4.
    """
    if width % 4:
        raise InputError(f"a sine-cosine position embedding needs a width that is a multiple of 4, got {width}")
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns, rows = line.repeat(grid, 1), line.repeat_interleave(grid, dim=0)
    return torch.cat([torch.zeros(prefix, width), torch.cat([columns, rows], dim=1).float()])


@torch.no_grad()
def fix(encoder: nn.Module, patches: int) -> None:
    """Sets an encoder's learned position embedding to the fixed one, and stops training it.

    An encoder without a learned absolute embedding (rotary, relative) keeps what it has.

    Args:
        encoder: a ViT whose embedding is a parameter called ``...pos_embed`` of shape ``[1, prefix + L, width]``.
        patches: ``L``, a square number.
    """
    for name, parameter in encoder.named_parameters():
        if name.endswith("pos_embed") and parameter.ndim == 3:
            length, width = parameter.shape[1:]
            parameter.copy_(sincos(width, round(patches**0.5), prefix=length - patches)[None])
            parameter.requires_grad_(False)
