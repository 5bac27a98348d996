"""Decoding: the documented conversions, and every broken file named instead of greyed over."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from firstlight.data.decode import LARGEST_PICTURE, decode, decode_bytes, shown
from firstlight.errors import InputError


def encoded(picture: Image.Image, format: str, **settings) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **settings)
    return out.getvalue()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def photo(height: int = 60, width: int = 80) -> np.ndarray:
    """Smooth colours, which survive JPEG."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], -1).astype(np.uint8)


def pixels_or_message(data: bytes, name: str) -> np.ndarray | str:
    try:
        return decode_bytes(data, name)
    except InputError as error:
        return str(error)


def header_only(width: int, height: int) -> bytes:
    """A valid 1-bit PNG of that size, a few kilobytes long."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((width // 8 + 2) * height), 1)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_grey_and_colour_come_back_as_written(format):
    for pixels in (noise(7, 5), noise(7, 5, 3)):
        read = decode_bytes(encoded(Image.fromarray(pixels), format), "a")
        assert read.dtype == np.uint8
        assert read.flags.writeable
        np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_a_16_bit_ramp_keeps_256_levels(format):
    ramp = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(decode_bytes(encoded(Image.fromarray(ramp), format), "a"), (ramp >> 8).astype("u1"))


def test_big_endian_16_bit():
    ramp = np.arange(2**16, dtype=">u2").reshape(256, 256)
    np.testing.assert_array_equal(decode_bytes(encoded(Image.fromarray(ramp), "TIFF"), "a"), (ramp >> 8).astype("u1"))


@pytest.mark.parametrize(("most", "shift"), [(255, 0), (1023, 2), (4095, 4), (16383, 6), (16384, 8)])
def test_sensors_with_fewer_bits_keep_their_levels(most, shift):
    values = np.array([[0, most // 2, most]], dtype=np.uint16)
    np.testing.assert_array_equal(decode_bytes(encoded(Image.fromarray(values), "PNG"), "a"), values >> shift)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 7.4, 255.0], [0, 7, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([300.0, 300.0, 300.0], [0, 0, 0]),
    ],
)
def test_floats(values, expected):
    picture = Image.fromarray(np.array([values], dtype=np.float32))
    np.testing.assert_array_equal(decode_bytes(encoded(picture, "TIFF"), "a"), [expected])


def test_32_bit_integers_are_stretched():
    picture = Image.fromarray(np.array([[-100_000, 0, 100_000]], dtype=np.int32))
    np.testing.assert_array_equal(decode_bytes(encoded(picture, "TIFF"), "a"), [[0, 128, 255]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value):
    picture = Image.fromarray(np.array([[0.0, value]], dtype=np.float32))
    with pytest.raises(InputError, match=r"scan\.tif.*not finite"):
        decode_bytes(encoded(picture, "TIFF"), "scan.tif")


def test_one_bit():
    bits = np.array([[True, False], [False, True]])
    np.testing.assert_array_equal(decode_bytes(encoded(Image.fromarray(bits), "PNG"), "a"), bits * np.uint8(255))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_on_white(mode):
    picture = Image.new(mode, (3, 1), (10,) * (len(mode) - 1) + (255,))
    picture.putpixel((1, 0), (10,) * (len(mode) - 1) + (0,))
    picture.putpixel((2, 0), (10,) * (len(mode) - 1) + (128,))
    read = decode_bytes(encoded(picture, "PNG"), "a")
    assert read.ndim == (3 if mode == "RGBA" else 2)
    half = round((10 * 128 + 255 * 127) / 255)
    np.testing.assert_allclose(read.reshape(3, -1)[:, 0].astype(int), [10, 255, half], atol=1)
    on_black = decode_bytes(encoded(picture, "PNG"), "a", background=0)
    np.testing.assert_allclose(on_black.reshape(3, -1)[:, 0].astype(int), [10, 0, 5], atol=1)


def test_palettes_with_and_without_transparency():
    picture = Image.new("P", (3, 1))
    picture.putpalette([200, 0, 0, 0, 100, 0, 0, 0, 50])
    picture.putdata([0, 1, 2])
    colours = np.array([[[200, 0, 0], [0, 100, 0], [0, 0, 50]]])
    np.testing.assert_array_equal(decode_bytes(encoded(picture, "PNG"), "a"), colours)
    for transparency in (1, bytes([255, 0, 255])):
        read = decode_bytes(encoded(picture, "PNG", transparency=transparency), "a")
        np.testing.assert_array_equal(read, [[[200, 0, 0], [255, 255, 255], [0, 0, 50]]])


def test_a_palette_of_greys_is_grey():
    pixels = noise(6, 6)
    read = decode_bytes(encoded(Image.fromarray(pixels), "GIF"), "a")
    np.testing.assert_array_equal(read, pixels)


def test_a_transparent_colour_of_a_picture_without_alpha():
    picture = Image.fromarray(np.array([[[1, 2, 3], [9, 9, 9]]], dtype=np.uint8))
    read = decode_bytes(encoded(picture, "PNG", transparency=(9, 9, 9)), "a")
    np.testing.assert_array_equal(read, [[[1, 2, 3], [255, 255, 255]]])


def test_cmyk():
    inks = {
        (0, 255, 255, 0): (255, 0, 0),
        (255, 0, 255, 0): (0, 255, 0),
        (0, 0, 0, 255): (0, 0, 0),
        (0,) * 4: (255,) * 3,
    }
    for ink, colour in inks.items():
        picture = Image.new("CMYK", (16, 16), ink)
        jpeg = encoded(picture, "JPEG", quality=95)
        assert b"Adobe" in jpeg  # which stores the inks inverted
        for data in (jpeg, encoded(picture, "TIFF")):
            read = decode_bytes(data, "a")
            assert read.shape == (16, 16, 3)
            np.testing.assert_allclose(read.mean((0, 1)), colour, atol=3)


def test_ycbcr():
    pixels = photo()
    picture = Image.fromarray(pixels).convert("YCbCr")
    np.testing.assert_allclose(decode_bytes(encoded(picture, "TIFF"), "a").astype(int), pixels, atol=4)
    np.testing.assert_allclose(decode_bytes(encoded(picture, "JPEG", quality=95), "a").astype(int), pixels, atol=12)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    settings = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(format, {})
    data = encoded(Image.fromarray(photo(20, 30)), format, exif=exif, **settings)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert upright.shape[:2] == ((20, 30) if orientation < 5 else (30, 20))
    np.testing.assert_array_equal(decode_bytes(data, "a"), upright)
    assert decode_bytes(data, "a", short=10).shape[:2] == ((10, 15) if orientation < 5 else (15, 10))


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x01",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",
    ],
)
def test_bad_exif_is_ignored(exif):
    plain = encoded(Image.fromarray(photo()), "JPEG")
    data = encoded(Image.fromarray(photo()), "JPEG", exif=exif)
    assert exif in data
    np.testing.assert_array_equal(decode_bytes(data, "a"), decode_bytes(plain, "a"))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_frame_counts(format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    settings = {"WEBP": {"lossless": True}}.get(format, {})
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **settings)
    np.testing.assert_allclose(decode_bytes(data, "a").mean((0, 1)), [255, 0, 0], atol=3)


@pytest.mark.parametrize(
    ("format", "settings"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("PPM", {}),
    ],
)
def test_truncated_pictures_are_named_and_never_grey(format, settings):
    data = encoded(Image.fromarray(noise(40, 40, 3)), format, **settings)
    whole = decode_bytes(data, "a")
    refused = 0
    for cut in np.linspace(1, len(data) - 3, 10).astype(int):
        read = pixels_or_message(data[:cut], "half.pic")
        if isinstance(read, str):
            assert "half.pic" in read
            refused += 1
        else:
            np.testing.assert_array_equal(read, whole)  # only what follows the pixels was lost
    assert refused >= 8
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "TIFF", "WEBP"])
def test_flipped_bits_raise_nothing_but_input_errors(format):
    data = encoded(Image.fromarray(photo(24, 24)), format)
    generator = np.random.default_rng(1)
    for _ in range(150):
        broken = bytearray(data)
        broken[generator.integers(len(data))] ^= 1 << generator.integers(8)
        read = pixels_or_message(bytes(broken), "flipped")
        if isinstance(read, str):
            assert "flipped" in read
        else:
            assert read.dtype == np.uint8
            assert read.ndim in (2, 3)


def test_a_damaged_chunk_of_a_png_is_noticed():
    data = bytearray(encoded(Image.fromarray(noise(40, 40)), "PNG"))
    data[len(data) // 2] ^= 4
    with pytest.raises(InputError, match=r"dam\.png"):
        decode_bytes(bytes(data), "dam.png")


@pytest.mark.parametrize(("width", "height"), [(20_000, 10_000), (10_000, 9_000), (100_000, 1), (1, 100_000)])
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_bombs_are_refused_before_decoding(width, height, action, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(InputError, match=r"bomb\.png: .*(pixels|times its width)"):
            decode_bytes(header_only(width, height), "bomb.png")
    assert width * height > LARGEST_PICTURE or max(width, height) == 100_000


def test_one_pixel_is_a_picture_and_none_is_not():
    assert decode_bytes(encoded(Image.new("L", (1, 1), 7), "PNG"), "a", short=40).tolist() == [[7]]
    with pytest.raises(InputError, match="a"):
        decode_bytes(header_only(0, 5), "a")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<!DOCTYPE html><html>404</html>", "an HTML page"),
        (b"\xef\xbb\xbf  <html>", "an HTML page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript"),
        (b"%PDF-1.7", "a PostScript or PDF"),
        (b"PK\x03\x04aaaa", "a zip archive"),
        (b"hello", "not a picture"),
    ],
)
def test_other_files_say_what_they_are(data, reason, tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.EpsImageFile.__init__", lambda *_: pytest.fail("opened as EPS"))
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"photo\.jpg: .*{reason}"):
        decode(path)


def test_content_decides_and_not_the_suffix(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(Image.fromarray(noise(3, 4)), "PNG"))
    np.testing.assert_array_equal(decode(path), noise(3, 4))


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "empty.jpg").touch()
    for name, reason in {
        "pipe.jpg": "not a regular file",
        "empty.jpg": "empty",
        "gone.jpg": "No such file",
        ".": "not a regular file",
        "nul\0.jpg": "cannot be read",
        "long" * 100: "cannot be read",
    }.items():
        with pytest.raises(InputError, match=reason):
            decode(tmp_path / name)


def test_smaller_is_antialiased_and_keeps_its_shape():
    board = np.indices((80, 160)).sum(0).astype(np.uint8) % 2 * 255
    read = decode_bytes(encoded(Image.fromarray(board), "PNG"), "a", short=20)
    assert read.shape == (20, 40)
    np.testing.assert_allclose(read, 127, atol=2)
    assert decode_bytes(encoded(Image.fromarray(board), "PNG"), "a", short=81).shape == (80, 160)


def test_fast_jpeg_scaling_shows_the_same():
    data = encoded(Image.fromarray(photo(600, 800)), "JPEG", quality=90)
    fast = decode_bytes(data, "a", short=50)
    slow = np.asarray(Image.open(io.BytesIO(data)).resize((67, 50), Image.Resampling.BICUBIC))
    assert fast.shape == slow.shape
    assert np.abs(fast.astype(int) - slow).mean() < 1.5


def test_names_are_printable():
    assert shown(os.fsdecode(b"bad\xff.jpg")) == "bad\\xff.jpg"
    assert shown("two\nlines") == "two\\nlines"
    assert shown("e\u0301") == "\u00e9"
    assert shown("日本 👩‍🔬 %s.jpg") == "日本 👩‍🔬 %s.jpg"
