"""Maps of depth and classes: found beside their pictures, read as numbers, and cut exactly as the pictures are."""

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from firstlight.data import Subset
from firstlight.data.decode import decode_values
from firstlight.data.maps import UNKNOWN, MappedPictures, place_of, with_maps
from firstlight.data.source import open_pictures
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.events import Warned, drain
from firstlight.recipe import _choose
from firstlight.views import View
from firstlight.views.batches import Batches

SMALL, LARGE = [(40, 52)] * 6, [(70, 90), (96, 66), (80, 80), (70, 90)]
MOVED = View(flip=0.5, flip_vertical=0.5, rotate=0.7)


def save(path, values) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def folder(root, sizes):
    """Pictures whose depth is their red channel, 1 to 255, and whose class is a sixteenth of it."""
    random = np.random.default_rng(0)
    for number, (high, wide) in enumerate(sizes):
        pixels = random.integers(1, 256, (high, wide, 3), dtype=np.uint8)
        save(root / f"rgb/some/{number}.png", pixels)
        save(root / f"depth/some/{number}.png", pixels[..., 0].astype(np.uint16))
        save(root / f"classes/some/{number}.png", pixels[..., 0] // 16)
    return root


def opened(root, *, size=None, **limits) -> MappedPictures:
    place = place_of(root)
    return drain(with_maps(drain(open_pictures(place / "rgb", size=size)), place, **limits))


def warnings(root) -> list[str]:
    place, pictures = place_of(root), drain(open_pictures(place_of(root) / "rgb", size=None))
    return [event.text for event in with_maps(pictures, place) if isinstance(event, Warned)]


def batches(pictures, *, view=MOVED, maps=("depth", "classes"), size=32, **how) -> Batches:
    return Batches(pictures, (view,), size=size, batch=len(pictures), mean=0.0, std=1.0, maps=maps, **how)


@pytest.mark.parametrize("sizes", [SMALL, LARGE], ids=["one shape, resized together", "several, one by one"])
def test_depth_that_equals_red_still_does_in_every_view(sizes, tmp_path):
    loader, steps = batches(opened(folder(tmp_path, sizes))), torch.zeros(3, dtype=torch.bool)
    for step in range(4):
        batch = loader.at(step)
        torch.testing.assert_close(batch.maps["depth"], batch.views[0][:, :1] * 255, rtol=0, atol=1e-4)
        assert batch.maps["depth"].dtype == torch.float32
        how = batch.geometry[0]
        steps |= torch.stack([how.turns > 0, how.flipped, how.flipped_vertical]).any(1)
    assert steps.all(), "turns and both flips were met"


@pytest.mark.parametrize("sizes", [SMALL, LARGE])
def test_classes_are_those_of_the_nearest_pixel(sizes, tmp_path):
    pictures = opened(folder(tmp_path, sizes))
    batch = batches(pictures, size=24).at(0)
    geometry = batch.geometry[0]
    for sample, number in enumerate(batch.index.tolist()):
        red = pictures.read(np.array([number]))[0][..., 0]
        top, left, high, wide = geometry.box[sample].tolist()
        expected = np.zeros((24, 24), dtype=np.int64)
        for row in range(24):
            for column in range(24):
                expected[row, column] = red[int(top + (row + 0.5) / 24 * high), int(left + (column + 0.5) / 24 * wide)]
        expected = expected[::-1] if geometry.flipped_vertical[sample] else expected
        expected = expected[:, ::-1] if geometry.flipped[sample] else expected
        expected = np.rot90(expected, geometry.turns[sample].item()) // 16
        assert np.array_equal(batch.maps["classes"][sample, 0].numpy(), expected)


def test_places_without_a_measurement_have_no_part_in_the_others(tmp_path):
    root = folder(tmp_path, SMALL)
    depth = np.full(SMALL[0], 700, dtype=np.uint16)
    depth[10:20, 15:40] = 0
    save(root / "depth/some/0.png", depth)
    classes = np.full(SMALL[0], 3, dtype=np.uint8)
    classes[10:20, 15:40] = UNKNOWN
    save(root / "classes/some/0.png", classes)
    pictures = Subset(opened(root), [0])
    batch = batches(pictures, view=View(scale=(0.5, 1.0))).at(0)
    seen = batch.maps["depth"]
    assert ((seen == 0) | ((seen - 700).abs() < 1e-2)).all()
    assert 0.05 < (seen == 0).float().mean() < 0.6
    assert set(batch.maps["classes"].unique().tolist()) == {-1, 3}


def test_a_picture_may_lack_a_map_and_what_has_no_partner_is_named(tmp_path):
    root = folder(tmp_path, SMALL)
    (root / "depth/some/2.png").unlink()
    (root / "classes/some/3.png").rename(root / "classes/some/stray.png")
    told = warnings(root)
    assert any("without a map of depth (1 of 6): some/2" in text for text in told)
    assert any("without a map of classes (1 of 6): some/3" in text for text in told)
    assert any("classes without a picture (1 of 6): some/stray" in text for text in told)
    batch = batches(opened(root)).at(0)
    order = batch.index.tolist()
    assert (batch.maps["depth"][order.index(2)] == 0).all()
    assert (batch.maps["classes"][order.index(3)] == -1).all()
    assert (batch.maps["depth"][order.index(3)] > 0).all()


def test_maps_of_another_resolution_take_their_pictures(tmp_path):
    root = folder(tmp_path, SMALL)
    coarse = np.arange(20 * 26, dtype=np.uint16).reshape(20, 26) + 1
    save(root / "depth/some/0.png", coarse)
    found = opened(root).read_maps("depth", np.array([0]))[0]
    assert np.array_equal(found, coarse.repeat(2, 0).repeat(2, 1))
    shrunk = opened(root, size=16)  # pictures are kept at a short side of 20
    assert shrunk.read(np.array([0]))[0].shape == (20, 26, 3)
    assert np.array_equal(shrunk.read_maps("depth", np.array([0]))[0], coarse)


def test_what_memory_cannot_hold_is_read_from_files(tmp_path):
    root = folder(tmp_path, LARGE)
    held, files = opened(root), opened(root, budget=1000)
    assert held.held is not None
    assert files.held is None
    assert held.fingerprint() == files.fingerprint()
    for kind in ("depth", "classes"):
        for one, other in zip(*(side.read_maps(kind, np.arange(4)) for side in (held, files))):
            assert np.array_equal(one, other)


def test_parts_subsets_and_devices_carry_them(tmp_path):
    pictures = opened(folder(tmp_path, SMALL))
    whole, halves = batches(pictures), batches(pictures, parts=2)
    for kind in ("depth", "classes"):
        together = torch.cat([halves.at(1, part).maps[kind] for part in (0, 1)])
        torch.testing.assert_close(together, whole.at(1).maps[kind], rtol=0, atol=1e-4)
    assert whole.at(0).to("meta").maps["depth"].device.type == "meta"
    some = Subset(pictures, [4, 2])
    assert some.maps == ("depth", "classes")
    assert some.map_classes == 16
    assert np.array_equal(some.read_maps("depth", np.array([1]))[0], pictures.read_maps("depth", np.array([2]))[0])


def test_who_does_not_ask_gets_none(tmp_path):
    pictures = opened(folder(tmp_path, SMALL))
    assert batches(pictures, maps=()).at(0).maps == {}
    assert batches(pictures.pictures).at(0).maps == {}


def test_the_fingerprint_hears_of_maps(tmp_path):
    before = opened(folder(tmp_path, SMALL)).fingerprint()
    assert opened(tmp_path).fingerprint() == before
    save(tmp_path / "classes/some/1.png", np.zeros(SMALL[1], dtype=np.uint8))
    assert opened(tmp_path).fingerprint() != before


def test_numbers_are_read_as_they_are_stored(tmp_path):
    save(tmp_path / "deep.png", np.array([[0, 300], [65535, 7]], dtype=np.uint16))
    assert decode_values((tmp_path / "deep.png").read_bytes(), "deep").tolist() == [[0, 300], [65535, 7]]
    palette = Image.fromarray(np.array([[3, 0], [1, 2]], dtype=np.uint8)).convert("P")
    palette.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200, 90, 90, 90])
    palette.save(tmp_path / "palette.png")
    assert decode_values((tmp_path / "palette.png").read_bytes(), "palette").tolist() == [[3, 0], [1, 2]]
    with pytest.raises(InputError, match="channels RGB; expected one"):
        decode_values((folder(tmp_path, SMALL) / "rgb/some/0.png").read_bytes(), "coloured")


def test_a_few_unusable_maps_are_named_and_left_out_and_many_are_refused(tmp_path):
    root = folder(tmp_path, SMALL)
    save(root / "classes/some/0.png", np.zeros((*SMALL[0], 3), dtype=np.uint8))
    save(root / "classes/some/1.png", np.full(SMALL[0], 300, dtype=np.uint16))
    save(root / "depth/some/2.png", np.zeros((52, 40), dtype=np.uint16))
    (text,) = warnings(root)
    for said in ("3 maps", "channels RGB", "whole numbers from 0 to 255, got 300..300", "40 x 52 is another shape"):
        assert said in text
    (root / "depth/some/3.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"unusable maps \(4\)"):
        opened(root)


def test_where_they_are_looked_for(tmp_path):
    assert place_of(folder(tmp_path / "one", SMALL)) == tmp_path / "one"
    folder(tmp_path / "two/train", SMALL)
    assert place_of(tmp_path / "two") == tmp_path / "two/train"
    (tmp_path / "photos/cats").mkdir(parents=True)
    assert place_of(tmp_path / "photos") is None
    (tmp_path / "one/rgb").rename(tmp_path / "one/images")
    with pytest.raises(InputError, match="folder depth but none named rgb"):
        place_of(tmp_path / "one")


def test_folders_of_other_names_are_not_taken_for_pictures(tmp_path):
    root = folder(tmp_path / "set", SMALL)
    (root / "classes").rename(root / "semseg")
    assert place_of(root) == root, "the other kind is there"
    (root / "depth").rename(root / "Depths")
    with pytest.raises(
        InputError, match=r"no maps beside rgb, but Depths, semseg; expected are depth in depth or depth"
    ):
        place_of(root)
    assert place_of(root / "rgb") is None
    (root / "Depths").rename(tmp_path / "elsewhere")
    (root / "semseg").rename(tmp_path / "too")
    assert place_of(root) is None, "pictures alone"


def test_names_must_meet(tmp_path):
    root = folder(tmp_path, SMALL)
    save(root / "depth/some/0.tif", np.zeros(SMALL[0], dtype=np.uint16))
    with pytest.raises(InputError, match="two maps for the picture 'some/0'"):
        opened(root)
    (root / "depth/some").rename(root / "depth/others")
    (root / "depth/others/0.tif").unlink()
    with pytest.raises(InputError, match="named like a picture of rgb, such as 'some/0'; the maps are called others/0"):
        opened(root)


def test_settings_that_ask_for_other_maps_than_there_are_are_refused(tmp_path):
    both = opened(folder(tmp_path, SMALL))
    depth = MappedPictures(both.pictures, {"depth": both.files["depth"]})
    build = lambda text, pictures: _choose.method(text, Encoder(tiny.VIT, size=32), 0, True, pictures)  # noqa: E731
    small = "width=16, depth=1, heads=2"
    assert both.map_classes == 16
    for pictures, settings, told in [
        (both, "classes=15", "have 16 classes; allowed are 0, to leave them out, and 16 or more"),
        (depth, "classes=3", "no maps of classes"),
        (both.pictures, "has_depth=True", "no maps of depth"),
    ]:
        with pytest.raises(InputError, match=told):
            build(f"multimae({settings}, {small})", pictures)
    for settings, modalities in (("classes=0", 2), ("classes=20", 3), ("has_depth=False", 2), ("visible=0.4", 3)):
        assert len(build(f"multimae({settings}, {small})", both).kinds) == modalities
