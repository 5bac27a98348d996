"""Names with settings, the folder as a registry, and what a mistake in either is told."""

from typing import Annotated, Literal

import pytest

from firstlight import spec
from firstlight.errors import InputError
from firstlight.formulas import Formula
from firstlight.ranges import Range, Share, Shares, Weight


@pytest.mark.parametrize("text", ["simclr", "simclr(temperature=0.2)", "x(a=(1, 2), b='c', d=None, e=-1.5)"])
def test_round_trip(text):
    assert str(spec.Spec.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "simclr(", "simclr(0.2)", "simclr(t=open('x'))", "a(**{})", "simclr(temperature=)", "(" * 5000]
)
def test_bad_text_is_refused(text):
    with pytest.raises(InputError, match="expected 'name'"):
        spec.Spec.parse(text)


def test_a_name_may_hold_dots_and_dashes():
    assert spec.Spec.parse("resnet10t.c3_in1k").name == "resnet10t.c3_in1k"


def test_listing_reads_file_names_and_summaries():
    for folder in ("formulas", "methods", "evaluations", "recipe"):
        found = spec.names(folder)
        assert found == sorted(found)
        assert not any(name.startswith("_") for name in found)
        for name in found:
            assert len(spec.summary(folder, name)) > 20, f"{folder}/{name}.py needs a first sentence"


def test_unknown_name_names_the_nearest():
    name = spec.names("methods")[0]
    with pytest.raises(InputError, match=f"no object named '{name}s'; did you mean '{name}'"):
        spec.find("methods", f"{name}s", object)


class Thing:
    """A component to configure."""

    def __init__(
        self, size: int = 1, scale: float = 0.5, mode: Literal["a", "b"] = "a", pair: tuple[int, int] = (1, 2)
    ):
        self.size = size


def test_unknown_setting_names_the_nearest():
    with pytest.raises(InputError, match=r"'thing' has no setting 'sise'; did you mean 'size'\? its settings: size=1"):
        spec.check(Thing, {"sise": 3}, "thing")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size": "many"}, "expected int"),
        ({"size": True}, "expected int"),
        ({"size": 1.5}, "expected int"),
        ({"scale": float("nan")}, "expected float"),
        ({"scale": float("inf")}, "expected float"),
        ({"scale": 10**400}, r"scale=1000\d+\.\.\.\d+\): expected float"),
        ({"mode": "c"}, "one of 'a', 'b'"),
        ({"pair": (1,)}, "expected tuple"),
        ({"pair": (1, "x")}, "expected tuple"),
    ],
)
def test_wrong_type_is_refused(settings, expected):
    with pytest.raises(InputError, match=expected):
        spec.check(Thing, settings, "thing")


def test_right_types_pass():
    spec.check(Thing, {"size": 2, "scale": 1, "mode": "b", "pair": (3, 4)}, "thing")


@pytest.mark.parametrize(("text", "complaint"), [
    ("fractal(mode=patch)", "text needs quotes: 'patch'"),
    ("fractal(points=3, points=4)", "sets points twice"),
    ("painted(background='txture')", "one of 'texture', 'plain', 'noise' or None"),
])  # fmt: skip
def test_mistakes_in_settings_are_said_plainly(text, complaint):
    with pytest.raises(InputError, match=complaint):
        spec.build("formulas", text, Formula)


class Held:
    """A component whose numbers have ranges."""

    def __init__(
        self, share: Share = 0.5, some: Annotated[int, Range(2, 4000)] | None = None, both: Shares = (0, 1),
        decay: Weight | tuple[Weight, Weight] = 0.0, many: tuple[Share, ...] = (), version: Literal[1, 2] = 1,
    ):  # fmt: skip
        pass


@pytest.mark.parametrize(("settings", "message"), [
    ({"share": 2.0}, "held(share=2.0): expected float from 0 to 1, default 0.5; nearest: 1"),
    ({"share": -1e-9}, "held(share=-1e-09): expected float from 0 to 1, default 0.5; nearest: 0"),
    ({"share": float("nan")}, "held(share=nan): expected float from 0 to 1, default 0.5"),
    ({"share": "x"}, "held(share='x'): expected float from 0 to 1, default 0.5"),
    ({"some": 1}, "held(some=1): expected int from 2 to 4,000 or None, default None; nearest: 2"),
    ({"some": 10**9}, "held(some=1000000000): expected int from 2 to 4,000 or None, default None; nearest: 4000"),
    ({"both": (0.5, 3)}, "held(both=(0.5, 3)): expected tuple[float from 0 to 1, float from 0 to 1], default (0, 1); "
                         "nearest: (0.5, 1)"),
    ({"both": [-1, 3]}, "held(both=[-1, 3]): expected tuple[float from 0 to 1, float from 0 to 1], default (0, 1); "
                        "nearest: [0, 1]"),
    ({"decay": (1, 2000)}, "held(decay=(1, 2000)): expected float from 0 to 1,000 or "
                           "tuple[float from 0 to 1,000, float from 0 to 1,000], default 0.0; nearest: (1, 1000)"),
    ({"many": (0.1, 0.2, 9)}, "held(many=(0.1, 0.2, 9)): expected tuple[float from 0 to 1, ...], default (); "
                              "nearest: (0.1, 0.2, 1)"),
    ({"version": True}, "held(version=True): expected one of 1, 2, default 1"),
])  # fmt: skip
def test_a_number_outside_the_range_of_its_type_is_refused_with_the_nearest(settings, message):
    with pytest.raises(InputError) as refused:
        spec.check(Held, settings, "held")
    assert str(refused.value) == message


def test_both_ends_of_a_range_pass():
    for settings in ({"share": 0}, {"share": 1.0}, {"some": 2}, {"some": None}, {"both": [0, 1]}, {"decay": 1000.0}):
        spec.check(Held, settings, "held")
