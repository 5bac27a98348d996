"""The PNG writer: what other libraries read in its files, how large they are, and that their bytes never change."""

import io
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstlight.data._deflate import deflate
from firstlight.data._png import png
from firstlight.formulas import picture
from firstlight.formulas.fractal import Fractal

HERE = Path(__file__).parent


def noise(*shape: int, high: int = 256, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, shape, dtype=np.uint8)


def ramp(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return ((rows * 3 + columns * 2) % 256).astype(np.uint8)


def fibonacci() -> np.ndarray:
    """Values so unequally frequent that plain Huffman codes would be longer than deflate's 15 bits."""
    counts = [1, 1]
    while len(counts) < 23:
        counts.append(counts[-1] + counts[-2])
    return np.random.default_rng(0).permutation(np.repeat(np.arange(23, dtype=np.uint8), counts))


DATA = {
    "nothing": np.zeros(0, np.uint8),
    "one": np.array([7], np.uint8),
    "same": np.full(70_001, 9, np.uint8),
    "noise": noise(200_000),
    "bits": noise(100_000, high=2),
    "far": np.tile(noise(32_768), 3),
    "too far": np.tile(noise(32_769), 3),
    "uneven": fibonacci(),
    "text": np.frombuffer(Path(__file__).read_bytes(), np.uint8),
}


@pytest.mark.parametrize("name", DATA)
def test_what_is_packed_is_unpacked_by_zlib(name):
    reader = zlib.decompressobj(-15)
    packed = deflate(DATA[name])
    assert reader.decompress(packed) == DATA[name].tobytes()
    assert reader.eof
    assert not reader.unused_data
    assert len(packed) <= len(DATA[name]) * 1.01 + 120


def test_packing_is_as_tight_as_zlibs_quick_levels():
    for pixels in (picture(Fractal(), 1, 0, size=256), picture(Fractal(mode="density"), 2, 0, size=256)):
        zlibs = io.BytesIO()
        Image.fromarray(pixels).save(zlibs, "PNG", compress_level=1)
        assert len(png(pixels)) < zlibs.tell()
    assert len(png(ramp(256, 256))) < 2000, "a smooth picture is packed by its differences"
    assert len(deflate(DATA["far"])) < 36_000
    assert len(deflate(DATA["too far"])) > 98_000


@pytest.mark.parametrize(
    "pixels",
    [
        noise(1, 1), noise(1, 9, 3), noise(9, 1), noise(33, 57), noise(33, 57, 3, high=3), ramp(64, 300),
        np.zeros((8, 8), np.uint8),
    ],
    ids=lambda pixels: "x".join(map(str, pixels.shape)),
)  # fmt: skip
def test_pillow_reads_back_every_pixel(pixels):
    with Image.open(io.BytesIO(png(pixels))) as read:
        read.load()
        assert read.mode == ("L" if pixels.ndim == 2 else "RGB")
        np.testing.assert_array_equal(np.asarray(read), pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(pixels[::-1])))), pixels[::-1])


def test_the_bytes_of_a_png_are_a_promise():
    code = (
        "import hashlib; from firstlight.data._png import png; import test_png as t\n"
        "print(*(hashlib.sha256(png(p)).hexdigest()[:16] for p in (t.ramp(40, 30), t.noise(20, 20, 3, high=5))))"
    )
    for variables in ({}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": "/nonexistent"}, {"NUMBA_DISABLE_JIT": "1"}):
        shown = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=os.environ | {"PYTHONPATH": str(HERE)} | variables,
            capture_output=True,
            text=True,
        )
        assert shown.stdout.split() == ["356c5b55f55b4d8b", "275d8931d4be37f1"], shown.stderr[-2000:]
