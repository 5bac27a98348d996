"""What every method must do. A file dropped into methods/ is tested here without being mentioned."""

import copy
import inspect
import sys

import pytest
import torch
from torch import nn

import tiny
from firstlight import spec
from firstlight.errors import InputError
from firstlight.methods import Method, Optimisation
from firstlight.views import View

names = pytest.mark.parametrize("name", spec.names("methods"))


@names
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("model", [tiny.VIT, tiny.RESNET])
def test_one_step_trains_everything(name, model, channels):
    try:
        method = tiny.build(name, model, channels=channels)
    except InputError as error:
        if "vit" not in str(error) and not (channels == 1 and "set channels=3" in str(error)):
            raise  # a refusal must name a model that works, or that there must be colours
        return
    before = {key: value.clone() for key, value in method.state_dict().items()}
    out = method(tiny.batch(method, channels=channels), 0.0)

    assert out["loss"].ndim == 0
    assert all(value.isfinite().all() and value.ndim == 0 for value in out.values())
    assert [key for key, value in out.items() if value.requires_grad] == ["loss"]
    out["loss"].backward()
    trained = {key: p for key, p in method.named_parameters() if p.requires_grad}
    assert not [key for key, p in trained.items() if p.grad is None], "distributed training waits for every gradient"
    assert all(p.grad.isfinite().all() for p in trained.values())
    assert any(p.grad.abs().sum() > 0 for key, p in trained.items() if key.startswith("encoder."))
    assert not [key for key, p in method.named_parameters() if not p.requires_grad and p.grad is not None]

    torch.optim.SGD(trained.values(), lr=0.1).step()
    method.after_step(0.0)
    after = method.state_dict()
    assert before.keys() == after.keys()
    for momentum in tiny.momenta(method):
        assert any(not torch.equal(new, old) for new, old in _pairs(momentum.copy, method, before)), "copies follow"


@names
def test_the_same_keys_give_the_same_loss(name):
    method = tiny.build(name).eval()  # no dropout: what remains random comes from the keys
    batch = tiny.batch(method)
    assert method(batch, 0.5)["loss"] == method(batch, 0.5)["loss"]


@names
def test_state_round_trips(name):
    first, second = tiny.build(name, seed=0), tiny.build(name, seed=1)
    batch = tiny.batch(first)
    tiny.three_steps(first)
    assert first(batch, 0.3)["loss"] != second(batch, 0.3)["loss"]
    second.load_state_dict(first.state_dict())
    assert first(batch, 0.3)["loss"] == second(batch, 0.3)["loss"]


@names
def test_a_deep_copy_trains_alike_and_apart(name):
    method = tiny.build(name)
    twin = copy.deepcopy(method)
    untouched = copy.deepcopy(method.state_dict())
    losses = tiny.three_steps(twin)
    assert all(torch.equal(value, untouched[key]) for key, value in method.state_dict().items())
    assert tiny.three_steps(method) == losses


@names
def test_half_precision_changes_little(name):
    method = tiny.build(name)
    # Batch norm over four noisy pictures, whose features hardly differ, would magnify the rounding tenfold.
    batch = tiny.batch(method, samples=16)
    whole = method(batch, 0.5)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        half = method(batch, 0.5)["loss"]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, rtol=0.03, atol=0)


@names
def test_what_is_read_is_trained(name):
    """A class token that no loss depends on says nothing: features must hear of the loss in the last block, too."""
    method = tiny.build(name).eval()
    if method.encoder.reading is not None:
        return  # in the middle, on purpose
    batch, seen = tiny.batch(method), []
    method.encoder.net.norm.register_forward_hook(lambda _, __, out: seen.append(out) or out.retain_grad())
    method(batch, 0.5)["loss"].backward()
    grad = [out.grad.abs().sum((0, 2)) for out in seen if out.requires_grad and out.grad is not None]
    place = slice(1, None) if method.encoder.net.global_pool == "avg" else slice(1)
    assert any((part[place] > 0).any() for part in grad)


@names
def test_every_parameter_has_one_name(name):
    method = tiny.build(name)
    assert len(list(method.named_parameters())) == len(list(method.named_parameters(remove_duplicate=False)))
    for momentum in tiny.momenta(method):
        assert not any(p.requires_grad for p in momentum.parameters())
        own = {p.data_ptr() for p in momentum.parameters()}
        assert not own & {p.data_ptr() for p in method.parameters() if p.requires_grad}, "a copy, not an alias"


@names
def test_the_house_rules(name):
    kind = spec.find("methods", name, Method)
    assert kind.__bases__ == (Method,), "depth one"
    assert "https://" in sys.modules[kind.__module__].__doc__
    assert len((tiny.METHODS / f"{name}.py").read_text().splitlines()) <= 80
    assert isinstance(kind.optimisation, Optimisation)
    assert kind.views
    assert all(isinstance(view, View) for view in kind.views)
    settings = spec.settings_of(kind)
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in settings.values())
    assert not [key for key in settings if f"{key}:" not in kind.__doc__], "every setting is explained"
    assert spec.summary("methods", name)


@names
def test_unknown_settings_are_refused(name):
    with pytest.raises(InputError, match="temprature"):
        tiny.build(name, temprature=0.2)


def _pairs(teacher: nn.Module, method: nn.Module, before: dict):
    prefix = next(key for key, module in method.named_modules() if module is teacher)
    for key, parameter in teacher.named_parameters():
        yield parameter, before[f"{prefix}.{key}"]
