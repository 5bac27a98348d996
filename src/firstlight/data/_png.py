"""PNG files whose bytes are the same on every machine.

https://www.w3.org/TR/png-3/

Libraries promise that a file decodes to its pixels, not that it keeps its bytes: those change with every release of
zlib, and Pillow brings one of several. Checksums of a set of files can only be promised if nothing of theirs decides.
"""

import struct
import zlib

import numpy as np

from ..formulas._compile import kernel
from ._deflate import deflate

__all__ = ["png"]

_PLAIN, _PAETH = 0, 4


def png(pixels: np.ndarray) -> bytes:
    """A uint8 picture ``[H, W]`` (grey) or ``[H, W, 3]`` (RGB) as the bytes of a PNG file."""
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    rows = _filtered(pixels, _better(pixels))
    packed = b"\x78\x01" + deflate(rows) + struct.pack(">I", zlib.adler32(rows.tobytes()))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _better(pixels: np.ndarray) -> int:
    """Which filter packs the middle eighth better: none for lines and points, Paeth's for what is smooth."""
    rows = max(1, len(pixels) // 8)
    middle = pixels[(len(pixels) - rows) // 2 :][:rows]
    return min((_PLAIN, _PAETH), key=lambda kind: len(deflate(_filtered(middle, kind))))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _filtered(pixels: np.ndarray, kind: int) -> np.ndarray:
    rows = np.empty(pixels.size + len(pixels), np.uint8)
    channels = 1 if pixels.ndim == 2 else 3
    _filter(np.ascontiguousarray(pixels).reshape(-1), len(pixels), channels, kind, rows)
    return rows


@kernel
def _filter(flat, height, channels, kind, out):
    """Replaces bytes by what the neighbours left, above and before do not foretell; a byte before each row says how."""
    width = len(flat) // height
    for row in range(height):
        place, at = row * width, row * (width + 1)
        out[at] = kind
        for i in range(width):
            value = np.int64(flat[place + i])
            if kind == _PAETH:
                left = np.int64(flat[place + i - channels]) if i >= channels else 0
                above = np.int64(flat[place + i - width]) if row else 0
                corner = np.int64(flat[place + i - width - channels]) if row and i >= channels else 0
                by_left, by_above, by_corner = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
                if by_left <= by_above and by_left <= by_corner:
                    value -= left
                elif by_above <= by_corner:
                    value -= above
                else:
                    value -= corner
            out[at + 1 + i] = np.uint8(value & 255)
