"""Where a view comes from: drawing boxes, cutting and resizing them with an antialiasing filter, flips and turns.

The filters are Pillow's and torchvision's (``antialias=True``). Small pictures are resized all at once, as two matrix
products whose weights hold each sample's box and flips; on a CPU, pictures above ``DENSE`` pixels go one by one
through ``torch.nn.functional.interpolate``, which knows that the weights are mostly zeros.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from . import View
from .random import Salt, uniforms

__all__ = ["boxes", "center_boxes", "random_boxes", "rectangles", "resized", "turned"]

DENSE = 64
"""the largest picture side that two dense products resize faster than one ``interpolate`` for each sample on a CPU"""
DENSE_GPU = 1024
TRIES = 10


def boxes(key: Tensor, view: View, height: Tensor, width: Tensor) -> Tensor:
    """Draws each sample's crop: top, left, height, width in pixels, int64 ``[B, 4]``.

    Args:
        key: int64 ``[B]``.
        view: its ``crop``, ``scale``, ``ratio`` and ``keep`` are used.
        height: int64 ``[B]``, the pictures'.
        width: int64 ``[B]``.
    """
    if view.crop == "random":
        return random_boxes(key, height, width, view.scale, view.ratio)
    return center_boxes(height, width, view.keep)


def random_boxes(
    key: Tensor, height: Tensor, width: Tensor, scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """Torchvision's random resized crop: the first of ten rectangles that fits, else the largest allowed central one.

    Args:
        key: int64 ``[B]``.
        height: int64 ``[B]``.
        width: int64 ``[B]``.
        scale: the smallest and largest area, as fractions of the picture's, drawn uniformly.
        ratio: the smallest and largest width / height, drawn log-uniformly.

    Returns:
        top, left, height, width, int64 ``[B, 4]``.
    """
    high, wide, fits = rectangles(key, height, width, scale, ratio, Salt.BOX)
    high = torch.where(fits, high, torch.minimum(height, (width / ratio[0]).round().long().clamp(min=1)))
    wide = torch.where(fits, wide, torch.minimum(width, (height * ratio[1]).round().long().clamp(min=1)))

    across = uniforms(key, 2, Salt.BOX, 1).double()
    top = torch.where(fits, (across[:, 0] * (height - high + 1)).long(), (height - high) // 2)
    left = torch.where(fits, (across[:, 1] * (width - wide + 1)).long(), (width - wide) // 2)
    return torch.stack([top, left, high, wide], dim=1)


def center_boxes(height: Tensor, width: Tensor, keep: float) -> Tensor:
    """The central square whose side is ``keep`` times the short side, int64 ``[B, 4]``.

    Differs from resizing the whole picture and then cutting its centre by what the filter sees beyond the cut, and by
    the rounding of the box to whole pixels.
    """
    side = (torch.minimum(height, width) * keep).round().long().clamp(min=1)
    return torch.stack([(height - side) // 2, (width - side) // 2, side, side], dim=1)


def rectangles(
    key: Tensor,
    height: Tensor,
    width: Tensor,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    salt: int,
    margin: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws ten rectangles for each sample and takes the first that fits into ``height`` x ``width``.

    Args:
        key: int64 ``[B]``.
        height: int64 ``[B]``, of the picture that ``scale`` refers to.
        width: int64 ``[B]``.
        scale: the smallest and largest area, as fractions, drawn uniformly.
        ratio: the smallest and largest width / height, drawn log-uniformly.
        salt: what the rectangles are for.
        margin: by how many pixels they must at least be smaller.

    Returns:
        their heights and widths, int64 ``[B]``, and whether any fitted, bool ``[B]``.
    """
    drawn = uniforms(key, 2 * TRIES, salt, 0).double()
    area = (height * width)[:, None] * (scale[0] + drawn[:, :TRIES] * (scale[1] - scale[0]))
    log_ratio = math.log(ratio[0]) + drawn[:, TRIES:] * (math.log(ratio[1]) - math.log(ratio[0]))
    wide = torch.sqrt(area * torch.exp(log_ratio)).round().long()
    high = torch.sqrt(area / torch.exp(log_ratio)).round().long()

    fits = (wide > 0) & (wide <= width[:, None] - margin) & (high > 0) & (high <= height[:, None] - margin)
    first = fits.int().argmax(dim=1, keepdim=True)
    return high.gather(1, first)[:, 0], wide.gather(1, first)[:, 0], fits.any(dim=1)


def resized(
    pixels: Tensor | Sequence[Tensor],
    box: Tensor,
    side: int,
    *,
    bicubic: bool = False,
    flipped: Tensor | None = None,
    flipped_vertical: Tensor | None = None,
) -> Tensor:
    """Cuts each sample's box, resizes it to a square with an antialiasing filter, and flips it.

    Args:
        pixels: uint8 ``[B, H, W, C]``, or B pictures ``[H, W, C]`` of different sizes, on one device.
        box: int64 ``[B, 4]`` on the CPU: top, left, height, width.
        side: of the result, in pixels.
        bicubic: the filter; bilinear otherwise.
        flipped: bool ``[B]`` on the CPU, left-right.
        flipped_vertical: bool ``[B]`` on the CPU.

    Returns:
        float32 ``[B, C, side, side]`` in [0, 1], on the pixels' device. Bicubic overshoot is cut off.
    """
    none = torch.zeros(len(box), dtype=torch.bool)
    flips = (none if flipped is None else flipped, none if flipped_vertical is None else flipped_vertical)
    out = (_dense if _dense_pays(pixels) else _one_by_one)(pixels, box, side, bicubic, *flips)
    return out.clamp_(0, 1) if bicubic else out


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Rotates each sample of ``[B, C, S, S]`` by its number of quarter turns counter-clockwise, int64 ``[B]`` (CPU)."""
    if not turns.any():
        return images
    out = images.clone()
    for number in (1, 2, 3):
        chosen = (turns == number).nonzero()[:, 0].to(images.device)
        out[chosen] = torch.rot90(images[chosen], number, (2, 3))
    return out


def _dense_pays(pixels: Tensor | Sequence[Tensor]) -> bool:
    limit = DENSE if pixels[0].device.type == "cpu" else DENSE_GPU
    if isinstance(pixels, Tensor):
        return max(pixels.shape[1:3]) <= limit
    height, width = max(p.shape[0] for p in pixels), max(p.shape[1] for p in pixels)
    wasted = height * width * len(pixels) > 2 * sum(p.shape[0] * p.shape[1] for p in pixels)
    return max(height, width) <= limit and not wasted


def _dense(
    pixels: Tensor | Sequence[Tensor], box: Tensor, side: int, bicubic: bool, flipped: Tensor, flipped_vertical: Tensor
) -> Tensor:
    """Rows first, while the pixels of a row still lie together, then columns."""
    pixels = pixels if isinstance(pixels, Tensor) else _padded(pixels)
    batch, height, width, channels = pixels.shape
    rows = _weights(box[:, 0], box[:, 2], height, side, bicubic, flipped_vertical, pixels.device).mul_(1 / 255)
    columns = _weights(box[:, 1], box[:, 3], width, side, bicubic, flipped, pixels.device)

    out = torch.bmm(rows, pixels.reshape(batch, height, width * channels).float())
    out = out.view(batch, side, width, channels).permute(0, 3, 1, 2).reshape(batch, channels * side, width)
    return torch.bmm(out, columns.transpose(1, 2)).view(batch, channels, side, side)


def _weights(
    start: Tensor, extent: Tensor, length: int, side: int, bicubic: bool, reverse: Tensor, device: torch.device
) -> Tensor:
    """What each of ``side`` new pixels takes from each of ``length`` old ones, float32 ``[B, side, length]``.

    A new pixel's centre lies at (i + 1/2) * scale in the box; the filter, stretched by the scale when shrinking, is
    sampled at the old pixels' centres inside the box and normalised.
    """
    reach = 2.0 if bicubic else 1.0
    taps = 2 * math.ceil(reach * max(1.0, int(extent.max()) / side)) + 1
    start, extent, reverse = (x.to(device)[:, None] for x in (start, extent, reverse))
    new = torch.arange(side, device=device)
    new = torch.where(reverse, side - 1 - new, new)
    scale = extent.double() / side
    stretch = scale.clamp(min=1.0)
    center = (new + 0.5) * scale
    old = (center - reach * stretch + 0.5).floor()[..., None] + torch.arange(taps, device=device)

    distance = ((old + 0.5 - center[..., None]) / stretch[..., None]).abs_()
    weights = _cubic(distance) if bicubic else (1 - distance).clamp_(min=0)
    weights.mul_((old >= 0) & (old < extent[..., None]))
    weights = (weights / weights.sum(-1, keepdim=True)).float()
    place = (old.long() + start[..., None]).clamp_(0, length - 1)
    return weights.new_zeros(*weights.shape[:2], length).scatter_add_(2, place, weights)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic with a = -1/2, which Pillow and torch use when antialiasing."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def _padded(pixels: Sequence[Tensor]) -> Tensor:
    height, width = max(p.shape[0] for p in pixels), max(p.shape[1] for p in pixels)
    out = pixels[0].new_zeros(len(pixels), height, width, pixels[0].shape[2])
    for whole, picture in zip(out, pixels):
        whole[: picture.shape[0], : picture.shape[1]] = picture
    return out


def _one_by_one(
    pixels: Tensor | Sequence[Tensor], box: Tensor, side: int, bicubic: bool, flipped: Tensor, flipped_vertical: Tensor
) -> Tensor:
    out = torch.empty(len(box), pixels[0].shape[2], side, side, device=pixels[0].device)
    mode = "bicubic" if bicubic else "bilinear"
    places, mirrored, inverted = box.tolist(), flipped.tolist(), flipped_vertical.tolist()
    for i, (top, left, high, wide) in enumerate(places):
        piece = pixels[i][top : top + high, left : left + wide].permute(2, 0, 1)[None].float()
        piece = functional.interpolate(piece, (side, side), mode=mode, antialias=True)[0]
        axes = [axis for axis, flip in ((1, inverted[i]), (2, mirrored[i])) if flip]
        out[i] = piece.flip(axes) if axes else piece
    return out.mul_(1 / 255)
