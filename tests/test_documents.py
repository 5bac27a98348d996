"""The documents say what the code does: the taught example runs, tables come from stored results, links hold."""

import json
import re
import subprocess
import sys
import types

import numpy as np
import pytest

from conftest import ROOT
from firstlight import cli, spec
from firstlight.formulas import Formula, picture
from once import once

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_taught_formula_is_a_formula():
    code = re.search(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    module = types.ModuleType("firstlight.formulas.checks")
    module.__package__ = "firstlight.formulas"
    sys.modules[module.__name__] = module
    try:
        exec(compile(code[1], "checks.py", "exec"), vars(module))
    finally:
        del sys.modules[module.__name__]
    formula = module.Checks()
    assert issubclass(module.Checks, Formula)
    drawn = picture(formula, 1, 2, size=64)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (64, 64)
    assert np.array_equal(drawn, picture(formula, 1, 2, size=64))
    assert not np.array_equal(drawn, picture(formula, 1, 3, size=64))
    assert not np.array_equal(drawn, picture(formula, 2, 2, size=64))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http") and "wikipedia" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@once
def checked(folder) -> subprocess.CompletedProcess:
    command = [sys.executable, "docs/generate.py", "--check"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_generated_tables_are_up_to_date():
    shown = checked()
    assert shown.returncode == 0, shown.stdout + shown.stderr


def test_the_readme_names_everything_there_is():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for folder in ("formulas", "methods", "evaluations"):
        for name in spec.names(folder):
            assert f"`{name}`" in text, f"README does not mention {folder}/{name}"


def test_the_readmes_commands_are_understood(capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = [line for line in text.splitlines() if line.startswith("    ")] + re.findall(r"`[^`\n]+`", text)
    commands = set(re.findall(r"(?<![\w/])firstlight ([a-z]+)", "\n".join(code)))
    assert len(commands) > 8
    assert commands <= {*spec.names("recipe"), *cli.COMMANDS}


def test_stored_results_name_what_made_them():
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        record = json.loads(path.read_text())
        assert {"versions", "machine", "date"} <= set(record), path.name
