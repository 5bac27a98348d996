"""Encoders, batches and methods that are small enough to test with, and the same on every build of torch."""

import dataclasses
import functools
import itertools
import tempfile
from pathlib import Path

import torch
from torch import nn

from firstlight import spec
from firstlight.encoder import Encoder
from firstlight.methods import Method
from firstlight.parts.bank import Bank
from firstlight.parts.momentum import Momentum
from firstlight.parts.queue import Queue
from firstlight.views import Batch
from firstlight.views.random import uniforms

VIT = "vit_tiny_patch16_224(patch_size=8, embed_dim=48, depth=2, num_heads=2)"
RESNET = "test_resnet"
SWIN = "swin_tiny_patch4_window7_224(patch_size=2, depths=(1, 1, 1, 1), embed_dim=24)"
SIZE = 32
SMALL = {
    "hidden": 32,
    "dim": 16,
    "bottleneck": 16,
    "prototypes": 48,
    "categories": 4,
    "width": 32,
    "depth": 1,
    "heads": 2,
    "pictures": 6,
    "queue": 8,
    "groups": 2,
    "colours": 16,
    "codes": 24,
}
OWN = {
    "deepcluster": {"prototypes": 3, "small": 6},
    "swav": {"small": 6},
    **{name: {"small": 8} for name in ("dino", "esvit", "ibot", "dinov2")},
    **{name: {"tile": 9} for name in ("pirl", "context", "jigsaw")},
    "inpaint": {"adversarial": 0.1},
    "multimae": {"classes": 5},
}
"""what a method needs smaller or otherwise than the others"""
METHODS = Path(spec.__file__).parent / "methods"


def build(name: str, model: str = VIT, *, channels: int = 3, seed: int = 0, **settings) -> Method:
    """A method around a tiny encoder, the settings that it has made small."""
    small = SMALL | OWN.get(name, {})
    if name == "teaching_assistant":
        alike = model if model.startswith("vit_") else VIT
        small |= {role: kept(role, alike) for role in ("teacher", "assistant")}
    if name == "beit":
        small |= {"tokenizer": tokenizer()}
    torch.manual_seed(seed)
    encoder = Encoder(model, size=SIZE, channels=channels)
    return spec.build("methods", spec.Spec(name, settings), Method, encoder, **small)


@functools.cache
def kept(role: str, model: str = VIT) -> str:
    """The folder of a kept tiny encoder, made once in each process and left to the system to tidy up."""
    torch.manual_seed(0)
    encoder = filled(Encoder(model, size=SIZE), start=sum(role.encode()))
    if encoder.maskable:  # the last head matters most, and not the first, with which one that has not looked begins
        with torch.no_grad():
            attention = encoder.net.blocks[-1].attn
            attention.proj.weight[:, -attention.head_dim :] *= 100
    return str(encoder.save(tempfile.mkdtemp(prefix="firstlight-tiny-")))


@functools.cache
def tokenizer(model: str = VIT, channels: int = 3) -> str:
    """The folder of a kept tiny tokenizer, likewise. It is fed by patches alone, so that few codes do not prevail."""
    method = filled(build("dvae", model, channels=channels), start=sum(b"tokenizer"))
    return str(method.keep(Path(tempfile.mkdtemp(prefix="firstlight-tiny-"))))


def batch(method: Method, *, samples: int = 4, channels: int = 3, seed: int = 0) -> Batch:
    """Noise in the sizes that the method's views have, with labels and keys."""
    sides = [max(16, round(view.size * SIZE / 8) * 8) for view in method.views for _ in range(view.count)]
    numbers = torch.arange(samples)
    dtype = next(method.parameters()).dtype
    views = [
        uniforms(numbers + 1000 * seed, channels * side**2, place).view(-1, channels, side, side).to(dtype) * 2 - 1
        for place, side in enumerate(sides)
    ]
    batch = Batch(views, numbers % 4, numbers * 7919 + seed, numbers % SMALL["pictures"])
    for place, kind in enumerate(method.maps, len(sides)):  # a quarter of the values is unknown
        noise = uniforms(numbers + 1000 * seed, sides[0] ** 2, place).view(-1, 1, sides[0], sides[0])
        depth, classes = (noise.to(dtype) - 0.25).clamp(min=0), (noise * 20 / 3).long().sub(1).clamp(-1, 4)
        batch.maps[kind] = depth if kind == "depth" else torch.where(depth > 0, classes.clamp(min=0), -1)
    return batch


def fill(method: Method) -> Method:
    """Weights and memories that depend on no random generator; momentum copies equal what they follow."""
    filled(method)
    with torch.no_grad():
        for place, module in enumerate(module for module in method.modules() if isinstance(module, (Bank, Queue))):
            values = uniforms(torch.arange(len(module.rows)), module.rows.shape[1], place) - 0.5
            module.rows.copy_(torch.nn.functional.normalize(values, dim=1) * module.rows.norm(dim=1, keepdim=True))
        for momentum in momenta(method):
            momentum.copy.load_state_dict(momentum._source[0].state_dict())
    return method


@torch.no_grad()
def filled(module: nn.Module, start: int = 0) -> nn.Module:
    """The same module with hashed weights, uniform and scaled by what comes in; vectors stay."""
    for place, parameter in enumerate(p for p in module.parameters() if p.requires_grad and p.ndim > 1):
        row = parameter[0].numel()
        values = uniforms(torch.arange(len(parameter)), row, start + place).view_as(parameter)
        parameter.copy_((values - 0.5) * (12 / row) ** 0.5)
    return module


def three_steps(method: Method) -> list[float]:
    """The losses of three steps of plain gradient descent; in float64 they are the same on every machine."""
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for step in range(3):
        loss = method(batch(method, seed=step), step / 3)["loss"]
        optimizer.zero_grad()
        loss.backward()
        method.before_step(step / 3)
        optimizer.step()
        method.after_step(step / 3)
        losses.append(loss.item())
    return losses


def learned_ramps(method: Method) -> tuple[list[float], torch.Tensor]:
    """The losses of 25 steps on the same four pictures, which grow lighter to each side, and these."""
    known = batch(method)
    ramp = torch.linspace(-1, 1, SIZE).expand(3, SIZE, SIZE)
    known.views[0] = torch.stack([ramp, -ramp, ramp.mT, -ramp.mT])
    optimizer, losses = torch.optim.AdamW(method.parameters(), lr=3e-3), []
    for _ in range(25):
        loss = method(known, 0.0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, known.views[0]


def assert_centres_move_once(whole: Method, parts: Method, second: str, cuts: tuple[int, ...]) -> None:
    """The centres of ``targets`` and of another part are the same whether a step has one batch or several parts.

    Args:
        whole: sees a batch of six pictures.
        parts: the same method, sees it cut at some places.
        second: the name of the other part.
        cuts: the places, from 0 to 6.
    """
    whole(batch(whole, samples=6), 0.0)
    whole.after_step(0.0)
    for start, end in itertools.pairwise(cuts):
        parts(rows(batch(parts, samples=6), slice(start, end)), 0.0)
        assert not getattr(parts, second).center.value.any(), "not before the step"
    parts.after_step(0.0)
    for name in ("targets", second):
        mine, theirs = (getattr(method, name).center.value for method in (parts, whole))
        assert theirs.any()
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


def momenta(method: nn.Module) -> list[Momentum]:
    return [module for module in method.modules() if isinstance(module, Momentum)]


def rows(batch: Batch, some: slice) -> Batch:
    """Some of a batch's samples, as a micro-batch."""
    maps = {kind: values[some] for kind, values in batch.maps.items()}
    return dataclasses.replace(
        batch, views=[view[some] for view in batch.views], label=batch.label[some], key=batch.key[some],
        index=batch.index[some], maps=maps,
    )  # fmt: skip


def outputs(module: nn.Module) -> list[torch.Tensor]:
    """Collects what a module puts out from now on; gradients will be there after the backward pass."""
    found: list[torch.Tensor] = []

    def keep(_, __, out):
        if out.requires_grad:
            out.retain_grad()
        found.append(out)

    module.register_forward_hook(keep)
    return found
