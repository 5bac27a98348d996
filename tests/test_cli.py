"""The command line as a person meets it: help, lists, and what mistakes are answered with."""

import json
import subprocess
import sys
import time

import pytest

from firstlight import cli, spec

METHOD = spec.names("methods")[0]


def firstlight(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "firstlight", *arguments], capture_output=True, text=True, **options)


def test_help_is_quick_and_names_every_recipe():
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        shown = firstlight("--help")
        seconds.append(time.perf_counter() - begun)
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in (*spec.names("recipe"), "run", "resume", "list"))
    assert min(seconds) < 0.5


@pytest.mark.parametrize("name", spec.names("recipe"))
def test_every_command_explains_every_setting_without_torch(name):
    code = (
        "import sys; from firstlight import cli\n"
        f"try: cli.run([{name!r}, '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    )
    begun = time.perf_counter()
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "usage: firstlight " + name in shown.stdout
    assert time.perf_counter() - begun < 2.0, "0.3 s on a quiet machine"


def test_importing_the_package_imports_no_torch():
    code = "import firstlight, sys; sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_lists(capsys):
    for what in ("formulas", "methods", "evaluations"):
        assert cli.run(["list", what]) == 0
        shown = capsys.readouterr().out
        assert [line.split()[0] for line in shown.splitlines()] == spec.names(what)
    assert cli.run(["list", "models", "resnet10*"]) == 0
    assert "resnet10t" in capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pretrian"], "no command named 'pretrian'; did you mean 'pretrain'"),
        (["list", "formula"], "no list named 'formula'; did you mean 'formulas'"),
        (["compare", "no/such/folder"], "no data at 'no/such/folder'"),
        (["compare", "digit"], "did you mean 'digits'"),
        (["compare", "digits", "--contenders", "svn"], "no contender named 'svn'; did you mean 'svm'"),
        (["compare", "digits", "--seeds", "0"], "seeds must be above 0, got 0"),
        (["pretrain", "--data", "digits"], "learns from labels"),
        (["pretrain", "--method", f"{METHOD}x"], f"no method named '{METHOD}x'; did you mean '{METHOD}'"),
        (["pretrain", "--device", "gpu"], "device 'gpu' is not available here; available: "),
        (["compare", "digits", "--model", "resnet10"], "no model named 'resnet10'; did you mean 'resnet10t'"),
        (["compare", "digits", "--size", "100000"], "from 1 to 4096, got 100000"),
        (["compare", "digits", "--size", "1"], "size=1: must be a whole number, at least 8"),
        (["compare", "digits", "--flip", "3"], "flip=3"),
        (["compare", "digits", "--contenders", "scratch", "fractal(points=-3)"], "points=-3"),
        (["compare", "digits", "--out", "/dev/null/run"], "'/dev/null' is a file"),
        (["render", "nothing"], "no formula named 'nothing'"),
        (["report", "."], "is not a run folder"),
        (["resume", "."], "has no recipe.json: is it a run folder?"),
        (["run", "absent.json"], "absent.json"),
    ],
)
def test_mistakes_are_answered_in_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == [], "a refused command leaves nothing behind"


def test_a_recipe_file_with_a_wrong_key_or_type(tmp_path, capsys):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"recipe": "pretrain", "settings": {"stepz": 3}}))
    assert cli.run(["run", str(path)]) == 2
    assert "has no setting 'stepz'; did you mean 'steps'" in capsys.readouterr().err
    path.write_text(json.dumps({"recipe": "pretrain", "settings": {"steps": "many"}}))
    assert cli.run(["run", str(path)]) == 2
    assert "steps='many'" in capsys.readouterr().err
    path.write_text(json.dumps([1]))
    assert cli.run(["run", str(path)]) == 2
    assert "is not a recipe" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error():
    shown = subprocess.run(
        f"{sys.executable} -m firstlight list models | head -1", shell=True, capture_output=True, text=True
    )
    assert shown.returncode == 0
    assert shown.stderr == ""


def test_a_batch_that_a_method_cannot_take_leaves_no_run_folder(tmp_path, capsys):
    arguments = ["--data", "digits", "--method", "moco(queue=100)", "--model", "resnet10t", "--size", "32"]
    out = tmp_path / "run"
    assert cli.run(["pretrain", *arguments, "--steps", "2", "--batch", "64", "--out", str(out)]) == 2
    assert "nearest: 128" in capsys.readouterr().err
    assert not out.exists()
