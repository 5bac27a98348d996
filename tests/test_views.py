"""Every step of a view equals torchvision's v2 functional with the same parameters, and draws are keyed and uniform."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as peer

from firstlight.errors import InputError
from firstlight.views import BYOL, CENTER, MULTI_CROP, PAIR, View, colour, crop, erase, mix
from firstlight.views import random as keyed
from firstlight.views.make import draw, kernel, make, pack, show

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
EVERYTHING = replace(
    BYOL[1], flip_vertical=0.5, rotate=0.5, jitter=(0.8, 0.8, 0.8, 0.2), blur=0.5, solarize=0.5, erase=0.5
)


def pictures(batch, height, width, channels=3, seed=0):
    """Smooth colour fields with noise: flat, saturated and grey pixels all occur."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, channels, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic") * 1.6 - 0.3
    noisy = smooth + 0.1 * torch.randn(batch, channels, height, width, generator=generator)
    noisy[:, :, : height // 4] = noisy[:, :1, : height // 4]
    return (noisy * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


def images(batch=8, side=20, channels=3):
    return pictures(batch, side, side, channels).permute(0, 3, 1, 2).float() / 255


def some_keys(count, seed=0):
    return torch.randint(-(2**63), 2**63 - 1, (count,), generator=torch.Generator().manual_seed(seed))


def close(ours, theirs, tolerance=1e-5):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


# --- crop, flips, turns


@pytest.mark.parametrize("bicubic", [False, True])
@pytest.mark.parametrize(("height", "width", "side"), [(32, 32, 32), (60, 41, 24), (20, 30, 48), (150, 97, 40)])
def test_crop_and_resize_equal_torchvision(height, width, side, bicubic):
    pixels = pictures(12, height, width)
    box = crop.random_boxes(some_keys(12), *(torch.full((12,), x) for x in (height, width)), (0.05, 1), (0.5, 2))
    flips = torch.arange(12) % 2 == 0, torch.arange(12) % 3 == 0
    ours = crop.resized(pixels, box, side, bicubic=bicubic, flipped=flips[0], flipped_vertical=flips[1])

    mode = InterpolationMode.BICUBIC if bicubic else InterpolationMode.BILINEAR
    for i in range(12):
        source = pixels[i].permute(2, 0, 1).float() / 255
        theirs = peer.resized_crop(source, *box[i].tolist(), [side, side], mode, antialias=True).clamp(0, 1)
        theirs = peer.horizontal_flip(theirs) if flips[0][i] else theirs
        theirs = peer.vertical_flip(theirs) if flips[1][i] else theirs
        close(ours[i], theirs)


@pytest.mark.parametrize("bicubic", [False, True])
@pytest.mark.parametrize("sizes", [((30, 40), (64, 5), (1, 1)), ((100, 130), (64, 20), (3, 90))])
def test_pictures_of_different_sizes_share_a_batch(sizes, bicubic):
    pixels = [pictures(1, *size, seed=i)[0] for i, size in enumerate(sizes)]
    box = torch.tensor([[0, 0, *size] for size in sizes])
    together = crop.resized(pixels, box, 16, bicubic=bicubic)
    for i, picture in enumerate(pixels):
        mode = InterpolationMode.BICUBIC if bicubic else InterpolationMode.BILINEAR
        theirs = peer.resize(picture.permute(2, 0, 1).float() / 255, [16, 16], mode, antialias=True)
        close(together[i], theirs.clamp(0, 1))


def test_both_ways_of_resizing_agree():
    pixels, side = pictures(6, 60, 50), 17
    box = crop.random_boxes(some_keys(6), torch.full((6,), 60), torch.full((6,), 50), (0.1, 1), (0.5, 2))
    flips = torch.arange(6) % 2 == 0, torch.arange(6) % 3 == 0
    for bicubic in (False, True):
        close(*(way(pixels, box, side, bicubic, *flips) for way in (crop._dense, crop._one_by_one)))


def test_whole_pixels_survive_exactly():
    pixels = pictures(2, 16, 16)
    whole = torch.tensor([[0, 0, 16, 16]] * 2)
    assert torch.equal((crop.resized(pixels, whole, 16) * 255).round().byte(), pixels.permute(0, 3, 1, 2))


def test_turns_equal_torchvision_and_leave_others_alone():
    x, turns = images(5), torch.tensor([0, 1, 2, 3, 0])
    ours = crop.turned(x, turns)
    for i in range(5):
        assert torch.equal(ours[i], torch.rot90(x[i], int(turns[i]), (1, 2)))
        assert torch.equal(ours[i], peer.rotate(x[i], 90 * int(turns[i])))


def test_boxes_follow_torchvisions_algorithm():
    """The same numbers through torchvision's loop, sample by sample, the central fallback included."""
    count, scale, ratio = 400, (0.3, 1.0), (3 / 4, 4 / 3)
    height, width = torch.full((count,), 90), torch.where(torch.arange(count) % 2 == 0, 300, 40)
    ours = crop.random_boxes(some_keys(count), height, width, scale, ratio).tolist()
    drawn = keyed.uniforms(some_keys(count), 20, keyed.Salt.BOX, 0).double().numpy()
    place = keyed.uniforms(some_keys(count), 2, keyed.Salt.BOX, 1).double().numpy()
    fallbacks = 0
    for i in range(count):
        tall, broad = int(height[i]), int(width[i])
        for u, v in zip(drawn[i, :10], drawn[i, 10:]):
            area = tall * broad * (scale[0] + u * (scale[1] - scale[0]))
            aspect = np.exp(np.log(ratio[0]) + v * (np.log(ratio[1]) - np.log(ratio[0])))
            w, h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
            if 0 < w <= broad and 0 < h <= tall:
                expected = [int(place[i, 0] * (tall - h + 1)), int(place[i, 1] * (broad - w + 1)), h, w]
                break
        else:
            fallbacks += 1
            w, h = (broad, round(broad / ratio[0])) if broad / tall < ratio[0] else (round(tall * ratio[1]), tall)
            expected = [(tall - h) // 2, (broad - w) // 2, h, w]
        assert ours[i] == expected
    assert 0 < fallbacks < count


def test_boxes_have_the_right_area_and_lie_inside():
    count, side = 20_000, 200
    edge = torch.full((count,), side)
    top, left, high, wide = crop.random_boxes(some_keys(count), edge, edge, (0.2, 0.6), (3 / 4, 4 / 3)).unbind(1)
    area = (high * wide) / side**2
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + high <= side).all()
    assert (left + wide <= side).all()
    assert abs(float(area.float().mean()) - 0.4) < 0.005
    assert 0.19 < area.min() < 0.21
    assert 0.59 < area.max() < 0.61
    assert abs(float((wide / high).log().mean())) < 0.01


@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (2.0, 3.0), (0.1, 0.2)])
def test_the_smallest_pictures_have_boxes(ratio):
    height, width = torch.tensor([1, 1, 100, 2]), torch.tensor([1, 100, 1, 3])
    box = crop.random_boxes(some_keys(4), height, width, (0.05, 1.0), ratio)
    assert (box[:, :2] >= 0).all()
    assert (box[:, 2:] >= 1).all()
    assert (box[:, 0] + box[:, 2] <= height).all()
    assert (box[:, 1] + box[:, 3] <= width).all()


def test_a_centre_is_resize_then_centre_crop():
    pixels = pictures(1, 64, 96)
    box = crop.center_boxes(torch.tensor([64]), torch.tensor([96]), 0.5)
    assert box.tolist() == [[16, 32, 32, 32]]
    ours = crop.resized(pixels, box, 16)[0]
    theirs = peer.center_crop(peer.resize(pixels[0].permute(2, 0, 1).float() / 255, [32], antialias=True), [16])
    close(ours[:, 1:-1, 1:-1], theirs[:, 1:-1, 1:-1])  # the filter sees beyond the cut only at the border


# --- colour


PARTS = {
    "brightness": (0, peer.adjust_brightness, (0.2, 0.7, 1.0, 1.8)),
    "contrast": (1, peer.adjust_contrast, (0.0, 0.6, 1.0, 1.8)),
    "saturation": (2, peer.adjust_saturation, (0.0, 0.6, 1.0, 1.8)),
    "hue": (3, peer.adjust_hue, (-0.5, -0.13, 0.2, 0.5)),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_the_jitter_equals_torchvision(part, channels):
    place, theirs, values = PARTS[part]
    x = images(4, channels=channels)
    factors = torch.tensor([[1.0, 1.0, 1.0, 0.0]]).repeat(4, 1)
    factors[:, place] = torch.tensor(values)
    ours = colour.jitter(x.clone(), factors, torch.arange(4).repeat(4, 1))
    for i, value in enumerate(values):
        close(ours[i], theirs(x[i], value))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_jitters_order_is_kept(channels):
    x = images(40, channels=channels)
    factors, order = colour.draw_jitter(some_keys(40), (0.8, 0.8, 0.8, 0.2), 0.8)
    ours = colour.jitter(x.clone(), factors, order)
    parts = {place: step for place, step, _ in PARTS.values()}
    for i in range(40):
        theirs = x[i]
        for place in order[i].tolist():
            theirs = parts[place](theirs, float(factors[i, place]))
        close(ours[i], theirs)
    unchanged = [torch.equal(a, b) for a, b in zip(ours, x)]
    assert 2 <= sum(unchanged) <= 16


def test_jitter_is_drawn_in_torchvisions_ranges():
    factors, order = colour.draw_jitter(some_keys(24_000), (0.4, 1.5, 0.2, 0.1), 1.0)
    for column, (low, high) in enumerate([(0.6, 1.4), (0.0, 2.5), (0.8, 1.2), (-0.1, 0.1)]):
        values = factors[:, column]
        assert low - 1e-6 <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high + 1e-6
    counts = torch.unique(order, dim=0, return_counts=True)[1]
    assert len(counts) == 24
    assert (counts - 1000).abs().max() < 160


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_solarise_equal_torchvision(channels):
    x = images(channels=channels)
    close(colour.gray(x.clone()), peer.rgb_to_grayscale(x, num_output_channels=channels))
    assert torch.equal(colour.solarize(x.clone()), peer.solarize(x, 0.5))
    eight_bits = (x * 255).round().byte()
    assert torch.equal((colour.solarize(x.clone()) * 255).round().byte(), peer.solarize(eight_bits, 128))


@pytest.mark.parametrize(("side", "size"), [(20, 3), (20, 9), (40, 23), (7, 23)])
def test_blur_equals_torchvision(side, size):
    x = images(5, side)
    sigma = torch.tensor([0.1, 0.5, 1.0, 1.7, 2.0])
    size = min(size, 2 * side - 1)  # torchvision's reflection allows no more
    ours = colour.blur(x, sigma, size)
    for i in range(5):
        close(ours[i], peer.gaussian_blur(x[i], [size, size], [float(sigma[i])] * 2))


def test_kernel_is_a_tenth_of_the_side():
    assert [kernel(side) for side in (8, 32, 96, 224)] == [3, 3, 9, 23]


def test_the_colour_circle_closes():
    x = images(2)
    close(colour.hue(x.clone(), torch.zeros(2)), x)
    close(colour.hue(x.clone(), torch.full((2,), 0.5)), colour.hue(x.clone(), torch.full((2,), -0.5)))


# --- erase


def test_erase_equals_torchvision():
    x, key = images(64, 32) * 2 - 1, some_keys(64)
    box = erase.boxes(key, 32, 0.5)
    ours = erase.erase(x.clone(), box, key)
    noise = keyed.normal(key, x[0].numel(), keyed.Salt.NOISE).view_as(x)
    for i in range(64):
        top, left, high, wide = box[i].tolist()
        value = noise[i, :, top : top + high, left : left + wide]
        assert torch.equal(ours[i], peer.erase(x[i], top, left, high, wide, value))
    assert 16 <= int((box[:, 2] > 0).sum()) <= 48


def test_erased_rectangles_have_the_right_area():
    _, _, high, wide = erase.boxes(some_keys(20_000), 224, 1.0).unbind(1)
    drawn = high > 0
    area = (high * wide)[drawn] / 224**2
    assert drawn.float().mean() > 0.999
    assert 0.018 < area.min() < 0.022
    assert 0.32 < area.max() < 0.34
    assert max(high.max(), wide.max()) < 224


# --- keyed numbers


@pytest.mark.parametrize("device", DEVICES)
def test_uniform_has_known_bits(device):
    """The finaliser written out in Python's integers; and the same on every device."""

    def mixed(x):
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    golden, values = 0x9E3779B97F4A7C15, [0, 1, -1, 2**63 - 1, -(2**63), 123456789]
    ours = keyed.uniform(torch.tensor(values, device=device), 3, 7).cpu()
    for value, got in zip(values, ours.tolist()):
        state = mixed((value % 2**64 + golden) % 2**64)
        for salt in (3, 7):
            state = mixed((state + (salt + 1) * golden) % 2**64)
        assert got == (state >> 40) / 2**24


def test_uniform_is_uniform_and_independent():
    key = torch.arange(100_000)
    columns = [keyed.uniform(k, *salt) for k in (key, key + 1, -key) for salt in ((0,), (1,), (0, 1), (1, 0))]
    table = torch.stack(columns).double()
    counts = torch.stack([torch.histc(column, 50, 0, 1) for column in table.float()])
    assert table.min() >= 0
    assert table.max() < 1
    assert (((counts - 2000) ** 2 / 2000).sum(1) < 49 + 6 * 98**0.5).all()
    # Keys k and k + 1 are the same list shifted by one: compare rows of it, not those.
    related = torch.corrcoef(torch.cat([table[:, :-1], table[:, 1:]]))
    assert (related - torch.eye(24).double()).abs()[:4, 1:].triu().lt(0.02).all()
    assert torch.equal(keyed.uniforms(key[:9], 5, 4)[:, 3], keyed.uniform(key[:9], 4, 3))


def test_keys_are_left_as_they_were():
    key = some_keys(5)
    before = key.clone()
    keyed.uniform(key)
    keyed.branch(key, 1)
    keyed.normal(key, 3, 1)
    assert torch.equal(key, before)


def test_normal_is_normal():
    x = keyed.normal(torch.arange(2000), 101, 1).double()
    assert x.shape == (2000, 101)
    assert abs(x.mean()) < 0.01
    assert abs(x.var() - 1) < 0.02
    assert abs((x**4).mean() - 3) < 0.1
    assert abs(float((x.abs() < 1).double().mean()) - 0.6827) < 0.005


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 0.8, 1.0, 3.0])
def test_beta_has_the_right_distribution(alpha):
    from scipy import stats

    x = keyed.beta(torch.arange(20_000), alpha, 1).numpy()
    assert np.isfinite(x).all()
    assert stats.kstest(x, stats.beta(alpha, alpha).cdf).statistic < 1.95 / 20_000**0.5  # 0.1 % level


def test_beta_with_a_tiny_alpha_is_a_coin():
    x = keyed.beta(torch.arange(20_000), 1e-6, 1)
    assert torch.isfinite(x).all()
    assert abs(float((x > 0.5).double().mean()) - 0.5) < 0.02
    assert float(((x < 0.001) | (x > 0.999)).double().mean()) > 0.999


# --- whole views


def by_torchvision(pixels, drawn, i, view, side):
    """One sample's view, step by step, from the same decisions."""
    mode = InterpolationMode.BICUBIC if view.bicubic else InterpolationMode.BILINEAR
    x = pixels.permute(2, 0, 1).float() / 255
    x = peer.resized_crop(x, *drawn.box[i].tolist(), [side, side], mode, antialias=True).clamp(0, 1)
    x = peer.horizontal_flip(x) if drawn.flipped[i] else x
    x = peer.vertical_flip(x) if drawn.flipped_vertical[i] else x
    x = torch.rot90(x, int(drawn.turns[i]), (1, 2))
    parts = {place: step for place, step, _ in PARTS.values()}
    for place in drawn.order[i].tolist():
        x = parts[place](x, float(drawn.factors[i, place]))
    x = peer.rgb_to_grayscale(x, 3) if drawn.gray[i] else x
    sigma = float(drawn.sigma[i])
    x = peer.gaussian_blur(x, [kernel(side)] * 2, [sigma] * 2) if sigma else x
    # Rounding may push a value of exactly 0.5 to either side of the threshold: those pixels are not compared.
    doubtful = (x - 0.5).abs() < 1e-5 if drawn.solarize[i] else torch.zeros_like(x, dtype=torch.bool)
    x = peer.solarize(x, 0.5) if drawn.solarize[i] else x
    x = peer.normalize(x, [0.4, 0.5, 0.6], [0.2, 0.3, 0.4])
    top, left, high, wide = drawn.erased[i].tolist()
    noise = keyed.normal(drawn.key[i : i + 1], x.numel(), keyed.Salt.NOISE).view_as(x)
    x = peer.erase(x, top, left, high, wide, noise[:, top : top + high, left : left + wide])
    return torch.where(doubtful, 0.0, x), doubtful


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("view", [PAIR[0], *BYOL, MULTI_CROP[2], EVERYTHING, replace(EVERYTHING, bicubic=False)])
@pytest.mark.parametrize(("size", "side"), [(48, 32), (90, 48)])
def test_a_view_equals_torchvisions_steps(view, size, side, device):
    pixels, key = pictures(24, size, size + 7), some_keys(24)
    moments = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
    ours, geometry = make(pixels.to(device), key, view, side=side, number=3, **moments)
    drawn = draw(keyed.branch(key, 3), view, torch.full((24,), size), torch.full((24,), size + 7), side)
    assert torch.equal(geometry.box.cpu(), drawn.box.float())
    assert torch.equal(geometry.turns.cpu(), drawn.turns)
    for i in range(24):
        theirs, doubtful = by_torchvision(pixels[i], drawn, i, view, side)
        close(torch.where(doubtful, 0.0, ours[i].cpu()), theirs, 5e-5)  # 1e-5 before dividing by std = 0.2


@pytest.mark.parametrize("view", [PAIR[0], MULTI_CROP[1], EVERYTHING])
@pytest.mark.parametrize("size", [40, 80])
def test_a_sample_does_not_notice_its_batch(view, size, monkeypatch):
    monkeypatch.setattr("firstlight.views.make.CHUNK", 3 * 32**2 * 5)  # several chunks, the last one not full
    view = replace(view, solarize=0.0)  # a threshold turns rounding into a difference of 1
    pixels, key = pictures(12, size, size), some_keys(12)
    together = make(pixels, key, view, side=32, number=1)[0]
    apart = torch.cat([make(pixels[i : i + 1], key[i : i + 1], view, side=32, number=1)[0] for i in range(12)])
    ragged = make(list(pixels.flip(0)), key.flip(0), view, side=32, number=1)[0].flip(0)
    close(together, apart)
    close(together, ragged)


def test_probability_zero_and_one_mean_never_and_always():
    pixels, key = pictures(64, 24, 24), some_keys(64)
    edge = torch.full((64,), 24)
    never = draw(key, View(flip=0.0), edge, edge, 24)
    always = draw(key, replace(EVERYTHING, flip=1.0, gray=1.0, blur=1.0, solarize=1.0, flip_vertical=1), edge, edge, 24)
    for name in ("flipped", "flipped_vertical", "gray", "solarize"):
        assert not getattr(never, name).any()
        assert getattr(always, name).all()
    for name in ("turns", "sigma", "erased"):
        assert not getattr(never, name).any()
    assert (always.sigma > 0).all()
    plain = make(pixels, key, View(crop="center", flip=0.0), side=24, number=0, mean=0.0, std=1.0)[0]
    assert torch.equal((plain * 255).round().byte(), pixels.permute(0, 3, 1, 2))


def test_turns_are_equally_likely_and_flips_come_first():
    edge = torch.full((8000,), 24)
    drawn = draw(some_keys(8000), View(rotate=1.0), edge, edge, 24)
    assert (torch.bincount(drawn.turns) - 2000).abs().max() < 200
    pixels, key = pictures(8, 16, 16), some_keys(8)
    made, geometry = make(pixels, key, View(crop="center", rotate=1.0), side=16, number=0, mean=0.0, std=1.0)
    for i in range(8):
        x = pixels[i].permute(2, 0, 1)
        x = torch.rot90(x.flip(2) if geometry.flipped[i] else x, int(geometry.turns[i]), (1, 2))
        assert torch.equal((made[i] * 255).round().byte(), x)


def test_views_of_a_sample_differ_from_each_other():
    pixels, key = pictures(1, 40, 40).repeat(6, 1, 1, 1), some_keys(6)
    made = torch.cat([make(pixels, key, PAIR[0], side=24, number=number)[0] for number in range(3)])
    assert len({x.numpy().tobytes() for x in made}) == 18


def test_grey_pictures_become_colour_and_colour_grey():
    gray, key = pictures(3, 30, 30, channels=1)[..., 0], some_keys(3)
    view = replace(PAIR[0], jitter=(0.4, 0.4, 0.0, 0.0))
    one = make(gray, key, view, side=16, number=0, channels=1)[0]
    three = make(gray, key, view, side=16, number=0, channels=3)[0]
    assert one.shape == (3, 1, 16, 16)
    close(three, one.expand(-1, 3, -1, -1), 1e-3)  # torchvision's three grey weights sum to 0.9999

    coloured = pictures(3, 30, 30)
    ours = show([*coloured.numpy()], size=30, channels=1, mean=0.0, std=1.0)
    close(ours[:, 0], coloured.float() @ torch.tensor([0.299, 0.587, 0.114]) / 255)
    mixed = show([gray[0].numpy(), coloured[0].numpy()], size=30, mean=0.0, std=1.0)
    assert torch.equal((mixed[0] * 255).round().byte(), gray[0].expand(3, -1, -1))
    with pytest.raises(InputError, match="channels=2"):
        make(gray, key, view, side=16, number=0, channels=2)


def test_show_takes_any_sizes_and_held_memory():
    sizes = [(20, 30), (30, 20), (500, 3), (1, 1)]
    held = [np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8) for i, size in enumerate(sizes)]
    for picture in held:
        picture.setflags(write=False)
    assert show(held, size=12).shape == (4, 3, 12, 12)
    assert torch.equal(show(held, size=12), show(held, size=12, view=CENTER[0]))
    assert show(held[:1] * 2, size=12).shape == (2, 3, 12, 12)
    for wrong in ([], [held[0].astype(np.float32)], [np.zeros((4, 4, 2), np.uint8)], [np.zeros(4, np.uint8)]):
        with pytest.raises(InputError, match="expected"):
            pack(wrong)


# --- mixing


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_mixing_follows_its_definition(mixup, cutmix):
    x, label, key = images(9, 20), torch.arange(9) % 4, some_keys(9)
    mixed, target = mix.mix(x, label, key, mixup=mixup, cutmix=cutmix, categories=4, smoothing=0.1)
    share, kept = mix.shares(key, 20, 20, mixup=mixup, cutmix=cutmix)
    for i in range(9):
        j = 8 - i
        close(mixed[i], kept[i] * x[i] + (1 - kept[i]) * x[j])
        own, other = (torch.full((4,), 0.025) for _ in range(2))
        own[label[i]] += 0.9
        other[label[j]] += 0.9
        close(target[i], share[i] * own + (1 - share[i]) * other)
        close(kept[i].mean(), share[i])
    close(target.sum(1), torch.ones(9))


def test_mixing_equals_timms(monkeypatch):
    """timm's Mixup, element by element, fed the same shares and rectangles."""
    from timm.data import mixup as timm_mixup

    key, x, label = some_keys(8), images(8, 20), torch.arange(8)
    for settings in ({"mixup": 0.8, "cutmix": 0.0}, {"mixup": 0.0, "cutmix": 1.0}):
        alpha, salt = (0.8, 1) if settings["mixup"] else (1.0, 2)
        shares = keyed.beta(key, alpha, keyed.Salt.MIX, salt).numpy()
        places = iter((keyed.uniforms(key, 2, keyed.Salt.MIX, 3).numpy() * 20).astype(int).ravel().tolist())
        fake = type("numbers", (), {})
        fake.beta = staticmethod(lambda *_, size=None, shares=shares: shares)
        fake.rand = staticmethod(np.zeros)
        fake.randint = staticmethod(lambda *_, size=None, places=places: next(places))
        monkeypatch.setattr(timm_mixup.np, "random", fake)
        peer_mixup = timm_mixup.Mixup(settings["mixup"], settings["cutmix"], mode="elem", num_classes=8)
        theirs, target = peer_mixup(x.clone(), label)
        monkeypatch.undo()
        ours = mix.mix(x, label, key, categories=8, smoothing=0.1, **settings)
        close(ours[0], theirs)
        close(ours[1], target.float())


def test_mixing_tosses_a_fair_coin():
    kept = mix.shares(some_keys(4000), 8, 8, mixup=0.8, cutmix=1.0)[1]
    constant = (kept == kept[:, :, :1, :1]).flatten(1).all(1).float().mean()
    assert 0.45 < constant < 0.6  # some rectangles are empty or everything


def test_no_mixing_leaves_the_pictures_alone():
    x, label = images(4), torch.arange(4)
    mixed, target = mix.mix(x, label, some_keys(4), mixup=0.0, cutmix=0.0, categories=4)
    assert mixed is x
    assert torch.equal(target, torch.eye(4))
    for wrong in ({"mixup": -1.0}, {"cutmix": -0.1}, {"smoothing": 1.0}):
        with pytest.raises(InputError, match="expected"):
            mix.mix(x, label, some_keys(4), **{"mixup": 0.0, "cutmix": 0.0, "categories": 4, **wrong})


def test_a_step_for_some_may_follow_grey_for_all():
    pixels = torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8)
    key = torch.arange(8) * 7919
    grey = make(pixels, key, View(gray=1.0), side=16, number=0)[0]
    both = make(pixels, key, View(gray=1.0, solarize=0.5), side=16, number=0)[0]
    changed = [not torch.equal(a, b) for a, b in zip(grey, both)]
    assert 0 < sum(changed) < 8
