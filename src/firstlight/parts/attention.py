"""Where a Vision Transformer looks: the attention of the heads of one block, and which heads matter.

Dosovitskiy et al., ICLR 2021. https://arxiv.org/abs/2010.11929
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import ranks
from ..encoder import Encoder
from ..errors import InputError
from ..reading import Reading
from .frozen import Frozen
from .losses import full


def with_attention(encoder: Encoder, pictures: Tensor, block: int = -1) -> tuple[Tensor, Tensor]:
    """Pooled features, and the attention of every head of one block, in one pass; gradients flow through both.

    timm computes attention inside a fused kernel that does not give it away, so it is computed once more from what
    came into the block.

    Args:
        encoder: a Vision Transformer.
        pictures: ``[B, C, S, S]``, normalised as the encoder wants them.
        block: its number; the last by default.

    Returns:
        Features ``[B, width]`` and the logarithm of the attention ``[B, heads, N, N]``, from each token (row) to each.
    """
    features, layer, tokens = _caught(encoder, pictures, block)
    query, key, _ = _projected(layer, tokens)
    return features, _attention(encoder, layer, query, key)


@torch.no_grad()
def importance(encoder: Encoder, pictures: Tensor, block: int = -1) -> Tensor:
    """How much each head of a block adds to the tokens: the mean norm of its part of the block's output, ``[heads]``.

    Args:
        encoder: a Vision Transformer.
        pictures: ``[B, C, S, S]``, normalised as the encoder wants them.
        block: its number; the last by default.
    """
    _, layer, tokens = _caught(encoder, pictures, block)
    query, key, value = _projected(layer, tokens)
    mixed = _attention(encoder, layer, query, key).exp() @ full(value)
    out = full(layer.proj.weight).unflatten(1, (layer.num_heads, -1))
    return torch.einsum("bhnd,whd->bhnw", mixed, out).norm(dim=-1).mean((0, 2))


def heads_of(encoder: Encoder, block: int = -1) -> int:
    """The number of heads of a block.

    Raises:
        InputError: if the encoder is not a Vision Transformer with plain attention, or does not use the block.
    """
    layer: Any = getattr(encoder.net.blocks[block], "attn", None) if encoder.maskable else None
    if isinstance(encoder.reading, Reading) and range(len(encoder.net.blocks))[block] >= encoder.reading.block:
        read = f"{encoder.model!r} is read at block {encoder.reading.block}, and block {block} is not used"
        raise InputError(f"{read}; name one before it, or load the encoder with neck=False")
    if not all(hasattr(layer, part) for part in ("qkv", "q_norm", "k_norm", "scale", "proj")):
        raise InputError(f"{encoder.model!r} gives no attention; choose a Vision Transformer, such as vit_ or deit_")
    return layer.num_heads


def divergence(wanted: Tensor, own: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of attention from what is wanted, averaged over samples, heads and tokens.

    Args:
        wanted: logarithms ``[B, heads, N, N]``.
        own: the same of the one that learns.
    """
    return (wanted.exp() * (wanted - own)).sum(-1).mean()


class Imitated(nn.Module):
    """Some heads of the last block of a kept Vision Transformer, for another that imitates them.

    Args:
        path: a kept encoder: its folder, or a run.
        like: the encoder that imitates.
        count: how many heads: the first ones, until `choose` finds the most important.

    Raises:
        InputError: if there are not so many heads, or the two do not have the same tokens.
    """

    chosen: Tensor

    def __init__(self, path: str, like: Encoder, count: int):
        super().__init__()
        self.path, self.count = path, count
        self.frozen = Frozen(path, like)
        other = self.frozen.encoder
        if heads_of(other) < count:
            raise InputError(f"{path!r} has {heads_of(other)} heads, and {count} are to be imitated")
        if (other.patches, other.prefix) != (like.patches, like.prefix):
            raise InputError(
                f"{path!r} has {other.patches} patches and {other.prefix} tokens before them, {like.model!r} has "
                f"{like.patches} and {like.prefix}; both must agree for attention to be imitated"
            )
        self.register_buffer("chosen", torch.arange(count))

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """The logarithm of the chosen heads' attention ``[B, count, N, N]``."""
        _, attention = with_attention(self.frozen.encoder, self.frozen.normalised(pictures))
        return attention[:, self.chosen]

    def choose(self, batches: Sequence[Tensor]) -> None:
        """Chooses the most important heads, on average over the batches of all ranks."""
        found = [importance(self.frozen.encoder, self.frozen.normalised(pictures)) for pictures in batches]
        self.chosen.copy_(ranks.mean(torch.stack(found).mean(0)).topk(self.count).indices)


def _caught(encoder: Encoder, pictures: Tensor, block: int) -> tuple[Tensor, Any, Tensor]:
    """Pooled features, the attention layer of a block, and what came into it, ``[B, N, width]``."""
    heads_of(encoder, block)
    layer, inputs = encoder.net.blocks[block].attn, []
    hook = layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    try:
        features = encoder(pictures)
    finally:
        hook.remove()
    return features, layer, inputs[0]


def _projected(layer: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, ``[B, heads, N, D]`` each."""
    query, key, value = layer.qkv(tokens).unflatten(-1, (3, layer.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return layer.q_norm(query), layer.k_norm(key), value


def _attention(encoder: Encoder, layer: Any, query: Tensor, key: Tensor) -> Tensor:
    with torch.autocast(query.device.type, enabled=False):
        scores = full(query) @ full(key).mT * layer.scale
        if encoder.causal:
            scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
        return scores.log_softmax(-1)
