"""Fractals in space: kernels against plain ones, the public camera and search, members, pictures as they should be."""

import math
import threading

import numpy as np
import pytest

from firstlight.errors import InputError
from firstlight.formulas import Draw, _chaos3d, _math, _project, picture
from firstlight.formulas._affine3d import WEIGHTS, spatial_system, spatial_weights
from firstlight.formulas._chaos3d import CHAINS
from firstlight.formulas.fractal3d import Fractal3d

SYSTEM = np.array([
    [0.5, 0.1, -0.1, 0.2, 0.5, 0.3, -0.3, 0.1, 0.6, 0.3, 0.2, -0.4, 0.5],
    [-0.4, 0.3, 0.2, 0.1, 0.6, -0.5, 0.1, 0.2, -0.5, -0.3, 0.1, 0.6, 0.3],
    [0.3, 0.0, 0.0, 0.0, 0.3, 0.4, 0.0, 0.0, 0.3, 0.9, -0.9, 0.1, 0.2],
])  # fmt: skip
FLYING = np.array([
    [1.5, 0.2, 0.1, 0.1, 1.4, 0.5, 0.5, 0.1, 1.3, 0.6, 0.2, 0.1, 0.6],
    [0.9, 0.3, -0.6, 0.8, -0.7, 0.1, 0.4, 0.2, 0.9, 0.1, 0.1, 0.3, 0.4],
])  # fmt: skip
PARAMS = {"maps": SYSTEM}


# --- clouds -----------------------------------------------------------------------------------------------------------


def plain_cloud(system, key, points):
    """The definition in NumPy's single precision: all points of whole rounds, and the frame of the cloud."""
    ones = (1 << 64) - 1
    words = []
    for _ in range(2 * CHAINS):
        key = (key + 0x9E3779B97F4A7C15) & ones
        z = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & ones
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & ones
        words.append((z ^ (z >> 31)) & 0xFFFFFFFF | 1)
    first, second = np.array(words[:CHAINS], np.uint64), np.array(words[CHAINS:], np.uint64)
    reached = np.concatenate([[0], np.cumsum(system[:-1, 12])]) / system[:, 12].sum()
    edges = (reached * 2**24).astype(np.uint64)
    x = y = z = np.zeros(CHAINS, np.float32)
    rounds = math.ceil(points / CHAINS / 4) * 4
    seen = []
    for _ in range(32 + rounds):
        value = ((first * 0x9E3779BB) & 0xFFFFFFFF) >> 8
        m = system[:, :12].astype(np.float32)[np.searchsorted(edges, value, side="right") - 1].T
        second ^= first
        first = (((first << 26) | (first >> 6)) ^ second ^ (second << 9)) & 0xFFFFFFFF
        second = ((second << 13) | (second >> 19)) & 0xFFFFFFFF
        x, y, z = (
            (m[0] * x + m[1] * y) + (m[2] * z + m[9]),
            (m[3] * x + m[4] * y) + (m[5] * z + m[10]),
            (m[6] * x + m[7] * y) + (m[8] * z + m[11]),
        )
        seen.append((x, y, z))
    rows = np.array(seen[32:])  # [rounds, 3, CHAINS]
    sums = np.zeros((3, CHAINS), np.float32)
    for a, b, c, d in rows.reshape(-1, 4, 3, CHAINS):
        sums += (a + b) + (c + d)
    mean = [sum(row.tolist()) / (rounds * CHAINS) for row in sums]
    low, extent = rows.min(), rows.max() - rows.min()
    return rows, np.array([*mean, 2.0 / float(extent), low])


def systems(number):
    system = np.concatenate([SYSTEM, -SYSTEM, SYSTEM[:1] * 0.7])[:number].copy()
    system[:, 12] = np.abs(system[:, 12]) / np.abs(system[:, 12]).sum()
    return system


@pytest.mark.parametrize("points", [1, CHAINS, 4 * CHAINS + 1, 10_000])
@pytest.mark.parametrize("number", [2, 3, 4, 7])
def test_many_chains_play_the_game_as_defined(points, number):
    rows, frame = plain_cloud(systems(number), 99 + number, points)
    cloud, found = _chaos3d.cloud_of(systems(number), 99 + number, points)
    assert np.array_equal(cloud[3 * CHAINS :][: rows.size].reshape(rows.shape), rows)
    assert np.array_equal(found, frame)
    table = np.empty((points, 3), np.float32)
    _chaos3d.gather(cloud, found, table)
    expected = ((rows.transpose(0, 2, 1).reshape(-1, 3)[:points] - frame[:3]) * frame[3]).astype(np.float32)
    assert np.array_equal(table, expected)
    assert np.abs(table).max() <= 2


def test_maps_are_taken_at_their_rates():
    system = SYSTEM.copy()
    system[:, :9] = 0  # each map is a point of its own
    cloud, _ = _chaos3d.cloud_of(system, 7, 60 * 4 * CHAINS)
    _, counts = np.unique(cloud[3 * CHAINS :].reshape(-1, 3, CHAINS)[:240, 0], return_counts=True)
    assert sorted(counts / counts.sum()) == pytest.approx([0.2, 0.3, 0.5], abs=0.01)


def test_a_range_is_scaled_to_2_and_the_mean_to_0():
    for category in range(3):
        cloud, frame = _chaos3d.cloud_of(Fractal3d().category(Draw(0, category))["maps"], 3, 80 * CHAINS)
        table = np.empty((80 * CHAINS, 3), np.float32)
        _chaos3d.gather(cloud, frame, table)
        assert np.abs(table.mean(0)).max() < 1e-5
        centred = table + (frame[:3] - frame[4]) * frame[3] - 1
        assert (centred.min(), centred.max()) == pytest.approx((-1, 1), abs=1e-5)


def test_the_last_cloud_kept_changes_nothing():
    formula = Fractal3d()
    fresh = {}
    for number in (0, 1, 40, 41, 999):  # 0 and 1 show one cloud, 40 and 41 another
        _chaos3d._kept.name = None
        fresh[number] = picture(formula, 0, number, size=64, params=PARAMS)
    for number in (999, 41, 0, 40, 1, 0, 41):
        assert np.array_equal(picture(formula, 0, number, size=64, params=PARAMS), fresh[number])
    with pytest.raises(InputError):
        picture(formula, 0, 0, size=64, params={"maps": SYSTEM * np.nan})
    assert np.array_equal(picture(formula, 0, 41, size=64, params=PARAMS), fresh[41])
    assert not np.array_equal(picture(Fractal3d(points=50), 0, 41, size=64, params=PARAMS), fresh[41])
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(picture(formula, 0, 40, size=64, params=PARAMS)))
    thread.start()
    thread.join()
    assert np.array_equal(elsewhere[0], fresh[40])


def test_systems_that_fly_apart():
    cloud, frame = np.empty(_chaos3d._room(10_000), np.float32), np.empty(5)
    assert not _chaos3d.play(FLYING, np.uint64(1), 10_000, cloud, frame)
    assert picture(Fractal3d(), 0, 0, size=32, params={"maps": FLYING}).any(), "a member is shrunk until it stays"
    for worst in (np.nan, np.inf, 1e30):
        broken = SYSTEM.copy()
        broken[0, 9] = worst
        with pytest.raises(InputError, match="out of all bounds"):
            picture(Fractal3d(), 0, 0, size=32, params={"maps": broken})


@pytest.mark.parametrize("system", [np.zeros((8, 13)), np.zeros((0, 13)), SYSTEM.astype(np.float32)])
def test_what_is_no_system_is_refused(system):
    with pytest.raises(InputError, match="check the codebook"):
        _chaos3d.cloud_of(system, 0, 100)
    with pytest.raises(InputError, match="check the codebook"):
        picture(Fractal3d(), 0, 0, size=32, params={"maps": system[..., :7]})


# --- the search -------------------------------------------------------------------------------------------------------


def public_variances(system, key, points):
    """The public search's steps on a chain of ours: range to -1 .. 1, mean away, variance of each axis."""
    chances = Draw.__new__(Draw)
    chances.key, chances._count = key, 0
    cumulated, maps = np.cumsum(system[:, 12]).tolist(), system.tolist()
    x = y = z = 0.0
    seen = []
    for chance in (chances.uniform(0.0, 1.0, points) * cumulated[-1]).tolist():
        a, b, c, d, e, f, g, h, i, j, k, l, _ = maps[sum(chance >= edge for edge in cumulated[:-1])]  # noqa: E741
        x, y, z = a * x + b * y + c * z + j, d * x + e * y + f * z + k, g * x + h * y + i * z + l
        seen.append((x, y, z))
    cloud = np.array(seen)
    with np.errstate(over="ignore", invalid="ignore"):
        cloud = (cloud - cloud.min()) / (cloud.max() - cloud.min()) * 2 - 1
        return (cloud - cloud.mean(0)).var(0)


def test_the_search_decides_as_the_public_one_does():
    passed = 0
    for category in range(12):
        for attempt in range(3):
            trial = Draw(3, category).split(attempt)
            system = spatial_system(trial, int(trial.integers(2, 8)))
            fine = bool((public_variances(system, trial.key, 10_000) > 0.005).all())
            with np.errstate(over="ignore", invalid="ignore"):
                assert (_chaos3d.spread(system, np.uint64(trial.key), 0.005) > 0) == fine
            passed += fine
    assert 3 <= passed <= 20


def test_categories_keep_their_settings():
    for settings in ({}, {"maps": (3, 4)}, {"variance": 0.1, "maps": (2, 2)}):
        formula = Fractal3d(**settings)
        for category in range(3):
            system = formula.category(Draw(0, category))["maps"]
            assert system.dtype == np.float64
            assert system.shape[1] == 13
            assert formula.maps[0] <= len(system) <= formula.maps[1]
            assert np.abs(system[:, :12]).max() < 1
            volume = np.abs(np.linalg.det(system[:, :9].reshape(-1, 3, 3)))
            assert np.allclose(system[:, 12], volume / volume.sum(), rtol=1e-9)
            cloud, frame = _chaos3d.cloud_of(system, category, 10_000)
            table = np.empty((10_000, 3), np.float32)
            _chaos3d.gather(cloud, frame, table)
            assert table.var(0).min() > 0.3 * formula.variance, "other random numbers may meet a longer tail"


def test_the_search_accepts_its_share_and_looks_at_few_points():
    trials = [Draw(5, attempt) for attempt in range(3000)]
    drawn = [spatial_system(trial, int(trial.integers(2, 8))) for trial in trials]
    taken = np.array([_chaos3d.spread(system, np.uint64(trial.key), 0.05) for system, trial in zip(drawn, trials)])
    assert 0.008 < (taken > 0).mean() < 0.018
    assert np.abs(taken).mean() < 2000


def test_a_variance_out_of_reach_ends():
    with pytest.raises(InputError, match=r"fractal3d: none of 300 .* 0\.9"):
        Fractal3d(variance=0.9, tries=300).category(Draw(0, 0))


# --- views ------------------------------------------------------------------------------------------------------------


def plain_picture(rows, frame, points, view, shaded, size):
    """The projection by NumPy, a point at a time where points meet."""
    view = np.asarray(view)
    m = (view * frame[3]).astype(np.float32)
    shift = []
    for row in view:
        total = 0.0
        for axis in range(3):
            total += row[axis] * frame[3] * frame[axis]
        shift.append(np.float32(-total))
    x, y, z = rows.transpose(0, 2, 1).reshape(-1, 3)[:points].T
    depth = ((np.float32(4) - shift[2]) - m[2, 0] * x) - (m[2, 1] * y + m[2, 2] * z)
    grown = np.float32((1 + math.sqrt(2)) * size / 2) / depth
    column = np.float32(size / 2) + grown * ((m[0, 0] * x + m[0, 1] * y) + (m[0, 2] * z + shift[0]))
    row = np.float32(size / 2) - grown * ((m[1, 0] * x + m[1, 1] * y) + (m[1, 2] * z + shift[1]))
    light = np.clip(np.float32(255 + 288) - np.float32(96) * depth, np.float32(63), np.float32(255))
    pixels = np.zeros((size, size), np.uint8)
    for c, r, d, value in zip(column, row, depth, light):
        if d >= 1 and 0 <= c < size and 0 <= r < size:
            pixels[int(r), int(c)] = max(pixels[int(r), int(c)], int(value)) if shaded else 255
    return pixels


@pytest.mark.parametrize("shaded", [False, True])
@pytest.mark.parametrize(("points", "size", "larger"), [(1, 8, 1), (1500, 33, 1), (3000, 128, 1.6)])
def test_points_fall_where_they_should(points, size, larger, shaded):
    rows, frame = plain_cloud(SYSTEM, 5, points)
    frame[3] *= larger  # so large that points come near the camera and leave the picture
    view = Fractal3d().instance(PARAMS, Draw(0, 0, size))["view"]
    cloud = np.concatenate([np.zeros(3 * CHAINS, np.float32), rows.reshape(-1)])
    drawn = np.zeros((size, size), np.uint8)
    _project.project(cloud, frame, points, view, shaded, drawn)
    expected = plain_picture(rows, frame, points, view, shaded, size)
    assert np.array_equal(drawn, expected)
    assert expected.any()
    if larger > 1:
        assert expected[[0, -1]].any(), "points reach the margin"


def public_matrices(degrees):
    """The public renderer's camera: OpenGL's view and projection, from their definitions."""
    turn = math.radians(degrees)
    forward = np.array([math.cos(turn), 0.0, -math.sin(turn)])
    right = np.cross(forward, [0.0, 1.0, 0.0])
    up = np.cross(right, forward)
    look = np.eye(4)
    look[0, :3], look[1, :3], look[2, :3] = right, up, -forward
    look[:3, 3] = -look[:3, :3] @ (-4 * forward)
    near, far, f = 1.0, 100.0, 1 / math.tan(math.radians(45) / 2)
    lens = np.zeros((4, 4))
    lens[0, 0], lens[1, 1], lens[2, 2] = f, f, (far + near) / (near - far)
    lens[2, 3], lens[3, 2] = 2 * far * near / (near - far), -1
    return lens @ look


@pytest.mark.parametrize("place", [0, 1, 5, 11])
def test_the_ring_is_the_public_camera_upright(place):
    formula, size = Fractal3d(camera="ring", jitter=0, weights=145), 224
    found = formula.instance(PARAMS, Draw(0, 0, 12 * 6 + place))
    assert np.array_equal(found["maps"], SYSTEM), "row 6 of 145 changes nothing"
    cloud, frame = _chaos3d.cloud_of(found["maps"], int(found["walk"]), 10_000)
    table = np.empty((10_000, 3), np.float32)
    _chaos3d.gather(cloud, frame, table)
    clip = np.c_[table, np.ones(10_000)] @ public_matrices(place / 12 * 360 + 30).T
    seen = (np.abs(clip[:, :3]) < clip[:, 3:]).all(1)
    window = (clip[seen, :2] / clip[seen, 3:] + 1) / 2 * size
    expected = np.zeros((size, size), np.uint8)
    expected[np.floor(window[:, 1]).astype(int), np.floor(window[:, 0]).astype(int)] = 255
    drawn = formula.render(found, size, Draw(0, 0, 0))
    assert (drawn != expected[::-1]).sum() <= 0.002 * (expected > 0).sum() + 1
    assert (expected > 0).sum() > 500


def test_sines_are_those_of_the_shared_file():
    turns = np.concatenate([Draw(0, 0).uniform(-3, 3, 500), np.arange(-8, 9) / 8])
    cosine, sine = _math.cos_sin(turns)
    assert [_project._cos_sin(turn) for turn in turns.tolist()] == list(zip(cosine.tolist(), sine.tolist()))


def test_random_views_are_even_over_all_rotations():
    formula = Fractal3d()
    draws = [Draw(0, 0, number) for number in range(4000)]
    views = np.array([formula.instance(PARAMS, draw)["view"] for draw in draws])
    assert np.allclose(views @ views.transpose(0, 2, 1), np.eye(3), atol=1e-14)
    assert np.allclose(np.linalg.det(views), 1)
    assert np.abs(views.mean(0)).max() < 0.04
    assert np.abs((views**2).mean(0) - 1 / 3).max() < 0.02
    angle = np.arccos(np.clip((np.trace(views, axis1=1, axis2=2) - 1) / 2, -1, 1)) / math.pi
    expected = np.linspace(0, 1, 4000) - np.sin(np.linspace(0, 1, 4000) * math.pi) / math.pi  # of the angle of a turn
    assert np.abs(np.interp(np.sort(angle), np.linspace(0, 1, 4000), expected) - np.arange(4000) / 4000).max() < 0.03
    share, first, second = draws[7].uniform(0, 1, 3)  # Shoemake's quaternion, from the member's own numbers
    x, y = (math.sqrt(1 - share) * f(2 * math.pi * first) for f in (math.sin, math.cos))
    z, w = (math.sqrt(share) * f(2 * math.pi * second) for f in (math.sin, math.cos))
    assert views[7, 0, 0] == pytest.approx(w * w + x * x - y * y - z * z)
    assert views[7, 1, 0] == pytest.approx(2 * (x * y + w * z))


@pytest.mark.parametrize(("jitter", "most"), [(None, math.pi), (0, 0), (20.0, 20.0)])
def test_the_ring_strays_as_far_as_it_may(jitter, most):
    formula = Fractal3d(camera="ring", weights=1, jitter=jitter)
    strays = []
    for number in range(600):
        view = formula.instance(PARAMS, Draw(0, 0, number))["view"]
        assert np.allclose(view @ view.T, np.eye(3), atol=1e-14)
        assert view[1].tolist() == [0, 1, 0]
        degrees = math.degrees(math.atan2(view[0, 0], view[0, 2]))
        strays.append((degrees - (number % 12) * 30 - 30 + 180) % 360 - 180)
    assert np.abs(strays).max() <= most + 1e-9
    assert np.abs(strays).max() >= 0.97 * most
    assert abs(np.mean(strays)) <= 0.1 * most + 1e-9


# --- members ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", WEIGHTS)
def test_weights_equal_the_public_files(shared_data, count):
    file = shared_data / "fractaldb_official" / "weights3d" / f"weights_ins{count}.csv"
    table = spatial_weights(count)
    assert np.array_equal(table[:, :12], np.atleast_2d(np.genfromtxt(file, delimiter=",")))
    assert (table[:, 12] == 1).all()


@pytest.mark.parametrize(("settings", "views", "rows"), [
    ({}, 40, 25), ({"camera": "ring", "weights": 145}, 12, 145), ({"views": 3, "weights": 49}, 3, 49),
])  # fmt: skip
def test_members_walk_the_weights_and_for_each_the_views(settings, views, rows):
    formula = Fractal3d(**settings)
    found = [formula.instance(PARAMS, Draw(0, 2, i)) for i in range(views * rows + 1)]
    for number in (0, 1, views - 1, views, views * rows - 1, views * rows):
        row = spatial_weights(rows)[number // views % rows]
        assert np.array_equal(found[number]["maps"], SYSTEM * row), number
    walks = [int(member["walk"]) for member in found]
    assert len(set(walks)) == rows, "all views of a row show one cloud"
    assert walks[0] == walks[views - 1] == walks[-1] != walks[views]
    assert len({member["view"].tobytes() for member in found}) == len(found)
    assert int(formula.instance(PARAMS, Draw(0, 3, 0))["walk"]) not in walks
    assert int(formula.instance(PARAMS, Draw(1, 2, 0))["walk"]) not in walks


def test_near_points_are_brighter_and_hide_others():
    params = Fractal3d().category(Draw(0, 2))
    plain, shaded = (picture(Fractal3d(shaded=s), 0, 3, size=128, params=params) for s in (False, True))
    assert set(np.unique(plain)) == {0, 255}
    assert np.array_equal(plain > 0, shaded > 0)
    assert 63 <= shaded[shaded > 0].min() < shaded.max() - 50
    near, far, cloud = [0.0, 0.0, 0.9], [0.0, 0.0, -0.6], np.zeros((2, 3, CHAINS), np.float32)
    for first, second in ((near, far), (far, near)):
        cloud[1, :, 0], cloud[1, :, 1] = first, second
        pixels = np.zeros((9, 9), np.uint8)
        _project.project(cloud.reshape(-1), np.array([0, 0, 0, 1.0]), 2, np.eye(3), True, pixels)
        assert pixels[4, 4] == int(255 - 96 * 0.1)
        assert (pixels > 0).sum() == 1


def test_pictures_stand_upright():
    """A cloud that is wide below and thin above, seen from the ring, is wide in the lower half of the picture."""
    corners = ([0.8, -0.5, 0.0], [-0.4, -0.5, 0.7], [-0.4, -0.5, -0.7], [0.0, 0.5, 0.0])
    pyramid = np.array([[*0.5 * np.eye(3).reshape(-1), *corner, 0.25] for corner in corners])
    drawn = picture(Fractal3d(camera="ring", weights=1), 0, 0, size=224, params={"maps": pyramid})
    lit = np.flatnonzero(drawn.any(1))
    middle = (lit[0] + lit[-1]) // 2
    assert np.count_nonzero(drawn[middle:].any(0)) > 1.5 * np.count_nonzero(drawn[:middle].any(0))


def test_small_pictures_are_averages_of_larger_ones():
    large = picture(Fractal3d(oversample=1, points=3265), 0, 0, size=128, params=PARAMS)
    small = picture(Fractal3d(), 0, 0, size=32, params=PARAMS)
    assert np.array_equal(small, large.reshape(32, 4, 32, 4).astype(int).sum((1, 3)) // 16)


@pytest.mark.parametrize("settings", [
    {"camera": "side"}, {"views": 0}, {"weights": 24}, {"jitter": -1.0}, {"jitter": 181}, {"jitter": math.nan},
    {"maps": (7, 2)}, {"maps": (1, 3)}, {"maps": (2, 8)}, {"maps": (2,)}, {"variance": 1.0}, {"variance": -0.1},
    {"variance": math.nan}, {"tries": 0}, {"points": 0}, {"points": 1 << 25}, {"oversample": 0},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=rf"fractal3d\({next(iter(settings))}=.*allowed is"):
        Fractal3d(**settings)


@pytest.mark.parametrize(("settings", "size"), [({}, 7), ({}, 9000), ({"oversample": 100}, 100)])
def test_bad_sizes_are_refused(settings, size):
    with pytest.raises(InputError, match="allowed is"):
        picture(Fractal3d(**settings), 0, 0, size=size, params=PARAMS)


def test_one_point_and_large_pictures():
    assert (picture(Fractal3d(points=1), 0, 0, size=224, params=PARAMS) > 0).sum() == 1
    large = picture(Fractal3d(points=200_000), 0, 0, size=2048, params=PARAMS)
    assert large.shape == (2048, 2048)
    assert 10_000 < (large > 0).sum() < 200_000
    assert hash(Fractal3d(maps=[2, 4])) == hash(Fractal3d(maps=(2, 4))), "a list comes from JSON"
