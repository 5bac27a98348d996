"""What every formula promises, asked of each file in ``formulas/`` without naming one."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import goldens
from firstlight import spec
from firstlight.data.formula import FormulaPictures
from firstlight.errors import InputError
from firstlight.events import Progress, drain
from firstlight.formulas import Draw, Formula, annotated, picture
from once import once

NAMES = spec.names("formulas")
SIZE = 24


@pytest.fixture(params=NAMES)
def formula(request) -> Formula:
    return spec.find("formulas", request.param, Formula)()


def test_settings_are_frozen_and_pickle(formula):
    assert dataclasses.is_dataclass(formula)
    with pytest.raises(dataclasses.FrozenInstanceError):
        formula.anything = 1
    assert pickle.loads(pickle.dumps(formula)) == formula
    assert hash(formula) == hash(type(formula)())
    assert type(formula).__bases__ == (Formula,)


def test_pictures_are_pure(formula):
    first = picture(formula, 1, 2, size=SIZE)
    again = picture(pickle.loads(pickle.dumps(formula)), 1, 2, size=SIZE)
    check_shape(formula.kind, first)
    assert first.flags.c_contiguous
    assert np.array_equal(first, again)
    assert first.any()


def check_shape(kind, drawn):
    if kind == "cloud":
        assert drawn.dtype == np.float32
        assert drawn.ndim == 2
        assert drawn.shape[1] == 3
        assert np.isfinite(drawn).all()
        return
    assert drawn.dtype == np.uint8
    assert drawn.shape[1:] == (SIZE, SIZE) if kind == "clip" else drawn.shape in ((SIZE, SIZE), (SIZE, SIZE, 3))


@pytest.mark.parametrize("text", list(goldens.stored("compiled")))
def test_what_is_known_about_a_member_fits_it(text):
    formula = spec.build("formulas", text, Formula)
    for instance in range(3):
        known = annotated(formula, 1, instance, size=SIZE)
        main = known[formula.kind]
        check_shape(formula.kind, main)
        assert np.array_equal(main, picture(formula, 1, instance, size=SIZE))
        assert set(known) <= {formula.kind, "mask", "boxes", "labels", "present"}
        if "mask" in known:
            assert (known["mask"].dtype, known["mask"].shape) == (np.uint8, (SIZE, SIZE))
        if "boxes" in known:
            boxes, labels = known["boxes"], known["labels"]
            assert boxes.dtype == np.float32
            assert labels.dtype == np.int64
            assert boxes.shape == (len(labels), 7 if formula.kind == "cloud" else 4)
            assert (labels >= 0).all()
            assert formula.categories is None or (labels < formula.categories).all()
            if formula.kind != "cloud":
                assert (boxes[:, :2] < boxes[:, 2:]).all()
                assert (boxes >= 0).all()
                assert (boxes <= SIZE).all()
        if "present" in known:
            present = np.zeros(formula.categories, np.uint8)
            present[known["labels"]] = 1
            assert np.array_equal(known["present"], present)


def test_every_family_has_stored_fingerprints():
    assert set(NAMES) == {text.partition("(")[0] for text in goldens.stored("compiled")}
    assert set(NAMES) == {text.partition("(")[0] for text in goldens.stored("interpreted")}


@pytest.mark.parametrize(("text", "value"), goldens.stored("compiled").items(), ids=list(goldens.stored("compiled")))
def test_pictures_never_change(text, value):
    assert goldens.fingerprint(text) == value


def fingerprints(table, way, **environment):
    command = [sys.executable, goldens.__file__, table, way]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@once
def in_threads(folder):
    return fingerprints("compiled", "threads")


@once
def in_spawned_processes(folder):
    return fingerprints("compiled", "spawn")


@once
def in_forked_processes(folder):
    return fingerprints("compiled", "fork")


@once
def interpreted(folder):
    return fingerprints("interpreted", "spawn", NUMBA_DISABLE_JIT="1")


@once
def for_every_processor(folder):
    """Everything compiled anew for the least of processors."""
    return fingerprints("compiled", "threads", NUMBA_CPU_NAME="generic")


WAYS = {"threads": in_threads, "spawn": in_spawned_processes, "fork": in_forked_processes}


@pytest.mark.parametrize("way", [way for way in WAYS if way != "fork" or hasattr(os, "fork")])
def test_same_bytes_in_threads_and_processes(way):
    assert WAYS[way]() == goldens.stored("compiled")


def test_same_bytes_without_the_compiler():
    rows = goldens.stored("interpreted")
    assert {text: goldens.fingerprint(text) for text in rows} == rows
    assert interpreted() == rows


def test_same_bytes_where_compiled_code_cannot_be_kept():
    code = "import goldens; print(goldens.fingerprint('fractal'))"
    environment = {**os.environ, "NUMBA_CACHE_DIR": "/proc/nowhere", "PYTHONPATH": os.path.dirname(goldens.__file__)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == goldens.stored("compiled")["fractal"]


def test_classes_beyond_the_last_are_refused(formula):
    if formula.categories is not None:
        formula.category(Draw(0, formula.categories - 1))
        with pytest.raises(InputError, match=str(formula.categories)):
            formula.category(Draw(0, formula.categories))


def test_instances_categories_and_seeds_differ(formula):
    first = picture(formula, 0, 0, size=SIZE)
    for other in ((0, 1, 0), (1, 0, 0), (0, 0, 1)):
        category, instance, seed = other
        assert not np.array_equal(first, picture(formula, category, instance, size=SIZE, seed=seed)), other


def test_known_parameters_give_the_same_picture(formula):
    params = formula.category(Draw(3, 5))
    kept = {name: value.copy() for name, value in params.items()}
    assert np.array_equal(
        picture(formula, 5, 7, size=SIZE, seed=3, params=params), picture(formula, 5, 7, size=SIZE, seed=3)
    )
    assert all(np.array_equal(params[name], kept[name]) for name in kept), "drawing must leave the class as it is"


@pytest.mark.parametrize("size", [0, -1, 3])
def test_sizes_too_small_are_refused(formula, size):
    with pytest.raises(InputError):
        picture(formula, 0, 0, size=size)


def test_drawing_in_threads_equals_the_pure_function(formula):
    numbers = np.array([0, 9, 4, 29, 10, 11, 12, 13, 9])
    one = FormulaPictures(formula, categories=3, instances=10, size=SIZE, seed=2, threads=1)
    many = FormulaPictures(formula, categories=3, instances=10, size=SIZE, seed=2, threads=4)
    expected = [picture(formula, *divmod(int(n), 10), size=SIZE, seed=2) for n in numbers]
    for pictures in (one, many):
        drawn = pictures.read(numbers)
        assert len(drawn) == len(expected)
        assert all(np.array_equal(a, b) for a, b in zip(drawn, expected))
    assert one.fingerprint() == many.fingerprint()


def test_a_set_knows_its_labels_and_names(formula):
    pictures = FormulaPictures(formula, categories=3, instances=4, size=SIZE)
    assert len(pictures) == 12
    assert pictures.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert pictures.labels.dtype == np.int64
    assert pictures.classes == ("0000", "0001", "0002")
    assert pictures.name(6) == "category 1, instance 2"
    others = [
        FormulaPictures(formula, categories=3, instances=4, size=SIZE, seed=1),
        FormulaPictures(formula, categories=3, instances=4, size=SIZE + 1),
        FormulaPictures(formula, categories=4, instances=3, size=SIZE),
    ]
    assert pictures.fingerprint() not in {other.fingerprint() for other in others}
    assert FormulaPictures(formula, categories=3, instances=4, size=SIZE).fingerprint() == pictures.fingerprint()


def test_preparing_finds_every_category_ahead(formula):
    pictures = FormulaPictures(formula, categories=5, instances=2, size=SIZE, threads=2)
    events = list(pictures.prepare())
    assert all(isinstance(event, Progress) for event in events)
    assert (events[-1].done, events[-1].total) == (5, 5)
    for category in range(5):
        expected = formula.category(Draw(0, category))
        assert all(np.array_equal(pictures.params(category)[name], value) for name, value in expected.items())
    assert list(pictures.prepare()) == []
    assert drain(pictures.prepare()) is None


@pytest.mark.parametrize(
    "settings",
    [{"categories": 0}, {"instances": 0}, {"size": 4}, {"threads": 0}, {"categories": 2.5}, {"instances": -3}],
)
def test_impossible_sets_are_refused(formula, settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        FormulaPictures(formula, **{"categories": 2, "instances": 2, "size": SIZE, **settings})


def test_a_picture_outside_the_set_is_refused(formula):
    pictures = FormulaPictures(formula, categories=2, instances=2, size=SIZE)
    for number in (-1, 4):
        with pytest.raises(InputError, match="no picture"):
            pictures.read(np.array([number]))


def test_drawing_never_imports_torch():
    code = """
import sys
from firstlight import spec
from firstlight.formulas import Formula
for name in spec.names("formulas"):
    spec.find("formulas", name, Formula)
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_same_bytes_for_every_processor():
    assert for_every_processor() == goldens.stored("compiled")
