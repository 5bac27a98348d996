"""Lines one pixel wide for many pictures at once: the pixels of ``formulas/_lines.py``, found one by one.

That file follows a line from pixel to pixel. Here pixel ``i`` of a line is known without the ones before it: it has
moved aside by ``(2 i near + far) // (2 far)``, with ``far`` the line's length along its own direction and ``near``
aside. Where lines cross, the greater value stays, so values have to grow in the order of drawing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def draw(canvas: Tensor, start: Tensor, size: int, ends: Sequence[Tensor], value: Tensor) -> None:
    """Raises the pixels of lines to their values, both ends included.

    Args:
        canvas: int32, flat, the pictures of ``size * size`` pixels one after the other; changed in place.
        start: int64 ``[N]``, where in ``canvas`` each line's picture begins.
        size: the side of the pictures; lines are cut off where they leave them.
        ends: column and row of the first point, column and row of the last, int64 ``[N]`` within
            ``formulas._lines.FARTHEST``.
        value: int32 ``[N]``.
    """
    x0, y0, x1, y1 = ends
    across, down = (x1 - x0).abs(), (y1 - y0).abs()
    steep = down >= across
    far, near = torch.where(steep, down, across), torch.where(steep, across, down)
    a0, a1 = torch.where(steep, y0, x0), torch.where(steep, y1, x1)
    b0, b1 = torch.where(steep, x0, y0), torch.where(steep, x1, y1)
    first, last = _visible(a0, a1, b0, b1, far, near, size)
    count = (last - first + 1).clamp_(min=0)

    line = torch.repeat_interleave(count)
    before = torch.cumsum(count, 0) - count
    number = torch.arange(len(line), device=line.device) - (before - first)[line]
    far, near = far[line], near[line]
    aside = (2 * number * near + far) // (2 * far).clamp_(min=1)
    along = torch.where(a1 >= a0, 1, -1)[line].mul_(number).add_(a0[line])
    aside = torch.where(b1 >= b0, 1, -1)[line].mul_(aside).add_(b0[line])
    row, column = torch.where(steep[line], along, aside), torch.where(steep[line], aside, along)
    canvas.scatter_reduce_(0, row.mul_(size).add_(column).add_(start[line]), value[line], "amax")


def _visible(
    a0: Tensor, a1: Tensor, b0: Tensor, b1: Tensor, far: Tensor, near: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Which pixels of a line are on the canvas, the first and the last; the last is below the first if none is.

    Args:
        a0: where the line begins in the direction in which every step moves on; ``a1`` where it ends.
        a1: see ``a0``.
        b0: the same aside.
        b1: see ``b0``.
        far: ``abs(a1 - a0)``.
        near: ``abs(b1 - b0)``, at most ``far``.
        size: the side of the canvas.
    """
    start, begin = torch.where(a1 >= a0, a0, size - 1 - a0), torch.where(b1 >= b0, b0, size - 1 - b0)
    first, last = (-start).clamp_(min=0), torch.minimum(far, size - 1 - start)
    twice = (2 * near).clamp_(min=1)
    enters = torch.where(begin < 0, -(((2 * begin + 1) * far) // twice), 0)
    leaves = torch.where(begin < size, -((-(2 * (size - begin) - 1) * far) // twice), 0)
    level, inside = near == 0, (begin >= 0) & (begin < size)
    first = torch.where(level, first, torch.maximum(first, enters))
    last = torch.where(level, torch.where(inside, last, -1), torch.minimum(last, leaves - 1))
    return first, last
