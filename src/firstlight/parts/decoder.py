"""Small transformers that fill in hidden patches: the decoders of masked autoencoders.

He et al., CVPR 2022. https://arxiv.org/abs/2111.06377
Several modalities: Bachmann et al., "MultiMAE", ECCV 2022. https://arxiv.org/abs/2204.01678
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
        width: of the decoder; a multiple of 4 and of ``heads``. None is about two thirds of the encoder's, in
            multiples of 32: the paper's 512 for ViT-B.
        depth: the number of blocks.
        heads: attention heads of each block; None is one for every 32 of the width, as in the paper.

    Raises:
        InputError: if ``width`` cannot be divided among the heads.
    """

    def __init__(
        self, entry: int, patches: int, values: int, *, width: int | None = None, depth: int = 8,
        heads: int | None = None,
    ):  # fmt: skip
        super().__init__()
        width = max(32, round(entry / 48) * 32) if width is None else width
        heads = next(n for n in range(max(1, width // 32), 0, -1) if width % n == 0) if heads is None else heads
        _check(width, depth, heads)
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


class CrossDecoder(nn.Module):
    """Predicts every patch of one of several modalities from the visible tokens of all.

    The modality's own tokens, with a learned one where they are hidden, look once at all that the encoder made, then
    at each other. As published, what they find replaces them: there is no way around the cross-attention.

    Args:
        entry: width of the encoder's tokens.
        patches: the number of patches of one modality, a square number, ``L``.
        values: how many numbers to predict for each patch.
        place: which modality it predicts, from 0.
        modalities: how many there are.
        width: of the decoder; a multiple of 4 and of ``heads``.
        depth: the number of blocks after the cross-attention and its MLP.
        heads: attention heads of each block.

    Raises:
        InputError: if ``width`` cannot be divided among the heads.
    """

    position: Tensor

    def __init__(
        self, entry: int, patches: int, values: int, *, place: int, modalities: int, width: int, depth: int, heads: int
    ):
        super().__init__()
        _check(width, depth, heads)
        self.own = slice(place * patches, (place + 1) * patches)
        self.enter = nn.Linear(entry, width)
        self.hole = nn.Parameter(torch.empty(1, 1, width))
        self.modality = nn.Parameter(torch.empty(modalities, 1, width))
        self.register_buffer("position", sincos(width, round(patches**0.5)), persistent=False)
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for _ in range(3))
        self.cross = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.blocks = nn.Sequential(*(_block(width, heads) for _ in range(depth)))
        self.leave = nn.Linear(width, values)
        initialise(self)
        for learned in (self.hole, self.modality):
            nn.init.normal_(learned, std=0.02)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """Predictions ``[B, L, values]`` for all patches of the modality.

        Args:
            tokens: what the encoder made of the visible tokens, prefix tokens first, ``[B, prefix + K, entry]``.
            keep: int64 ``[B, K]``, their numbers, modality after modality: token ``i`` is patch ``i % L``.
        """
        prefix, seen = self.enter(tokens).tensor_split([tokens.shape[1] - keep.shape[1]], dim=1)
        where = (self.modality + self.position).flatten(0, 1)
        canvas = self.hole.to(seen.dtype).expand(len(seen), len(where), -1)
        queries = canvas.scatter(1, keep[..., None].expand_as(seen), seen)[:, self.own] + where[self.own]
        context = self.norms[1](torch.cat([prefix, seen + where[keep]], dim=1))

        x = self.cross(self.norms[0](queries), context, context, need_weights=False)[0]
        x = x + self.mlp(self.norms[2](x))
        return self.leave(self.blocks(x))


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


def _check(width: int, depth: int, heads: int) -> None:
    if min(width, heads) < 1 or depth < 0:
        given = f"width={width}, heads={heads}, depth={depth}"
        raise InputError(f"a decoder of {given}: allowed are 1 and more, 1 and more, 0 and more")
    if width % heads:
        raise InputError(f"a decoder {width} wide cannot be divided among {heads} heads")
