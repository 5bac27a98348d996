"""Turns uint8 pictures into the views of a method: every step batched, every sample with its own keyed draw."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from . import CENTER, Geometry, View, colour, crop, erase, randaugment
from .random import Salt, branch, uniform

__all__ = ["Drawn", "draw", "make", "pack", "show"]

CHUNK = 1 << 20
"""values that a CPU takes through all steps at a time: 4 MB stay in its caches, the whole batch would not"""
PILLOW_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Drawn:
    """All decisions about one view of a batch, each ``[B, ...]`` on the CPU: so the device is never waited for."""

    box: Tensor
    flipped: Tensor
    flipped_vertical: Tensor
    turns: Tensor
    operation: Tensor
    level: Tensor
    sign: Tensor
    factors: Tensor
    order: Tensor
    gray: Tensor
    sigma: Tensor
    """of the blur, in this view's pixels; 0 for none"""
    solarize: Tensor
    erased: Tensor
    key: Tensor

    def part(self, first: int, last: int) -> "Drawn":
        """The decisions about some of the samples."""
        return Drawn(*(decision[first:last] for decision in vars(self).values()))


def make(
    pixels: Tensor | Sequence[Tensor],
    key: Tensor,
    view: View,
    *,
    side: int,
    number: int,
    channels: int = 3,
    mean: float | Sequence[float] = 0.5,
    std: float | Sequence[float] = 0.5,
) -> tuple[Tensor, Geometry]:
    """Makes one view of each picture. A sample's view depends on its picture, key and number, not on its neighbours.

    Args:
        pixels: uint8 ``[B, H, W]`` (grey) or ``[B, H, W, 3]``, or B pictures ``[H, W]`` or ``[H, W, 3]`` of any sizes;
            all on the device where the views are wanted.
        key: int64 ``[B]``, best on the CPU.
        view: what to do.
        side: the result's, in pixels.
        number: which of the sample's views this is; each number has its own draws.
        channels: 1 or 3. Grey pictures are repeated, colour ones turned grey (Pillow's weights).
        mean: subtracted from the values in [0, 1], for all channels or for each.
        std: then divided by.

    Returns:
        float32 ``[B, channels, side, side]`` and where the views came from, on the pixels' device.

    Raises:
        InputError: if ``channels`` is neither 1 nor 3.
    """
    if channels not in (1, 3):
        raise InputError(f"channels={channels!r}: expected 1 (grey) or 3 (colour)")
    pixels = _with_channels(pixels)
    device = pixels[0].device
    height, width = (torch.tensor([picture.shape[axis] for picture in pixels]) for axis in (0, 1))
    place = None if view.like is None else branch(key.cpu(), view.like)
    drawn = draw(branch(key.cpu(), number), view, height, width, side, place)
    center, spread = (torch.tensor(x, device=device).float().reshape(1, -1, 1, 1) for x in (mean, std))

    out = torch.empty(len(pixels), channels, side, side, device=device)
    step = _samples_at_once(pixels, side)
    for first in range(0, len(pixels), step):
        some = drawn.part(first, first + step)
        part = out[first : first + step]
        torch.sub(_augmented(pixels[first : first + step], some, view, side, channels), center, out=part).div_(spread)
        erase.erase(part, some.erased, some.key)

    box, flips = drawn.box.float(), (drawn.flipped, drawn.flipped_vertical)
    return out, Geometry(*(x.to(device, non_blocking=True) for x in (box, *flips, drawn.turns)))


def show(
    pictures: Sequence[np.ndarray],
    *,
    size: int,
    view: View = CENTER[0],
    channels: int = 3,
    device: str | torch.device = "cpu",
    mean: float | Sequence[float] = 0.5,
    std: float | Sequence[float] = 0.5,
) -> Tensor:
    """Pictures as an encoder is to see them in evaluations: by default the central square, without augmentation.

    Args:
        pictures: uint8 ``[H, W]`` or ``[H, W, 3]`` each, of any sizes.
        size: the side wanted, in pixels.
        view: what to do instead; its draws are always the same.
        channels: 1 or 3.
        device: where the result is wanted.
        mean: as for ``make``.
        std: as for ``make``.

    Returns:
        float32 ``[B, channels, size, size]``.
    """
    key = torch.zeros(len(pictures), dtype=torch.int64)
    pixels = pack(pictures, device)
    return make(pixels, key, view, side=size, number=0, channels=channels, mean=mean, std=std)[0]


def pack(pictures: Sequence[np.ndarray], device: str | torch.device = "cpu") -> Tensor | list[Tensor]:
    """Moves pictures to a device: as one tensor ``[B, H, W(, 3)]`` if all have the same shape, else one by one.

    Raises:
        InputError: if there are none, or one is not uint8 ``[H, W]`` or ``[H, W, 3]``.
    """
    if not len(pictures):
        raise InputError("no pictures were given; expected at least one")
    for picture in pictures:
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)):
            raise InputError(f"expected uint8 [H, W] or [H, W, 3] pictures, got {picture.dtype} {list(picture.shape)}")
    if len({picture.shape for picture in pictures}) == 1:
        return torch.from_numpy(np.stack(pictures)).to(device, non_blocking=True)
    # torch warns about read-only memory, which held pictures are.
    return [torch.from_numpy(np.require(p, requirements=["C", "W"])).to(device, non_blocking=True) for p in pictures]


def draw(key: Tensor, view: View, height: Tensor, width: Tensor, side: int, place: Tensor | None = None) -> Drawn:
    """Decides everything about one view of each sample.

    Args:
        key: int64 ``[B]`` on the CPU, already different for each view of a sample.
        view: the probabilities and ranges.
        height: int64 ``[B]``, the pictures'.
        width: int64 ``[B]``.
        side: the view's, in pixels.
        place: int64 ``[B]``, the keys of the crop, the flips and the rotation, if those are another view's.
    """
    place = key if place is None else place
    chosen = lambda salt, chance, key=key: uniform(key, salt, 0) < chance  # noqa: E731
    low, high = view.sigma
    sigma = (low + uniform(key, Salt.BLUR, 1) * (high - low)) * (side / 224)
    turns = (uniform(place, Salt.TURN, 1) * 4).long()
    factors, order = colour.draw_jitter(key, view.jitter, view.jitter_p)
    operation, level, sign = randaugment.draw(key, view.randaugment)
    return Drawn(
        box=crop.boxes(place, view, height, width),
        flipped=chosen(Salt.FLIP, view.flip, place),
        flipped_vertical=chosen(Salt.FLIP_VERTICAL, view.flip_vertical, place),
        turns=torch.where(chosen(Salt.TURN, view.rotate, place), turns, 0),
        operation=operation,
        level=level,
        sign=sign,
        factors=factors,
        order=order,
        gray=chosen(Salt.GRAY, view.gray),
        sigma=torch.where(chosen(Salt.BLUR, view.blur), sigma, 0.0),
        solarize=chosen(Salt.SOLARIZE, view.solarize),
        erased=erase.boxes(key, side, view.erase),
        key=key,
    )


def kernel(side: int) -> int:
    """The blur's kernel in pixels: a tenth of the view's side (SimCLR), odd, at least 3."""
    return max(3, side // 20 * 2 + 1)


def _augmented(pixels: Tensor | Sequence[Tensor], drawn: Drawn, view: View, side: int, channels: int) -> Tensor:
    flips = {"flipped": drawn.flipped, "flipped_vertical": drawn.flipped_vertical}
    images = crop.resized(pixels, drawn.box, side, bicubic=view.bicubic, **flips)
    images = crop.turned(images, drawn.turns)
    if channels == 1:
        images = colour.luma(images, PILLOW_LUMA)
    elif images.shape[1] == 1:
        images = images.repeat(1, 3, 1, 1)

    if view.randaugment:
        images = randaugment.augment(images, randaugment.Chosen(drawn.operation, drawn.level, drawn.sign))
    if any(view.jitter):
        images = colour.jitter(images, drawn.factors, drawn.order)
    images = _where(images, drawn.gray, colour.gray)
    images = _where(images, drawn.sigma > 0, lambda some, sigma: colour.blur(some, sigma, kernel(side)), drawn.sigma)
    return _where(images, drawn.solarize, colour.solarize)


def _where(images: Tensor, chosen: Tensor, step: Callable[..., Tensor], *parameters: Tensor) -> Tensor:
    """Applies a step to the samples that drew it; the others cost nothing."""
    if not chosen.any():
        return images
    if chosen.all():
        return step(images, *parameters)
    place = chosen.nonzero()[:, 0].to(images.device)
    some = step(images.index_select(0, place), *(parameter[chosen] for parameter in parameters))
    return images.index_copy_(0, place, some)


def _with_channels(pixels: Tensor | Sequence[Tensor]) -> Tensor | Sequence[Tensor]:
    """Grey pictures get one channel, or three when others of the batch are coloured."""
    if isinstance(pixels, Tensor):
        return pixels[..., None] if pixels.ndim == 3 else pixels
    colours = 3 if any(picture.ndim == 3 for picture in pixels) else 1
    return [p if p.ndim == 3 else p[..., None].expand(-1, -1, colours) for p in pixels]


def _samples_at_once(pixels: Tensor | Sequence[Tensor], side: int) -> int:
    if pixels[0].device.type != "cpu":
        return len(pixels)
    largest = side
    if isinstance(pixels, Tensor):
        largest = max(side, min(max(pixels.shape[1:3]), crop.DENSE))
    return math.ceil(CHUNK / (3 * largest**2))
