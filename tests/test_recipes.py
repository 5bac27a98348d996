"""Published recipes: each builds, draws, says what it costs, and runs by name."""

import importlib
import json
import re

import numpy as np
import pytest
import timm

from firstlight import cli, recipes, spec
from firstlight.errors import InputError
from firstlight.formulas import Draw, Formula, picture
from firstlight.methods import Method
from firstlight.recipe.pretrain import Pretrain
from firstlight.recipe.render import Render
from firstlight.views import View

NAMES = spec.names("recipes")
DRAWN = [name for name in NAMES if not name.endswith("_imagenet")]
"""those of formulas; of the others see test_recipes_imagenet.py"""
PUBLISHED = {
    "fractaldb_60", "fractaldb_1k", "fractaldb_10k", "exfractaldb_1k", "exfractaldb_21k", "rcdb_1k", "rcdb_21k",
    "visualatom_1k", "visualatom_21k", "mv_fractaldb", "pc_fractaldb_1k", "perlin_100", "perlin_1296", "bezier_144",
    "bezier_1024", "linedb", "ofdb_1k", "one_p_frac",
}  # fmt: skip


def formula_of(recipe) -> Formula:
    return spec.build("formulas", recipe.data if isinstance(recipe, Pretrain) else recipe.formula, Formula)


def test_the_published_sets_are_all_there():
    assert set(NAMES) >= PUBLISHED


@pytest.mark.parametrize("name", NAMES)
def test_each_tells_its_paper_data_cost_and_outcome(name):
    text = recipes.told(name)
    assert "https://" in text
    assert re.findall(r"^(Data|Cost|Published|Differs)\b", text, re.MULTILINE) == [
        "Data",
        "Cost",
        "Published",
        "Differs",
    ]
    recipe = recipes.find(name)
    if isinstance(recipe, Pretrain):
        steps, batch, seen, unit = re.search(
            r"Cost: ([\d,]+) steps of ([\d,]+), ([\d.]+) (million|billion)", text
        ).groups()
        assert (recipe.steps, recipe.batch) == (int(steps.replace(",", "")), int(batch.replace(",", "")))
        pictures = recipe.steps * recipe.batch / {"million": 1e6, "billion": 1e9}[unit]
        assert pictures == pytest.approx(float(seen), abs=0.5 if "." not in seen else 0.05)


@pytest.mark.parametrize("name", DRAWN)
def test_each_builds_and_draws(name):
    recipe = recipes.find(name)
    assert isinstance(recipe, (Pretrain, Render))
    formula = formula_of(recipe)
    assert formula.categories is None or recipe.categories <= formula.categories
    size = recipe.draw_size if isinstance(recipe, Pretrain) else recipe.size
    drawn = picture(formula, 0, 0, size=size)
    if formula.kind == "cloud":
        assert drawn.shape == (10_000, 3)
    else:
        assert drawn.shape[:2] == (size, size)
        assert drawn.min() < drawn.max()
    if isinstance(recipe, Pretrain):
        method = spec.Spec.parse(recipe.method)
        spec.check(spec.find("methods", method.name, Method), method.settings, method.name)
        assert timm.is_model(recipe.model)
        assert 0 <= recipe.warmup < 0.1


def test_the_learning_rates_are_the_published_ones():
    """Ours is for a batch of 256 and scaled with the batch."""
    rates = {name: recipes.find(name) for name in DRAWN if isinstance(recipes.find(name), Pretrain)}
    used = {name: recipe.lr * recipe.batch / 256 for name, recipe in rates.items()}
    assert used["fractaldb_1k"] == pytest.approx(0.1)
    assert used["rcdb_21k"] == used["visualatom_21k"] == pytest.approx(1e-3)
    assert used["rcdb_1k"] == pytest.approx(1e-3)
    assert used["ofdb_1k"] == used["one_p_frac"] == pytest.approx(1e-3 * 256 / 512)
    assert used["fractaldb_1k_vit"] == pytest.approx(3e-4 * 256 / 512)


def test_resnets_see_crops_of_224_pixels_as_they_are():
    for name, side in (("fractaldb_1k", 362), ("perlin_100", 256)):
        settings = spec.Spec.parse(recipes.find(name).method).settings
        low, high = View(scale=settings["scale"], ratio=settings["ratio"]).scale
        assert low == high
        assert round(low**0.5 * side, 3) == 224
        assert settings["ratio"] == (1.0, 1.0)


def test_the_one_picture_of_a_class_is_the_class_itself():
    for name in ("ofdb_1k", "one_p_frac"):
        recipe = recipes.find(name)
        formula = formula_of(recipe)
        params = formula.category(Draw(0, 7))
        assert recipe.instances == 1
        assert np.array_equal(formula.instance(params, Draw(0, 7, 0))["maps"], params["maps"])


def test_names_are_found_as_people_write_them():
    assert recipes.find("1p-frac") is recipes.find("one_p_frac")
    assert recipes.find("RCDB-1k") is recipes.find("rcdb_1k")
    with pytest.raises(InputError, match=r"no recipe named 'fractaldb_1000'; did you mean .*'fractaldb_1k'"):
        recipes.find("fractaldb_1000")


def test_importing_a_recipe_imports_no_torch():
    import subprocess
    import sys

    code = "import sys; from firstlight import recipes; recipes.find('rcdb_1k'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_they_are_listed_and_run_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["list", "recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    small = ["--steps", "1", "--batch", "4", "--model", "resnet10t", "--size", "32", "--draw-size", "52"]
    small += ["--categories", "2", "--instances", "4", "--device", "cpu", "--precision", "fp32"]
    assert cli.run(["run", "fractaldb-60", *small, "--out", "run"]) == 0
    kept = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert kept["recipe"] == "pretrain"
    settings, published = kept["settings"], recipes.find("fractaldb_60")
    assert (settings["optimizer"], settings["lr"], settings["data"]) == ("sgd", 0.1, published.data)
    assert (settings["steps"], settings["draw_size"]) == (1, 52)
    assert (tmp_path / "run" / "encoder" / "config.json").exists()
    assert (
        cli.run(["run", "mv_fractaldb", "--categories", "1", "--instances", "24", "--size", "32", "--out", "set"]) == 0
    )
    assert any((tmp_path / "set").rglob("*.tar"))
    capsys.readouterr()
    assert cli.run(["run", "fractaldb_2k"]) == 2
    assert "did you mean 'fractaldb_1k'" in capsys.readouterr().err


def test_every_file_holds_one_recipe():
    for name in NAMES:
        module = importlib.import_module(f"firstlight.recipes.{name}")
        assert module.recipe is recipes.find(name)
        assert module.__doc__.splitlines()[0].endswith(".")
