"""The reading: the block inside a network where features are read, or the patches whose mean they are.

iGPT: Chen et al., ICML 2020. https://proceedings.mlr.press/v119/chen20s.html
"""

from dataclasses import dataclass
from typing import Any

from timm.models.vision_transformer import Block
from torch import Tensor

from .errors import CorruptError, InputError
from .grid import Grid


@dataclass(frozen=True)
class Reading:
    """Features are the mean over the patches of what the attention of one block is given, after the block's norm."""

    name = "a block to read at"
    """for people"""
    block: int
    """its number, from 0: so many blocks come before it, and it and those behind it are not used"""
    causal: bool
    """whether a token sees, in every block, no other than itself and those before it"""

    def __call__(self, net: Any, tokens: Tensor) -> Tensor:
        """Features ``[B, width]`` of what enters the first block, ``[B, prefix + N, width]``."""
        read = net.blocks[self.block].norm1(through(net.blocks[: self.block], tokens, self.causal))
        return read[:, net.num_prefix_tokens :].mean(1)

    def unused(self, net: Any) -> list[Any]:
        """What of the network has no part in the features."""
        last, behind = net.blocks[self.block], net.blocks[self.block + 1 :]
        return [*(part for part in last.children() if part is not last.norm1), *behind, net.norm, net.fc_norm]


def through(blocks: Any, tokens: Tensor, causal: bool) -> Tensor:
    """Tokens after some blocks of a Vision Transformer; with ``causal``, none saw those behind it."""
    for block in blocks:
        tokens = block(tokens, is_causal=True) if causal else block(tokens)
    return tokens


def chosen(net: Any, block: int | None, causal: bool, model: str) -> Reading:
    """A reading that the network can give: at a block from 0, or None for the middle one.

    Raises:
        InputError: if it has no such block, or none with a norm before its attention.
    """
    blocks = getattr(net, "blocks", ())
    if not len(blocks) or not all(isinstance(each, Block) for each in blocks):
        raise InputError(f"{model!r} cannot be read at a block; choose a plain Vision Transformer (vit_, deit_)")
    block = len(blocks) // 2 if block is None else block
    if type(block) is not int or not 0 <= block < len(blocks):
        nearest = "" if type(block) is not int else f"; nearest: {min(max(block, 0), len(blocks) - 1)}"
        raise InputError(f"{model!r} cannot be read at block {block!r}: allowed is 0 to {len(blocks) - 1}{nearest}")
    return Reading(block, bool(causal))


def rebuilt(about: Any, net: Any, model: str, source: str) -> Reading | Grid:
    """The reading that was saved: at a block, or of a grid of patches.

    Raises:
        CorruptError: if its description is neither, or not of this network.
    """
    kinds = {key: type(value) for key, value in about.items()} if isinstance(about, dict) else None
    try:
        if kinds == {"block": int, "causal": bool}:
            return chosen(net, about["block"], about["causal"], model)
        if kinds == {"count": int, "least": int}:
            return Grid(**about)
    except InputError as error:
        raise CorruptError(f"{source!r}: {error}") from None
    raise CorruptError(f"{source!r} does not say where features are read: {about!r}")
