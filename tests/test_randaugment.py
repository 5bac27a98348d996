"""RandAugment: every operation equals Pillow's or torchvision's, and the draws are timm's ``rand-m9-mstd0.5-inc1``."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms.v2 import functional as peer

from firstlight.errors import InputError
from firstlight.views import View, randaugment
from firstlight.views.make import make

LEVELS = (0.0, 0.31, 0.9, 1.0)


def pictures(count, side=24, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic") * 0.8 + 0.1
    return (smooth + 0.03 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1).mul(255).round().div(255)


def some_keys(count):
    return torch.randint(-(2**63), 2**63 - 1, (count,), generator=torch.Generator().manual_seed(3))


def applied(name, images, levels, sign=1.0):
    number = list(randaugment.OPERATIONS).index(name)
    batch = len(images)
    operation = torch.stack([torch.full((batch,), number), torch.full((batch,), -1)], 1)
    level, signs = torch.as_tensor(levels)[:, None].expand(batch, 2), torch.full((batch, 2), sign)
    return randaugment.augment(images.clone(), randaugment.Chosen(operation, level, signs))


def with_pillow(step, images):
    out = []
    for image in images:
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        out.append(torch.from_numpy(np.array(step(Image.fromarray(pixels)))).permute(2, 0, 1).float() / 255)
    return torch.stack(out)


EXACT = {
    "auto contrast": lambda level: lambda p: ImageOps.autocontrast(p),
    "equalize": lambda level: lambda p: ImageOps.equalize(p),
    "invert": lambda level: lambda p: ImageOps.invert(p),
    "posterize": lambda level: lambda p: ImageOps.posterize(p, 4 - int(level * 4)),
    "solarize": lambda level: lambda p: ImageOps.solarize(p, 256 - min(256, int(level * 256))),
    "solarize add": lambda level: (
        lambda p: p.point([min(255, v + int(level * 110)) if v < 128 else v for v in range(256)] * 3)
    ),
}
ENHANCED = {
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "brightness": ImageEnhance.Brightness,
    "sharpness": ImageEnhance.Sharpness,
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", EXACT)
def test_changes_of_levels_equal_pillow(name, level):
    images = pictures(4)
    if name == "posterize" and level == 1.0:  # Pillow refuses to keep no bits; none left is black
        assert not applied(name, images, [level] * 4).any()
        return
    ours, theirs = applied(name, images, [level] * 4), with_pillow(EXACT[name](level), images)
    rounded = 1.01 / 255 if name == "auto contrast" else 1e-6  # Pillow's stretched values are cut to whole levels
    torch.testing.assert_close(ours, theirs, rtol=0, atol=rounded)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ENHANCED)
def test_enhancements_equal_pillow(name, level, sign):
    images = pictures(4)
    factor = max(0.1, 1 + sign * 0.9 * level)
    theirs = with_pillow(lambda p: ENHANCED[name](p).enhance(factor), images)
    # Pillow rounds the grey or smoothed picture to whole levels before it is weighed, and the result after
    torch.testing.assert_close(applied(name, images, [level] * 4, sign), theirs, rtol=0, atol=2.6 / 255)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_moves_equal_torchvision(sign):
    images, level, fill = pictures(1, side=25), 0.7, [0.5] * 3
    bilinear = {"interpolation": peer.InterpolationMode.BILINEAR, "fill": fill}
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    theirs = {
        "rotate": peer.rotate(images, sign * level * 30, **bilinear),
        "translate x": peer.affine(images, **{**still, "translate": [-sign * level * 0.45 * 25, 0]}, **bilinear),
        "translate y": peer.affine(images, **{**still, "translate": [0, -sign * level * 0.45 * 25]}, **bilinear),
        "shear x": peer.affine(images, **{**still, "shear": [np.degrees(np.arctan(sign * 0.3 * level)), 0.0]},
                               center=[12.5, 12.5], **bilinear),
        "shear y": peer.affine(images, **{**still, "shear": [0.0, np.degrees(np.arctan(sign * 0.3 * level))]},
                               center=[12.5, 12.5], **bilinear),
    }  # fmt: skip
    for name, expected in theirs.items():
        ours = applied(name, images, [level], sign)
        shift = (ours - expected).abs()[..., 2:-2, 2:-2]
        assert float(shift.mean()) < 0.004, name  # not 0: torchvision weighs the fill in at the border differently
        assert float((ours - images).abs().mean()) > 3 * float(shift.mean()), name


def test_every_sample_has_its_own_operation_and_strength():
    images = pictures(30)
    chosen = randaugment.draw(some_keys(30), 9.0)
    together = randaugment.augment(images.clone(), chosen)
    for i in range(30):
        alone = randaugment.augment(images[i : i + 1].clone(), randaugment.Chosen(*(x[i : i + 1] for x in chosen)))
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-6)
        if (chosen.operation[i] < 0).all():
            assert torch.equal(together[i], images[i])
    assert together.min() >= 0
    assert together.max() <= 1


def test_draws_are_timms():
    operation, level, sign = randaugment.draw(some_keys(60_000), 9.0)
    assert float((operation < 0).float().mean()) == pytest.approx(0.5, abs=0.01)
    counts = torch.bincount(operation[operation >= 0], minlength=15)
    assert len(counts) == 15
    assert float((counts - 4000).abs().max()) < 300
    assert float(level.mean()) == pytest.approx(0.899, abs=0.002)
    assert level.max() <= 1
    assert float(level.std()) == pytest.approx(0.049, abs=0.002)
    assert abs(float(sign.mean())) < 0.02
    assert (randaugment.draw(some_keys(5), 0.0).operation == -1).all()


def test_flat_pictures_and_grey_ones_are_drawn():
    for channels in (1, 3):
        flat = torch.full((15, channels, 16, 16), 0.4)
        operation = torch.stack([torch.arange(15), torch.arange(15).flip(0)], 1)
        chosen = randaugment.Chosen(operation, torch.full((15, 2), 0.9), torch.ones(15, 2))
        assert torch.isfinite(randaugment.augment(flat, chosen)).all()


def test_views_apply_it_between_turns_and_colour():
    pixels = (pictures(40) * 255).byte().permute(0, 2, 3, 1)
    key = some_keys(40)
    plain, _ = make(pixels, key, View(crop="center", flip=0.0), side=24, number=0)
    changed, _ = make(pixels, key, View(crop="center", flip=0.0, randaugment=9.0), side=24, number=0)
    from firstlight.views.random import branch

    chosen = randaugment.draw(branch(key, 0), 9.0)
    expected = (randaugment.augment((plain + 1) / 2, chosen) - 0.5) / 0.5
    torch.testing.assert_close(changed, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("magnitude", [-1.0, 10.5, float("nan")])
def test_impossible_strengths_are_refused(magnitude):
    with pytest.raises(InputError, match="0 to 10"):
        View(randaugment=magnitude)
