"""One picture file to pixels: decided by content, never by extension, and always the same 8-bit grey or RGB.

What becomes of the less usual files:

* 16-bit grey keeps its top 8 bits. Where the greatest value fits into 8, 10, 12 or 14 bits (sensors that count that
  far), the shift is smaller, so that 256 levels remain. 32-bit integers beyond 16 bits are stretched from their
  least to their greatest value, and so are floats beyond [0, 255]; floats within [0, 1] are multiplied by 255.
* Transparent pictures are laid on white: drawings, icons and cut-outs are made for a white page, and black strokes
  would vanish on black.
* Grey stays grey, palettes of greys included; everything else becomes RGB. Colour profiles are ignored.
* The EXIF orientation is applied; an unreadable EXIF block is ignored.
* Of animations and many-page files, the first frame counts.
* SVG, EPS, PDF and other programs in disguise are never opened.

A picture whose file ends early is refused. A JPEG whose bits flipped, or that was cut and closed again, decodes without
complaint; nothing here can tell.

JPEG decoders round differently, so the pixels of a JPEG may differ by a few levels between builds of the JPEG library.
Pictures are therefore identified by their files' bytes.
"""

import io
import os
import stat
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError

__all__ = ["decode", "decode_bytes", "decode_values", "picture_bytes", "short_side", "shown"]

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
LARGEST_PICTURE = 89_478_485
"""pixels; where Pillow starts to suspect a decompression bomb"""
LARGEST_ASPECT = 200
LARGEST_FILE = 2**30

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(path: str | Path, *, short: int | None = None, background: int = 255) -> np.ndarray:
    """Reads one picture file.

    Args:
        path: a regular file; anything else is refused without being opened.
        short: the longest that the short side may be, in pixels. Larger pictures are made smaller (antialiased,
            aspect ratio kept); none is enlarged.
        background: the grey level, 0 to 255, that shows through transparent places.

    Returns:
        uint8 ``[H, W]`` (grey) or ``[H, W, 3]`` (RGB), upright.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    name = shown(path)
    return decode_bytes(picture_bytes(path, name), name, short=short, background=background)


def picture_bytes(path: str | Path, name: str) -> bytes:
    """The contents of a picture file, called ``name`` in messages.

    Raises:
        InputError: if it is missing, empty, unreadable, too large, or no regular file.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name}: not a regular file")
        if not 0 < status.st_size <= LARGEST_FILE:
            raise InputError(f"{name}: {'empty' if not status.st_size else f'larger than {LARGEST_FILE:,} bytes'}")
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name}: cannot be read ({reason})") from None


def decode_bytes(data: bytes, name: str, *, short: int | None = None, background: int = 255) -> np.ndarray:
    """Like :func:`decode`, for a picture file's contents; ``name`` is what messages call it."""
    return _opened(data, name, lambda picture: _pixels(picture, short, background))


def decode_values(data: bytes, name: str) -> np.ndarray:
    """The numbers ``[H, W]`` in a file of one channel as they are stored: 8 or 16 bits, floats, places in a palette.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    return _opened(data, name, _values)


def _opened(data: bytes, name: str, read: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    _hush()
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as picture:
            _refuse_bombs(picture.width, picture.height, name)
            return read(picture)
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{name}: more than {LARGEST_PICTURE:,} pixels") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{name}: {_not_a_picture(data)}") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
        raise InputError(f"{name}: broken picture ({str(error) or type(error).__name__})") from None


def short_side(path: str | Path) -> int | None:
    """A picture's short side in pixels, from its header alone; None if there is no readable header."""
    _hush()
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with Image.open(path, formats=_formats()) as picture:
            return min(picture.size)
    except Exception:  # as above; what is wrong with it is said when it is decoded
        return None


def shown(path: str | Path) -> str:
    """A path or name as text that any terminal, JSON file and page can hold: undecodable bytes and control
    characters are escaped, accents composed.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    text = "".join(c if unicodedata.category(c) != "Cc" else c.encode("unicode_escape").decode() for c in text)
    return unicodedata.normalize("NFC", text)


def _values(picture: Image.Image) -> np.ndarray:
    if picture.mode not in ("1", "L", "P") and not picture.mode.startswith(("I", "F")):
        raise ValueError(f"has the channels {picture.mode}; expected one channel of numbers")
    return np.array(picture)


def _pixels(picture: Image.Image, short: int | None, background: int) -> np.ndarray:
    width, height = picture.size
    scale = 1.0 if short is None else min(1.0, short / min(width, height))
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    if scale < 1:  # JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the time; twice the target leaves no aliasing
        picture.draft(None, (2 * target[0], 2 * target[1]))

    picture.load()
    orientation = _orientation(picture)
    plain = _plain(picture, background)
    if plain.size != target:
        plain = plain.resize(target, Image.Resampling.BICUBIC, reducing_gap=2.0)

    if orientation in _UPRIGHT:
        plain = plain.transpose(_UPRIGHT[orientation])
    return np.array(plain)


def _plain(picture: Image.Image, background: int) -> Image.Image:
    """The picture as mode L or RGB."""
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(picture)))
    grey = picture.mode in ("1", "L", "LA", "La") or (picture.mode in ("P", "PA") and _grey_palette(picture))
    if not picture.has_transparency_data:
        return picture.convert("L" if grey else "RGB")
    picture = picture.convert("RGBA")
    page = Image.new("RGB", picture.size, (background,) * 3)
    page.paste(picture, mask=picture.getchannel("A"))
    return page.getchannel(0) if grey else page


def _eight_bits(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError("holds values that are not finite")
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if low >= 0 and high <= 255:
            return np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8)
    elif low >= 0 and high < 2**16:
        bits = next(bits for bits in (8, 10, 12, 14, 16) if high < 2**bits)
        return (values >> (bits - 8)).astype(np.uint8)
    values = values.astype(np.float64)
    return np.rint((values - low) * (255 / max(float(high) - float(low), 1e-300))).astype(np.uint8)


def _grey_palette(picture: Image.Image) -> bool:
    colours = np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. After loading, because some readers turn the picture themselves."""
    try:
        return picture.getexif().get(0x0112, 1)
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1


def _refuse_bombs(width: int, height: int, name: str) -> None:
    if min(width, height) < 1:
        raise InputError(f"{name}: has no pixels ({width} x {height})")
    if width * height > LARGEST_PICTURE:
        raise InputError(f"{name}: {width} x {height} is more than {LARGEST_PICTURE:,} pixels")
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        raise InputError(f"{name}: {width} x {height} is longer than {LARGEST_ASPECT} times its width")


def _not_a_picture(data: bytes) -> str:
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for what, marks in {
        "an HTML page": (b"<!doctype html", b"<html"),
        "an SVG drawing": (b"<svg", b"<?xml"),
        "a PostScript or PDF file": (b"%!ps", b"%pdf", b"\xc5\xd0\xd3\xc6"),
        "a zip archive": (b"pk\x03\x04",),
    }.items():
        if start.startswith(marks):
            return f"{what}, not a picture"
    known = ", ".join(name for name in _formats() if name != "MPO")
    return f"not a picture that can be read, or a broken one (understood: {known})"


def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _hush() -> None:
    """Silences Pillow's remarks on odd metadata, once; they would tear a progress bar and name no file.

    A standing filter and no context manager, because those are not safe in threads.
    """
    if not any(rule[0] == "ignore" and getattr(rule[3], "pattern", None) == "PIL" for rule in warnings.filters):
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
