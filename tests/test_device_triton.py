"""The Triton kernels, run on the CPU by Triton's interpreter, against the formulas' own pictures, and their choice."""

import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from firstlight.data.device import _choice
from once import once

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")

PROGRAM = """
import numpy as np
import torch
from firstlight.data.device import _chaos, _choice, _raster, _triton, fractal3d, render_batch
from firstlight.formulas import Draw, picture
from firstlight.formulas._chaos import COUNT, MARK
from firstlight.formulas.fractal import Fractal

calls = []
_choice.fastest = lambda family, device, plain, fused: calls.append(family) or fused()
formula = Fractal(sampler="svd", maps=(2, 8), points=600, oversample=1)
params, keys, expected = [], [], []
for category in range(2):
    known, draw = formula.category(Draw(0, category)), Draw(0, category, 50)
    params.append(formula.instance(known, draw))
    keys.append(draw.split(1).key)
    expected.append(picture(formula, category, 50, size=32, params=known))
drawn = render_batch(formula, params, 32, keys).numpy()
assert drawn.any() and np.array_equal(drawn, np.stack(expected)) and calls == ["fractal patch"]

key, walk = torch.tensor([3, -5]), 16 + torch.arange(512.0).sin().view(2, 1, 256).expand(-1, 2, -1).contiguous()
table, steps = _chaos.stacked([entry["maps"] for entry in params], 8, 7)
game = (_chaos.seeded(key), walk, torch.from_numpy(steps), torch.from_numpy(table[:, :, :6].copy()).float())
for kind in (MARK, COUNT):
    for points in (1, 300):
        ours, plain = (way.drop(*game, 32, points, kind, 1) for way in (_triton, _chaos))
        assert plain.sum() > 0 and torch.equal(ours, plain), kind

last = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (2, 30, 30), dtype=np.int32)) * 33554431
_raster.clear_rim(last)
for mask in (None, torch.tensor([1, 341])):
    for light in (0, 1, 200):
        ours, plain = (way.patches(last, mask, key & 0xFFFFFFFF, light) for way in (_triton, _raster))
        assert plain.any() and ours.dtype == plain.dtype and torch.equal(ours, plain), (mask, light)

random = np.random.default_rng(0)
table, steps = _chaos.stacked([random.uniform(-0.5, 0.5, (number, 13)) ** 2 for number in (7, 2)], 7, 13)
game = (_chaos.seeded(key, 128), torch.ones(3, 2, 128), torch.from_numpy(steps))
game += (torch.from_numpy(table[:, :, :12].copy()).float(),)
for ours, plain in zip(_triton.advance(20, *game), fractal3d.advance(20, *game)):
    assert torch.equal(ours, plain)
"""

COMPILED = """
import re
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from firstlight.data.device import _triton

SHAPES = {"CHAINS": 256, "BLOCK": 128, "MAPS": 8}
POINTERS = {"state": "*i64", "after": "*i64", "steps": "*i32", "pixels": "*i32", "bound": "fp32"}
POINTERS |= {"last": "*i32", "masks": "*i64", "keys": "*i64"}
FLOATS = ("maps", "walk", "lowest", "highest", "path")
for kernel, more in ((_triton._survey, {}), (_triton._drop, {"MARKS": 0, "COUNTS": 0}), (_triton._advance, {}),
                     (_triton._patches, {"OWN": 1, "NUMBERS": 0, "pixels": "*u8"})):
    pointers = POINTERS | {name: more.pop(name) for name in list(more) if name == "pixels"}
    constants = {name: value for name, value in {**SHAPES, **more}.items() if name in kernel.arg_names}
    types = {
        name: "constexpr" if name in constants else pointers.get(name, "*fp32" if name in FLOATS else "i32")
        for name in kernel.arg_names
    }
    source = ASTSource(fn=kernel, signature=types, constexprs=constants)
    options = {"num_warps": 4, "enable_fp_fusion": False}
    assembly = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]
    assert kernel is _triton._patches or re.search("mul(.rn)?.f32", assembly)
    assert not re.search(r"fma\\.", assembly), kernel
"""


def run(program: str, folder: Path, **environment: str) -> tuple[int, str]:
    environment = {**os.environ, "TRITON_CACHE_DIR": str(folder), **environment}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr


@once
def drawn(folder: Path) -> tuple[int, str]:
    return run(PROGRAM, folder, TRITON_INTERPRET="1")


@once
def compiled(folder: Path) -> tuple[int, str]:
    return run(COMPILED, folder)


@needs_triton
def test_kernels_draw_what_the_formulas_draw():
    status, said = drawn()
    assert status == 0, said


@needs_triton
def test_kernels_compile_for_a_gpu_without_contraction():
    status, said = compiled()
    assert status == 0, said


@pytest.fixture
def pretended(monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(_choice.importlib.util, "find_spec", lambda name: name)
    return monkeypatch


def test_the_faster_of_two_equals_is_chosen(pretended):
    slow, quick = 1.0, 0.25
    for plain, fused, expected in ((slow, quick, "triton"), (quick, slow, "torch")):
        pretended.setattr(_choice, "_seconds", lambda draw: draw().item())
        pretended.setattr(torch, "equal", lambda a, b: True)
        assert _choice._better(lambda t=plain: torch.tensor(t), lambda t=fused: torch.tensor(t)) == expected


def test_pictures_that_differ_are_torchs(pretended):
    with pytest.warns(UserWarning, match="differ from torch's"):
        assert _choice._better(lambda: torch.zeros(3), lambda: torch.ones(3)) == "torch"


def test_kernels_that_cannot_be_compiled_leave_the_drawing_to_torch(pretended):
    def fails():
        raise RuntimeError("no compiler")

    with pytest.warns(UserWarning, match="RuntimeError: no compiler"):
        assert _choice._better(lambda: torch.zeros(3), fails) == "torch"


def test_a_machine_without_triton_is_no_reason_for_a_warning(pretended):
    pretended.setattr(_choice.importlib.util, "find_spec", lambda name: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _choice._better(lambda: torch.zeros(3), lambda: torch.zeros(3)) == "torch"


def test_triton_is_not_imported_before_it_is_wanted():
    code = (
        "import sys, firstlight.views.batches, firstlight.data.device as d\n"
        "[d._twin(name) for name in d.spec.names('data/device')]\n"
        "sys.exit('firstlight.data.device._triton' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
