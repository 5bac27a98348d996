"""Statistical models: the transform against NumPy's, each statistic against a plain version, and in pictures."""

import math

import numpy as np
import pytest

from firstlight.errors import InputError
from firstlight.formulas import Draw, picture
from firstlight.formulas._fourier import inverse_amplitudes, roots, shape_spectrum, transform
from firstlight.formulas._histogram import match, moments, standardise
from firstlight.formulas._palette import palette, principal_axes
from firstlight.formulas._wavelet import densities, impose, rings
from firstlight.formulas.spectrum import MODELS, Spectrum

# --- the transform ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 16, 32, 64, 256])
def test_transforms_equal_numpys(size):
    values = Draw(0, size).uniform(-1, 1, (2, size, size))
    real, imaginary = values.copy()
    transform(real, imaginary, roots(size), -1.0)
    expected = np.fft.fft2(values[0] + 1j * values[1])
    assert np.abs(real + 1j * imaginary - expected).max() < 1e-10
    transform(real, imaginary, roots(size), 1.0)
    assert np.abs(np.stack([real, imaginary]) - values).max() < 1e-12


def test_a_single_wave_is_a_single_coefficient():
    rows, columns = np.mgrid[:32, :32]
    real, imaginary = np.cos(2 * np.pi * (3 * columns + 5 * rows) / 32), np.zeros((32, 32))
    transform(real, imaginary, roots(32), -1.0)
    assert real[5, 3] == pytest.approx(512)
    assert real[27, 29] == pytest.approx(512)
    real[5, 3] = real[27, 29] = 0
    assert np.abs(real).max() < 1e-9
    assert np.abs(imaginary).max() < 1e-9


# --- histograms -------------------------------------------------------------------------------------------------------


def test_values_take_the_wanted_distribution_and_keep_their_order():
    values = Draw(0, 0).uniform(-3, 5, (2, 40_000)).sum(0)
    edges = np.linspace(-2, 6, 101)
    reached = ((edges + 2) / 8) ** 2
    matched = values.copy()
    match(matched, reached, -2.0, 0.08)
    order = np.argsort(values)
    assert (np.diff(matched[order]) >= 0).all()
    exact = np.interp((np.arange(40_000) + 0.5) / 40_000, reached, edges)  # by sorting, as the Python part does
    assert np.abs(matched[order] - exact).max() < 0.02


def test_gaps_and_constants_are_no_trouble():
    values = np.repeat([0.0, 1.0, 9.0], [8, 16, 8])
    match(values, np.array([0.0, 0.5, 0.5, 1.0]), 10.0, 1.0)
    assert values.min() == 10
    assert values.max() == 13
    flat = np.full(16, 3.0)
    match(flat, np.array([0.0, 1.0]), 0.0, 1.0)
    assert (flat == 3).all()
    standardise(flat, 7.0, 2.0)
    assert (flat == 7).all()


def test_moments_equal_numpys():
    values = Draw(0, 1).uniform(-5, 9, 4096)
    assert moments(values) == pytest.approx((values.mean(), values.std()), rel=1e-12)
    standardise(values, -1.0, 3.0)
    assert (values.mean(), values.std()) == pytest.approx((-1, 3), rel=1e-12)


# --- the spectrum -----------------------------------------------------------------------------------------------------


def plain_spectrum(values, slopes):
    """The public code's step: the phases stay, the amplitudes are the model's, mean and deviation stay."""
    size = len(values)
    cycles = np.abs(np.fft.fftfreq(size))
    amplitude = 1 / (1e-16 + (cycles ** slopes[0])[None, :] + (cycles ** slopes[1])[:, None])
    amplitude[0, 0] = 0
    phase = np.angle(np.fft.fft2(values - values.mean()))
    shaped = np.fft.ifft2(amplitude * np.exp(1j * phase)).real
    return (shaped - shaped.mean()) / shaped.std() * values.std() + values.mean()


def test_two_pictures_get_their_spectra_at_once():
    values, slopes = Draw(0, 2).uniform(0, 256, (2, 64, 64)), np.array([0.8, 2.1])
    real, imaginary = values.copy()
    shape_spectrum(real, imaginary, roots(64), *inverse_amplitudes(slopes, 64), True)
    assert np.abs(real - plain_spectrum(values[0], slopes)).max() < 1e-8
    assert np.abs(imaginary - plain_spectrum(values[1], slopes)).max() < 1e-8
    alone, zeros = values[0].copy(), np.zeros((64, 64))
    shape_spectrum(alone, zeros, roots(64), *inverse_amplitudes(slopes, 64), False)
    assert np.abs(alone - real).max() < 1e-8
    assert not zeros.any()
    again, other = real.copy(), imaginary.copy()
    shape_spectrum(again, other, roots(64), *inverse_amplitudes(slopes, 64), True)
    assert np.abs(again - real).max() < 1e-8, "once is enough"


@pytest.mark.parametrize("category", range(5))
def test_pictures_have_the_spectrum_of_their_class(category):
    formula = Spectrum(colour=False)
    slopes = formula.category(Draw(0, category))["slopes"]
    cycles = np.abs(np.fft.fftfreq(128))
    wanted = (cycles ** slopes[0])[None, :] + (cycles ** slopes[1])[:, None]
    drawn = picture(formula, category, 3, size=128).astype(float)
    product = (np.abs(np.fft.fft2(drawn)) * wanted)[:8, :8].reshape(-1)[1:]
    assert product.std() / product.mean() < 0.1, "the same but for rounding to whole grey values"


def test_slopes_are_drawn_as_published():
    slopes = np.array([Spectrum(colour=False).category(Draw(0, c))["slopes"] for c in range(2000)])
    middle, away = slopes.mean(1), (slopes[:, 0] - slopes[:, 1]) / 2
    assert middle.min() >= 0.5
    assert middle.max() <= 3.5
    assert np.histogram(middle, 6, (0.5, 3.5))[0] == pytest.approx([333] * 6, abs=60)
    assert away.mean() == pytest.approx(0, abs=0.005)
    assert away.std() == pytest.approx(3 / 60, rel=0.06)
    assert (np.abs(away) < 0.05).mean() == pytest.approx(0.683, abs=0.03), "normal"
    fixed = Spectrum(slopes=(2.0, 2.0)).category(Draw(0, 1))["slopes"]
    assert fixed.tolist() == [2.0, 2.0]


# --- colours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(8))
def test_axes_are_eigenvectors(number):
    vectors = Draw(0, number).uniform(-1, 1, (3, 3 if number else 1))
    matrix = vectors @ vectors.T
    axes = principal_axes(matrix)
    assert np.abs(axes.T @ axes - np.eye(3)).max() < 1e-14
    assert np.abs(np.sort(np.diag(axes.T @ matrix @ axes)) - np.linalg.eigvalsh(matrix)).max() < 1e-14
    assert np.abs(axes.T @ matrix @ axes - np.diag(np.diag(axes.T @ matrix @ axes))).max() < 1e-14


def test_palettes_are_distributions():
    for category in range(10):
        known = palette(Draw(0, category))
        assert (np.diff(known["reached"], axis=1) >= 0).all()
        assert known["reached"][:, 0].tolist() == [0, 0, 0]
        assert known["reached"][:, -1].tolist() == [1, 1, 1]
        assert (known["ends"][:, 0] < 0).all()
        assert (known["ends"][:, 1] > 0).all()
        assert (known["mean"] > 0).all()
        assert (known["mean"] < 255).all()
        centres = known["ends"][:, :1] + (np.arange(256) + 0.5) / 256 * np.diff(known["ends"], axis=1)
        shares = np.diff(known["reached"], axis=1)
        assert np.abs((centres * shares).sum(1)).max() < 1, "coordinates are about the mean"


def test_pictures_have_the_colours_of_their_class():
    formula = Spectrum(model="spectrum_colour")
    for category in range(3):
        params = formula.category(Draw(0, category))
        pixels = picture(formula, category, 0, size=64).reshape(-1, 3).astype(float)
        along = (pixels @ params["axes"]).T
        for k in range(3):
            edges = np.linspace(*params["ends"][k], 257)
            marks = np.array([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95])
            wanted, drawn = np.interp(marks, params["reached"][k], edges), np.quantile(along[k], marks)
            scale = (drawn[-1] - drawn[0]) / (wanted[-1] - wanted[0])
            assert np.abs(drawn - drawn[3] - (wanted - wanted[3]) * scale).max() < 0.06 * (drawn[-1] - drawn[0])


# --- wavelets ---------------------------------------------------------------------------------------------------------


def plain_filters(size, scales):
    """Every subband's filter over all frequencies, from angles and logarithms, and the low-pass rest's."""
    steps = np.fft.fftfreq(size) * 2
    x, y = np.meshgrid(steps, steps)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    radius[0, 0] = 1e-9
    step = [np.clip(np.log2(radius) + 1 + k, 0, 1) * np.pi / 2 for k in range(scales + 2)]
    filters = [(0, np.sin(step[0]) + 0j)]
    for level in range(scales):
        ring = np.cos(step[level]) * np.sin(step[level + 1])
        for k in range(4):
            filters.append((level, 1j * math.sqrt(0.8) * np.cos(angle - k * np.pi / 4) ** 3 * ring))
    return filters, np.cos(step[scales])


@pytest.mark.parametrize(("size", "scales"), [(16, 1), (32, 2), (64, 3)])
def test_the_pyramid_keeps_everything_once(size, scales):
    filters, low = plain_filters(size, scales)
    assert np.abs(sum(np.abs(f) ** 2 for _, f in filters) + low**2 - 1).max() < 1e-12
    for k in range(scales):
        high, rest, band = rings(size >> k)
        assert np.abs(high**2 + rest**2 - 1).max() < 1e-14
        assert high[0, 0] == 0
        assert band[0, 0] == 0


def cut(spectrum, small):
    """The frequencies that a smaller picture has."""
    keep = np.r_[: small // 2, len(spectrum) - small // 2 : len(spectrum)]
    return spectrum[np.ix_(keep, keep)], np.ix_(keep, keep)


def plain_impose(values, reached, spreads, scales):
    size = len(values)
    filters, low = plain_filters(size, scales)
    spectrum = np.fft.fft2(values)
    result = spectrum * low**2
    for (level, own), table, spread in zip(filters, reached, spreads):
        part, places = cut(spectrum * own, size >> level)
        band = np.fft.ifft2(part).real * 2.0**-level
        match(band.reshape(-1), table, -200.25, 0.5)
        band = (band - band.mean()) / band.std() * spread
        result[places] += np.fft.fft2(band) * 2.0**level * cut(own.conj(), size >> level)[0]
    return np.fft.ifft2(result).real


def test_subbands_get_their_marginals_as_in_a_plain_pyramid():
    values, shapes = Draw(0, 3).uniform(0, 256, (2, 64, 64)), Draw(0, 4).uniform(0.4, 0.8, (2, 9))
    marginals = [densities(own, 2) for own in shapes]
    real, imaginary = values.copy()
    impose(real, imaginary, marginals, 2)
    expected = [plain_impose(v, *m, 2) for v, m in zip(values, marginals)]
    assert np.abs(real - expected[0]).max() < 1e-6
    assert np.abs(imaginary - expected[1]).max() < 1e-6
    alone, zeros = values[0].copy(), np.zeros((64, 64))
    impose(alone, zeros, marginals[:1], 2)
    assert np.abs(alone - real).max() < 1e-6
    assert not zeros.any()


def test_repetition_settles_the_marginals():
    values, shapes = Draw(0, 5).uniform(0, 256, (128, 128)), np.full(13, 0.5)
    reached, spreads = densities(shapes, 3)
    zeros = np.zeros((128, 128))
    for _ in range(10):
        impose(values, zeros, [(reached, spreads)], 3)
    for (level, own), table, spread in zip(plain_filters(128, 3)[0], reached, spreads):
        band = np.fft.ifft2(cut(np.fft.fft2(values) * own, 128 >> level)[0]).real * 2.0**-level
        assert band.std() == pytest.approx(spread, rel=0.25)
        shares = np.searchsorted(np.sort(band.reshape(-1)), np.linspace(-200.25, 200.25, 802)) / band.size
        assert np.abs(shares - table).max() < 0.1
    white = np.fft.ifft2(np.fft.fft2(Draw(0, 5).uniform(0, 256, (128, 128))) * plain_filters(128, 3)[0][3][1]).real
    shaped = np.fft.ifft2(np.fft.fft2(values) * plain_filters(128, 3)[0][3][1]).real
    peak = [(v**4).mean() / (v**2).mean() ** 2 for v in (white, shaped)]
    assert peak[0] < 3.5, "noise is normal"
    assert peak[1] > 2 * peak[0], "photographs are not"


def test_densities_are_generalised_laplacians():
    shapes = np.array([0.4, 0.8, 0.5, 0.6, 0.7, 0.45, 0.55, 0.65, 0.75])
    reached, spreads = densities(shapes, 2)
    x = np.arange(-200, 200.5, 0.5)
    for own, width, table, spread in zip(shapes, [4] * 5 + [16] * 4, reached, spreads):
        density = np.exp(-(np.abs(x / width) ** own))
        assert np.abs(np.diff(table) - density / density.sum()).max() < 1e-14
        assert spread == pytest.approx(math.sqrt((x * x * density).sum() / density.sum()), rel=1e-12)
    coarse = densities(np.full(29, 0.5), 7)[1]
    assert np.isfinite(coarse).all()
    assert coarse[-1] == pytest.approx(401 / math.sqrt(12), rel=0.01), "next to even"


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_what_a_class_holds(model):
    params = Spectrum(model=model).category(Draw(0, 7))
    named = {"spectrum": {"slopes"}, "wavelet": {"shapes"}}
    expected = {"axes", "mean", "ends", "reached"}.union(*(names for part, names in named.items() if part in model))
    assert set(params) == expected
    assert all(value.dtype == np.float64 for value in params.values())
    drawn = picture(Spectrum(model=model), 7, 0, size=32)
    assert drawn.shape == (32, 32, 3)
    assert (drawn.min(), drawn.max()) == (0, 255)


def test_grey_pictures():
    for model in MODELS[:2]:
        drawn = picture(Spectrum(model=model, colour=False), 1, 0, size=40)
        assert drawn.shape == (40, 40)
        assert drawn.flags.c_contiguous
        assert (drawn.min(), drawn.max()) == (0, 255)


@pytest.mark.parametrize("model", MODELS)
def test_other_sizes_are_cut_from_the_next_power_of_two(model):
    small, large = (picture(Spectrum(model=model), 2, 5, size=s).astype(float) for s in (48, 64))
    assert np.corrcoef(small.reshape(-1), large[:48, :48].reshape(-1))[0, 1] > 0.999


def test_repetitions_and_scales_matter():
    drawn = [
        picture(Spectrum(model="wavelet", colour=False, **settings), 0, 0, size=64).tobytes()
        for settings in ({}, {"iterations": 1}, {"scales": 1}, {"scales": 3}, {"scales": 7})
    ]
    assert len(set(drawn)) == 4
    assert drawn[3] == drawn[4], "a picture of 8 pixels is not halved"
    assert picture(Spectrum(iterations=1), 0, 0, size=32).tobytes() == picture(Spectrum(), 0, 0, size=32).tobytes()


@pytest.mark.parametrize(("settings", "name"), [
    ({"model": "pink"}, "model"), ({"slopes": (3.5, 0.5)}, "slopes"), ({"slopes": (0.5, 9.0)}, "slopes"),
    ({"slopes": (-1.0, 2.0)}, "slopes"), ({"slopes": (math.nan, 2.0)}, "slopes"), ({"slopes": (1.0,)}, "slopes"),
    ({"iterations": 0}, "iterations"), ({"iterations": 101}, "iterations"), ({"scales": 0}, "scales"),
    ({"scales": 8}, "scales"), ({"model": "spectrum_colour", "colour": False}, "colour"),
])  # fmt: skip
def test_bad_settings_are_refused(settings, name):
    with pytest.raises(InputError, match=rf"spectrum\({name}="):
        Spectrum(**settings)


@pytest.mark.parametrize(("model", "size"), [("spectrum", 7), ("spectrum", 8193), ("wavelet", 2049)])
def test_sizes_out_of_range_are_refused(model, size):
    with pytest.raises(InputError, match=r"spectrum\(size="):
        picture(Spectrum(model=model), 0, 0, size=size)


@pytest.mark.parametrize("slopes", [(0.0, 0.0), (8.0, 8.0)])
def test_extreme_slopes_draw(slopes):
    drawn = picture(Spectrum(slopes=slopes), 0, 0, size=64)
    assert (drawn.min(), drawn.max()) == (0, 255)
    smooth = np.abs(np.diff(drawn.astype(float), axis=0)).mean()
    assert smooth > 20 if slopes[0] == 0 else smooth < 10


@pytest.mark.parametrize("name", ["slopes", "shapes", "axes", "reached"])
def test_damaged_classes_are_refused(name):
    formula = Spectrum(model="spectrum_colour_wavelet")
    params = formula.category(Draw(0, 0))
    missing = {key: value for key, value in params.items() if key != name}
    broken = params | {name: np.where(params[name] == params[name].max(), np.nan, params[name])}
    for known in (missing, broken, params | {name: params[name][:1]}):
        with pytest.raises(InputError, match=f"finite {name}"):
            picture(formula, 0, 0, size=16, params=known)
