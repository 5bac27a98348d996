"""Which patches of a picture are hidden, drawn from each sample's key.

Rectangles: Bao et al., "BEiT", ICLR 2022. https://arxiv.org/abs/2106.08254
Corrupted patches: Dosovitskiy et al., ICLR 2021. https://arxiv.org/abs/2010.11929
"""

import math

import torch
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..views.random import Salt, branch, uniforms

ASPECT = math.log(1 / 0.3)
"""rectangles are at most so many times (in logarithms) as high as wide, or as wide as high"""
TRIES = 10
"""for each rectangle"""


def random_mask(key: Tensor, length: int, ratio: float) -> tuple[Tensor, Tensor]:
    """Hides the same number of patches in every picture, each picture at its own random places.

    Args:
        key: int64 ``[B]``, the samples' keys.
        length: the number of patches ``L``.
        ratio: the hidden share; ``int(L * (1 - ratio))`` patches stay, as in the published MAE code.

    Returns:
        ``keep``, int64 ``[B, K]``, the numbers of the visible patches; ``hidden``, bool ``[B, L]``.
    """
    noise = uniforms(key, length, Salt.HIDE)
    keep = noise.argsort(dim=1, stable=True)[:, : int(length * (1 - ratio))]
    return keep, torch.ones_like(noise, dtype=torch.bool).scatter(1, keep, False)


def leaving_out(encoder: Encoder, mask: float, method: str) -> tuple[int, int]:
    """The side of an encoder's patches and their number ``L``, where `random_mask` hides a share ``mask`` of them.

    Raises:
        InputError: if the encoder cannot leave patches out, or that hides none or all.
    """
    if not encoder.maskable or encoder.patch is None or encoder.patches is None:
        raise InputError(
            f"{method} needs a ViT, such as 'vit_tiny_patch16_224'; {encoder.model!r} cannot leave out patches"
        )
    some_of(encoder, method, mask, encoder.patches - int(encoder.patches * (1 - mask)), encoder.patches, "patches")
    return encoder.patch, encoder.patches


def some_of(encoder: Encoder, method: str, mask: float, hidden: int, count: int, what: str) -> int:
    """How many of the patches, or of squares of them, a share ``mask`` hides: ``hidden``, which is some but not all.

    Raises:
        InputError: if it is none or all, naming the nearest share that works, or there is one alone.
    """
    if count < 2:
        raise InputError(
            f"{method} hides some {what} and leaves some, and {encoder.model!r} has {count} for {encoder.size} px; "
            "take a larger size or a smaller patch_size"
        )
    if not 0 < hidden < count:  # rounded inwards, so that it works when it is typed
        nearest = math.ceil(1000 / count) / 1000 if hidden < 1 else math.floor(1000 - 1000 / count) / 1000
        raise InputError(
            f"{method}(mask={mask}) must hide some of the {count} {what} and leave some; nearest: {nearest}"
        )
    return hidden


def exact_mask(key: Tensor, length: int, count: int | Tensor) -> Tensor:
    """Hides exactly ``count`` patches of every picture, each picture's at its own random places.

    Args:
        key: int64 ``[B]``, the samples' keys.
        length: the number of patches ``L``.
        count: how many, for all pictures or for each, int64 ``[B, 1]``.

    Returns:
        bool ``[B, L]``, True where hidden.
    """
    order = uniforms(key, length, Salt.HIDE).argsort(dim=1, stable=True).argsort(dim=1)
    return order < count


def corruption(key: Tensor, length: int, count: int, blank: float, swapped: float) -> tuple[Tensor, Tensor, Tensor]:
    """Corrupts exactly ``count`` patches of every picture, each of them in one of three ways, drawn by itself.

    Args:
        key: int64 ``[B]``, the samples' keys.
        length: the number of patches ``L``, 2 or more.
        count: how many are corrupted.
        blank: the probability that a corrupted patch is not seen at all,
        swapped: and that another patch of the picture, any with the same probability, is seen in its place; it is
            left as it is otherwise.

    Returns:
        bool ``[B, L]``, which are corrupted; bool ``[B, L]``, which of them are not seen; int64 ``[B, L]``, the number
        of the patch that is seen at each place.
    """
    corrupted = exact_mask(key, length, count)
    kind, place = uniforms(key, length, Salt.CORRUPTION), torch.arange(length, device=key.device)
    # In double precision: a single one could round 1 - 2^-24 times length - 1 up, and a patch would be its own other.
    other = (place + 1 + (uniforms(key, length, Salt.OTHER).double() * (length - 1)).long()) % length
    swap = corrupted & (kind >= blank) & (kind < blank + swapped)
    return corrupted, corrupted & (kind < blank), torch.where(swap, other, place)


def shared_mask(key: Tensor, there: Tensor, length: int, count: int) -> tuple[Tensor, Tensor]:
    """Leaves ``count`` tokens of several modalities visible, at random places, shared out at random.

    The modalities' shares follow a symmetric Dirichlet distribution of concentration 1: exponential draws over their
    sum. Shares are rounded where they end on the line from 0 to ``count``, so that they always add up.

    Bachmann et al., "MultiMAE", ECCV 2022. https://arxiv.org/abs/2204.01678

    Args:
        key: int64 ``[B]``, the samples' keys.
        there: bool ``[B, M]``, which modalities a sample has, one at least; the others get no share.
        length: the number of tokens of each, ``L``.
        count: no more than ``L``.

    Returns:
        ``keep``, int64 ``[B, count]``, the numbers of the visible tokens, modality after modality, ascending;
        ``hidden``, bool ``[B, M, L]``.
    """
    modalities = there.shape[1]
    draws = torch.where(there, -(uniforms(key, modalities, Salt.BUDGET).double() + 2.0**-25).log(), 0.0)
    ends = (count * draws.cumsum(1) / draws.sum(1, keepdim=True)).round()
    counts = ends.diff(dim=1, prepend=torch.zeros_like(ends[:, :1]))

    noise = uniforms(key, modalities * length, Salt.HIDE).unflatten(1, (modalities, length))
    hidden = noise.argsort(dim=-1, stable=True).argsort(dim=-1) >= counts[..., None]
    return hidden.flatten(1).byte().argsort(dim=1, stable=True)[:, :count], hidden


def crop_masks(
    key: Tensor, crops: int, grid: int, holes: float, share: tuple[float, float], smallest: int, blocks: bool = True
) -> Tensor:
    """Masks for several crops of each picture, each crop with its own: bool ``[crops * B, grid * grid]``, crop by crop.

    Args:
        key: int64 ``[B]``, the samples' keys.
        crops: how many of each picture.
        grid: patches along a side.
        holes: the probability that anything is hidden at all; it is then
        share: of the patches, drawn uniformly between these two.
        smallest: the area from which rectangles are drawn, in patches.
        blocks: hide rectangles; otherwise single patches, exactly so many.
    """
    keys = torch.cat([branch(key, crop) for crop in range(crops)])
    draw = uniforms(keys, 2, Salt.SHARE).double()
    count = grid**2 * torch.where(draw[:, 0] < holes, share[0] + (share[1] - share[0]) * draw[:, 1], 0.0)
    if blocks:
        return block_mask(keys, grid, count, smallest)
    return exact_mask(keys, grid**2, count.long()[:, None])


def block_mask(key: Tensor, grid: int, count: Tensor, smallest: int) -> Tensor:
    """Hides rectangles of patches until ``count`` are hidden, or a little fewer: never more.

    A rectangle's area is drawn uniformly from ``smallest`` to what is still to hide, its aspect log-uniformly from 0.3
    to 1 / 0.3, its place uniformly. It is taken if it is smaller than the picture, hides something new and not more
    than is still to hide. After ten tries in a row without one the mask stays as it is. This is the rule of BEiT, and
    of iBOT and DINOv2, which differ in ``smallest`` alone.

    Args:
        key: int64 ``[B]``, one for each mask.
        grid: patches along a side.
        count: how many to hide, ``[B]``; need not be whole.
        smallest: an area in patches: 16 in BEiT, 4 in DINOv2, a third of the side squared in iBOT.

    Returns:
        bool ``[B, grid * grid]``, True where hidden, the same on every device.
    """
    device, key, count = key.device, key.cpu(), count.cpu().double()  # a GPU's square roots may round another way
    mask, place = torch.zeros(len(key), grid, grid, dtype=torch.bool), torch.arange(grid)
    left, failed, attempt = count, torch.zeros(len(key)), 0
    while (active := (left > 0) & (failed < TRIES)).any():
        area, aspect, *corner = uniforms(key, 4, Salt.BLOCK, attempt).double().unbind(1)
        area, aspect = smallest + (left - smallest) * area, (ASPECT * (2 * aspect - 1)).exp()
        sides = [(area * aspect).clamp(min=0).sqrt().round(), (area / aspect).clamp(min=0).sqrt().round()]
        starts = [(draw * (grid - side + 1)).floor() for draw, side in zip(corner, sides)]

        rows, columns = (
            (place >= start[:, None]) & (place < (start + side)[:, None]) for start, side in zip(starts, sides)
        )
        block = rows[:, :, None] & columns[:, None, :]
        new = (block & ~mask).sum((1, 2))
        taken = active & (torch.maximum(*sides) < grid) & (new > 0) & (new <= left)

        mask |= block & taken[:, None, None]
        left, failed = torch.where(taken, left - new, left), torch.where(taken, 0, failed + 1)
        attempt += 1
    return mask.flatten(1).to(device)
