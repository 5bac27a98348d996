"""Clouds of points: mixing as published and as the public code does it, furnished rooms, and how clouds are shown."""

import math

import numpy as np
import pytest

from firstlight.data.formula import FormulaPictures
from firstlight.errors import InputError
from firstlight.formulas import Draw, _chaos3d, _project, annotated, picture, points
from firstlight.formulas._affine3d import spacious_system
from firstlight.formulas._project import look
from firstlight.formulas.points import Points

FEW = {"variance": 0.001, "classes": 5}


def raw_cloud(system, walk, count):
    """The points of whole rounds as the game leaves them, neither scaled nor centred."""
    cloud, _ = _chaos3d.cloud_of(system, walk, count)
    rounds = -(-count // (4 * _chaos3d.CHAINS)) * 4
    rows = cloud[3 * _chaos3d.CHAINS :][: rounds * 3 * _chaos3d.CHAINS].reshape(-1, 3, _chaos3d.CHAINS)
    return rows.transpose(0, 2, 1).reshape(-1, 3).astype(np.float64)


def parts(formula, category, instance, count):
    """Of each part of a member: its points, scaled to -1 .. 1 over all axes together, and its mean."""
    draw = Draw(0, category, instance)
    params = formula.instance(formula.category(Draw(0, category)), draw)
    found = []
    noise = int(count * formula.noise_share)
    for number, (size, other) in enumerate(((count - noise, category), (noise, int(params["mixed"][0])))):
        if size:
            maps = formula.category(Draw(0, other))["maps"]
            part = raw_cloud(maps, draw.split(1).split(0).split(number).key, size)
            part = (part - part.min()) / (part.max() - part.min()) * 2 - 1
            found.append((part[:size], part.mean(0)))
    return found


# --- single objects ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.2, 0.5, 0.0])
def test_a_member_is_two_centred_parts(share):
    formula = Points(points=10_000, noise_share=share, **FEW)
    drawn = picture(formula, 1, 4, size=32)
    assert (drawn.dtype, drawn.shape) == (np.float32, (10_000, 3))
    assert np.abs(drawn.astype(np.float64).mean(0)).max() < 1e-6
    found = parts(formula, 1, 4, 10_000)
    assert len(found) == (2 if share else 1)
    expected = np.concatenate([part - mean for part, mean in found])
    assert np.abs(drawn - (expected - expected.mean(0))).max() < 1e-5


def test_official_parts_are_pulled_apart_as_the_public_code_does():
    formula = Points(points=10_000, official=True, **FEW)
    drawn = picture(formula, 1, 4, size=32)
    expected = np.concatenate([part - mean * len(part) / 10_000 for part, mean in parts(formula, 1, 4, 10_000)])
    assert np.abs(drawn - (expected - expected.mean(0))).max() < 1e-5
    centred = picture(Points(points=10_000, **FEW), 1, 4, size=32)
    assert np.abs(drawn[:8000].mean(0)).max() > 10 * np.abs(centred[:8000].mean(0)).max()


def test_others_are_drawn_anew_from_all_classes_but_its_own():
    formula = Points(classes=6)
    params = {"maps": np.zeros((2, 13))}
    for category, allowed in ((2, [0, 1, 3, 4, 5]), (9, [0, 1, 2, 3, 4])):  # class 9 of 6: none is its own
        mixed = np.array([int(formula.instance(params, Draw(0, category, i))["mixed"][0]) for i in range(3000)])
        numbers, counts = np.unique(mixed, return_counts=True)
        assert numbers.tolist() == allowed
        assert np.abs(counts - 600).max() < 110


def test_official_others_are_one_list_for_all_classes():
    formula, params = Points(classes=50, official=True), {"maps": np.zeros((2, 13))}
    lists = [[int(formula.instance(params, Draw(0, c, i))["mixed"][0]) for i in range(120)] for c in (0, 7)]
    assert lists[0] == lists[1]
    assert sorted(lists[0][:50]) == list(range(50)), "a sample without repetition"
    assert lists[0][50:100] == lists[0][:50]
    assert lists[0][:50] != list(range(50))
    other = [int(formula.instance(params, Draw(1, 0, i))["mixed"][0]) for i in range(50)]
    assert other != lists[0][:50]


def test_a_codebook_gives_the_own_class_and_leaves_the_others():
    formula = Points(points=500, **FEW)
    given = {"maps": spacious_system(Draw(77, 0), (2, 7), 0.001, 1000, "test")}
    kept = given["maps"].copy()
    drawn = picture(formula, 1, 4, size=32, params=given)
    usual = picture(formula, 1, 4, size=32)
    assert np.abs(drawn[:400] - usual[:400]).max() > 0.1
    noise = drawn[400:] - drawn[400:].mean(0)
    assert np.abs(noise - (usual[400:] - usual[400:].mean(0))).max() < 1e-5
    assert np.array_equal(given["maps"], kept)


def test_sets_of_clouds_are_read_like_pictures():
    pictures = FormulaPictures(Points(points=200, **FEW), categories=3, instances=4, size=32, threads=2)
    drawn = pictures.read(np.array([0, 5, 11]))
    assert [cloud.shape for cloud in drawn] == [(200, 3)] * 3
    assert np.array_equal(drawn[1], picture(Points(points=200, **FEW), 1, 1, size=8)), "the size plays no part"


# --- scenes -----------------------------------------------------------------------------------------------------------

ROOM = Points(scene=True, points=20_000, **FEW)


def test_boxes_are_filled_by_their_objects():
    found = annotated(ROOM, 3, 1, size=32)
    cloud, boxes, labels = found["cloud"], found["boxes"], found["labels"]
    assert (cloud.dtype, cloud.shape) == (np.float32, (20_000, 3))
    assert (boxes.dtype, labels.dtype) == (np.float32, np.int64)
    count = len(boxes)
    assert labels.shape == (count,)
    assert labels[0] == 3, "the first object is of the scene's own class"
    for k, (x, y, z, wide, deep, high, angle) in enumerate(boxes.astype(np.float64).tolist()):
        own = cloud[k * 20_000 // count : (k + 1) * 20_000 // count].astype(np.float64) - [x, y, z]
        cosine, sine = math.cos(angle), math.sin(angle)  # turned back, from the second axis to the first
        back = np.stack([cosine * own[:, 0] + sine * own[:, 1], cosine * own[:, 1] - sine * own[:, 0], own[:, 2]], 1)
        assert np.abs(back.max(0) - np.array([wide, deep, high]) / 2).max() < 1e-5
        assert np.abs(back.min(0) + np.array([wide, deep, high]) / 2).max() < 1e-5
    assert abs(cloud[:, 2].min()) < 1e-6, "all stand on the floor"


def test_rooms_are_furnished_as_published():
    boxes = [Points(scene=True).instance({"maps": None}, Draw(0, 0, i))["boxes"] for i in range(400)]
    counts = np.array([len(room) for room in boxes])
    assert counts.min() >= 15
    assert abs((counts - 15).mean() - 5) < 0.35
    assert 4 < (counts - 15).var() < 6.2
    every = np.concatenate(boxes)
    assert np.abs(every[:, :2]).max() <= 7.5
    assert np.abs(every[:, :2]).max() > 7.4
    assert np.array_equal(every[:, 2], every[:, 5] / 2)
    assert (every[:, 3] >= 0.75).all()
    assert (every[:, 3] < 1.25).all()
    shape = every[:, 4:6] / every[:, 3:4]
    assert (shape.min(), shape.max()) == pytest.approx((0.9, 1.1), abs=1e-3)
    assert (every[:, 6].min(), every[:, 6].max()) == pytest.approx((-math.pi, math.pi), abs=0.01)
    for room in boxes[:60]:
        radius = np.hypot(room[:, 3], room[:, 4]) / 2
        apart = np.hypot(*(room[:, None, :2] - room[None, :, :2]).transpose(2, 0, 1))
        free = apart - radius[:, None] - radius - 0.25
        assert free[~np.eye(len(room), dtype=bool)].min() >= 0


def test_poisson_numbers_follow_their_distribution():
    counts = np.bincount([points._poisson_five(Draw(0, i)) for i in range(6000)], minlength=20)[:15]
    expected = 6000 * np.array([math.exp(-5) * 5**k / math.factorial(k) for k in range(15)])
    assert ((counts - expected) ** 2 / expected).sum() < 36  # 14 degrees of freedom: 1 in 1,000


def test_a_full_room_ends():
    crowded = Points(scene=True, objects=10_000, room=4.0, points=100, **FEW)
    found = annotated(crowded, 0, 0, size=32)
    assert 2 <= len(found["boxes"]) <= 12
    assert len(found["cloud"]) == 100
    assert len(annotated(Points(scene=True, room=0.01, points=7, **FEW), 0, 0, size=32)["boxes"]) == 1


def test_every_object_of_a_scene_gets_its_share_even_of_few_points():
    found = annotated(Points(scene=True, points=5, **FEW), 0, 0, size=32)
    assert found["cloud"].shape == (5, 3)
    assert np.isfinite(found["cloud"]).all()
    assert len(found["boxes"]) >= 15


def test_labels_are_even_over_the_classes():
    formula = Points(scene=True, classes=4)
    labels = np.concatenate([formula.instance({"maps": None}, Draw(0, 1, i))["labels"][1:] for i in range(100)])
    counts = np.bincount(labels, minlength=4)
    assert len(counts) == 4
    assert np.abs(counts / len(labels) - 0.25).max() < 0.05
    for i in range(20):
        found = formula.instance({"maps": None}, Draw(0, 1, i))
        assert (found["mixed"] != found["labels"]).all()
        assert found["mixed"].max() < 4


# --- settings, and how clouds are shown -------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [
    {"points": 0}, {"points": 1 << 25}, {"noise_share": 1.0}, {"noise_share": -0.1}, {"noise_share": math.nan},
    {"classes": 1}, {"objects": 0}, {"objects": 20_000}, {"room": 0.0}, {"room": math.inf}, {"room": math.nan},
    {"maps": (1, 3)}, {"maps": (2, 8)}, {"variance": 1.0}, {"variance": math.nan}, {"tries": 0},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=rf"points\({next(iter(settings))}=.*allowed is"):
        Points(**settings)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InputError, match="points: none of 20 "):
        Points(variance=0.9, tries=20).category(Draw(0, 0))
    with pytest.raises(InputError, match="out of all bounds"):
        picture(Points(points=100, **FEW), 0, 0, size=32, params={"maps": np.full((2, 13), np.nan)})
    with pytest.raises(InputError, match="size"):
        picture(Points(points=100, **FEW), 0, 0, size=3)


def test_kernels_ask_for_no_fast_math():
    for module in (_chaos3d, _project):
        kernels = [item for item in vars(module).values() if hasattr(item, "targetoptions")]
        assert kernels
        assert all(kernel.targetoptions["nogil"] and not kernel.targetoptions.get("fastmath") for kernel in kernels)


def test_maps_from_json_become_a_tuple():
    assert Points(maps=[2, 4]) == Points(maps=(2, 4))
    assert hash(Points(maps=[2, 4])) == hash(Points(maps=(2, 4)))


def test_shown_clouds_fit_the_picture_at_any_scale():
    cloud = picture(Points(points=3000, **FEW), 0, 0, size=32)
    shown = look(cloud, 120)
    assert (shown.dtype, shown.shape) == (np.uint8, (120, 120))
    assert len(np.unique(shown)) > 30
    moved = look((cloud * 64 + [512, -256, 128]).astype(np.float32), 120)
    assert (moved != shown).mean() < 0.01
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    assert (look(corners, 200) > 0).sum() == 8
    assert (look(corners[:1], 8) > 0).sum() == 1
    upright = np.array([[0, 0, 0], [0, 0, 1]], np.float32)
    _, columns = np.nonzero(look(upright, 101))
    assert columns[0] == columns[1], "the third axis points up"
