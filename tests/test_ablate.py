"""Ablations: their settings and published numbers, what is said of an order, and a tiny one from end to end."""

import inspect
import re

import numpy as np
import pytest
from PIL import Image

from firstlight import cli
from firstlight.errors import InputError
from firstlight.events import Measured, drain
from firstlight.formulas import Formula
from firstlight.recipe import _choose
from firstlight.recipe._ablations import ABLATIONS, Ablation, Arm, conclude, pairs, told
from firstlight.recipe.ablate import Ablate
from firstlight.runs import read_json

NAMED = {"patch", "fill", "interval", "points", "size", "categories", "instances", "contour"}


def test_the_ablations_asked_for_are_all_there():
    assert set(ABLATIONS) >= NAMED
    source = inspect.getsource(Ablate)
    listed = re.search(r'name: .*\n    """(.*)"""', source).group(1)
    assert re.split(r", | or ", listed) == list(ABLATIONS), "the help names them all"


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_setting_builds_and_has_its_numbers(name):
    ablation = ABLATIONS[name]
    assert len({arm.name for arm in ablation.arms}) == len(ablation.arms) > 1
    assert "https://" in ablation.source
    assert len(ablation.scratch) == len(ablation.columns)
    drawn = set()
    for arm in ablation.arms:
        formula = _choose.picture_formula(arm.text(32))
        assert isinstance(formula, Formula)
        assert formula.categories is None or (arm.categories or 0) <= formula.categories
        assert len(arm.published) == len(ablation.columns)
        assert all(0 < number < 100 for number in arm.published)
        drawn.add((formula, arm.categories, arm.instances, arm.draw_size))
    assert len(drawn) == len(ablation.arms), "two arms are the same"


def test_published_bests_are_those_of_the_tables():
    best = {name: max(zip(a.expected(), [arm.name for arm in a.arms]))[1] for name, a in ABLATIONS.items()}
    assert best["patch"] == "fixed 3x3 patch"
    assert best["fill"] == "0.10"
    assert best["interval"] == "0.4"
    assert best["size"] == "256 px"
    assert best["formula"] == "FractalDB-1k"
    assert best["delta"] == "0.1"
    assert best["contour"] == "none removed"


def test_points_are_as_many_to_the_area():
    arm = ABLATIONS["points"].arms[0]
    for size, canvas in ((32, 128), (48, 96), (128, 128), (224, 224), (512, 512)):
        formula = _choose.picture_formula(arm.text(size))
        assert formula.points == 100_000 * canvas**2 // 512**2


# --- what is said -----------------------------------------------------------------------------------------------------

THREE = Ablation("?", (Arm("a", "", (50.0,)), Arm("b", "", (60.0,)), Arm("c", "", (70.0,))), ("C10",), (40.0,), "x")


def measured(**accuracies: float) -> dict[str, np.ndarray]:
    """Three seeds on 1,000 test pictures, the easier ones right."""
    return {
        name: np.stack([np.arange(1000) < 1000 * share + seed for seed in range(3)])
        for name, share in accuracies.items()
    }


def test_pairs_in_and_against_the_published_order():
    assert pairs(THREE, measured(scratch=0.3, a=0.5, b=0.6, c=0.7)) == (3, 0, 0)
    assert pairs(THREE, measured(scratch=0.3, a=0.7, b=0.6, c=0.5)) == (0, 3, 0)
    assert pairs(THREE, measured(scratch=0.3, a=0.5, b=0.7, c=0.6)) == (2, 1, 0)
    assert pairs(THREE, measured(scratch=0.3, a=0.5, b=0.501, c=0.7)) == (2, 0, 1)


def test_what_is_equal_as_published_is_left_out():
    tied = Ablation("?", (*THREE.arms[:2], Arm("c", "", (60.0,))), ("C10",), (40.0,), "x")
    assert pairs(tied, measured(scratch=0.3, a=0.5, b=0.6, c=0.7)) == (2, 0, 0)


def test_without_numbers_the_order_of_the_settings_counts():
    silent = Ablation("?", (Arm("little", ""), Arm("much", "")), source="x")
    assert pairs(silent, measured(scratch=0.3, little=0.5, much=0.7)) == (1, 0, 0)
    assert pairs(silent, measured(scratch=0.3, little=0.7, much=0.5)) == (0, 1, 0)


def test_the_sentence_says_what_can_be_said():
    text = told(THREE, measured(scratch=0.3, a=0.5, b=0.7, c=0.6))
    assert text.startswith("Of 3 pairs of settings, 2 differ as published, 1 the other way round and 0 may be chance.")
    assert "Best here: b (70.1%); published on average over C10: c." in text
    assert "ahead of training from scratch (+40.0 points" in text
    text = told(THREE, measured(scratch=0.5, a=0.5, b=0.501, c=0.5))
    assert text.startswith("No order can be told from 3 pairs of settings: all differences may be chance.")
    assert "not surely different from training from scratch" in text
    assert "behind training from scratch" in told(THREE, measured(scratch=0.9, a=0.5, b=0.6, c=0.7))


def test_the_table_stands_beside_the_published_one():
    result = conclude(THREE, measured(scratch=0.3, a=0.5, b=0.6, c=0.7), {"size": 32})
    table = result.tables[0]
    assert table["columns"] == ["setting", "accuracy", "95 % interval", "published C10"]
    assert [[row[0], row[3]] for row in table["rows"]] == [
        ["scratch", "40.0"], ["a", "50.0"], ["b", "60.0"], ["c", "70.0"],
    ]  # fmt: skip
    assert result.numbers["c"] == pytest.approx(0.701)
    assert [row["name"] for row in result.figures[0]["rows"]] == ["scratch", "a", "b", "c"]


# --- from end to end --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """Two classes that differ in their stripes, 14 pictures each."""
    root, random = tmp_path_factory.mktemp("stripes"), np.random.default_rng(0)
    for label in ("across", "down"):
        (root / label).mkdir()
        for number in range(14):
            wave = (np.arange(32)[:, None] if label == "across" else np.arange(32)) // 4 % 2 * 180
            pixels = np.broadcast_to(wave, (32, 32)) + random.integers(0, 60, (32, 32))
            Image.fromarray(pixels.astype(np.uint8)).save(root / label / f"{number}.png")
    return root


def tiny(stripes, out, **settings) -> Ablate:
    small = {
        "labels_per_class": 3, "seeds": 2, "size": 32, "categories": 3, "instances": 4, "pretrain_batch": 4,
        "finetune_batch": 4, "pretrain_steps": 2, "finetune_steps": 2, "device": "cpu",
    }  # fmt: skip
    return Ablate(name="points", data=str(stripes), out=out, **(small | settings))


def test_an_ablation_stopped_halfway_goes_on_and_is_the_same(stripes, tmp_path, capsys):
    events = tiny(stripes, tmp_path / "run").run()
    for event in events:
        if isinstance(event, Measured) and event.name == "200k, seed 1":
            break
    events.close()
    assert not (tmp_path / "run" / "results" / "ablate.json").exists()
    done = tmp_path / "run" / "200k-seed0" / "results" / "finetune.json"
    before = done.stat().st_mtime_ns
    assert cli.run(["resume", str(tmp_path / "run")]) == 0
    assert done.stat().st_mtime_ns == before, "what was finished is not done again"
    result = read_json(tmp_path / "run" / "results" / "ablate.json")
    assert list(result["numbers"]) == ["scratch", "100k", "200k", "400k"]
    assert len(result["figures"][0]["rows"][0]["points"]) == 2
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Points: how many are drawn?" in page
    assert "published IN100" in page
    assert "https://arxiv.org/abs/2101.08515" in page
    kept = read_json(tmp_path / "run" / "pretrain-400k-seed1" / "recipe.json")["settings"]
    assert kept["data"] == "fractal(points=25000)"
    assert kept["seed"] == 1
    assert not list((tmp_path / "run").rglob("checkpoints")), "finished parts keep no checkpoints"
    assert "95 % interval" in capsys.readouterr().err


@pytest.mark.parametrize(("settings", "said"), [
    ({"name": "patches"}, "no ablation named 'patches'; did you mean 'patch'"),
    ({"seeds": 0}, "seeds must be above 0"),
    ({"budget": 0.0}, "budget must be above 0"),
    ({"model": "resnet10"}, "no model named 'resnet10'"),
    ({"flip": 3.0}, "flip=3"),
])  # fmt: skip
def test_mistakes_leave_nothing_behind(stripes, tmp_path, settings, said):
    recipe = tiny(stripes, tmp_path / "run")
    wrong = type(recipe)(**({name: getattr(recipe, name) for name in recipe.__dataclass_fields__} | settings))
    with pytest.raises(InputError, match=said):
        drain(wrong.run())
    assert list(tmp_path.iterdir()) == []


def test_drawing_larger_pictures_is_planned_for(stripes, tmp_path):
    small = Ablation("?", (Arm("small", "fractal(points=100)"),))
    large = Ablation("?", (Arm("large", "fractal(points=100)", draw_size=2048),))
    recipe = tiny(stripes, tmp_path / "run", pretrain_batch=16)
    few, many = (recipe._drawing(ablation, 32, "cpu") for ablation in (small, large))
    assert 0 < 2 * few < many
