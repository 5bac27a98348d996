"""The training loop: what it yields, what it leaves out, and that the same settings give the same bits."""

import dataclasses
import math
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from firstlight.data import Split
from firstlight.data.held import HeldPictures
from firstlight.encoder import Encoder
from firstlight.errors import FirstlightError, InputError
from firstlight.events import Note, Saved, Step, Warned, drain
from firstlight.methods import Optimisation
from firstlight.methods.classify import Classify
from firstlight.runs import Run
from firstlight.train import Setup, precision, train
from firstlight.train.probe import Probe
from firstlight.views.batches import Batches
from tiny_training import Tiny, TinyBatches, same, setup, tiny


def steps(events) -> list[Step]:
    return [event for event in events if isinstance(event, Step)]


def repeatable(event: Step) -> dict[str, float]:
    return {name: value for name, value in event.values.items() if name != "images_per_second"}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lars"])
def test_the_loss_falls_and_every_step_is_told(optimizer):
    chosen = Optimisation(optimizer=optimizer, lr=30.0 if optimizer == "lars" else 0.5, warmup=0.1)
    events = steps(train(tiny(dropout=0.0), TinyBatches(32), setup(steps=60, batch=32, optimisation=chosen)))
    assert [event.step for event in events] == list(range(1, 61))
    assert events[-1].images == 60 * 32
    losses = [event.values["loss"] for event in events]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:5])
    assert {"lr", "weight_decay", "gradient_norm", "spread", "skipped", "images_per_second"} <= events[0].values.keys()
    assert all(math.isfinite(value) for event in events for value in event.values.values())


def test_only_every_nth_step_is_logged_and_the_last():
    assert [event.step for event in steps(train(tiny(), TinyBatches(), setup(log_every=8)))] == [8, 16, 20]


def test_the_same_settings_give_the_same_bits_and_another_seed_does_not():
    first, second, other = tiny(), tiny(), tiny()
    told = [steps(train(method, TinyBatches(), setup())) for method in (first, second)]
    torch.manual_seed(123)  # the state of the global generator plays no part
    drain(train(other, TinyBatches(), setup(seed=1)))
    assert same(first, second)
    assert [repeatable(event) for event in told[0]] == [repeatable(event) for event in told[1]]
    assert not same(first, other)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lars"])
@pytest.mark.parametrize("stop", [1, 7, 19])
def test_resumed_equals_uninterrupted_to_the_bit(tmp_path, optimizer, stop):
    chosen = setup(save_every=1, optimisation=Optimisation(optimizer=optimizer, lr=0.3, weight_decay=(0.0, 0.1)))
    reference = tiny()
    expected = steps(train(reference, TinyBatches(), chosen))

    run, told = Run(tmp_path), []
    for event in train(tiny(), TinyBatches(), chosen, run):
        told += [event] if isinstance(event, Step) else []
        if isinstance(event, Saved) and event.path.endswith(f"{stop:09d}"):
            break
    resumed = tiny(seed=77)
    told += steps(train(resumed, TinyBatches(), chosen, run))
    assert same(reference, resumed)
    assert [(event.step, repeatable(event)) for event in told] == [(e.step, repeatable(e)) for e in expected]


def test_parts_of_a_batch_add_up_to_the_whole():
    """With no dropout and no batch statistics, gradient accumulation is exact."""
    ends = []
    for parts in (1, 4):
        method = tiny(dropout=0.0).double()
        method.encoder.norm = nn.LayerNorm(8, dtype=torch.float64)
        batches = TinyBatches(8, parts=parts, dtype=torch.float64)
        events = steps(train(method, batches, setup(accumulate=parts)))
        ends.append((method, [event.values["loss"] for event in events]))
    for (name, whole), part in zip(ends[0][0].state_dict().items(), ends[1][0].state_dict().values()):
        if name != "steps":
            torch.testing.assert_close(whole, part, rtol=1e-9, atol=1e-9)
    assert ends[0][1] == pytest.approx(ends[1][1], rel=1e-6)
    assert ends[1][0].steps == 80


def test_momentum_moves_once_per_optimiser_step_whatever_the_accumulation():
    class Counted(Tiny):
        def __init__(self, dropout: float = 0.1):
            super().__init__(dropout)
            self.told: list[tuple[str, float]] = []

        def before_step(self, t):
            assert all(p.grad is not None for p in self.parameters())
            self.told.append(("before", t))

        def after_step(self, t):
            self.told.append(("after", t))

    method = tiny(kind=Counted)
    drain(train(method, TinyBatches(parts=2), setup(steps=4, accumulate=2)))
    assert method.told == [(when, t) for t in (0.0, 0.25, 0.5, 0.75) for when in ("before", "after")]


class Poisoned(Tiny):
    """Its loss or gradients are spoilt at chosen steps, and with the loss a buffer."""

    def __init__(self, dropout: float = 0.1):
        super().__init__(dropout)
        self.loss_at: set[int] = set()
        self.gradients_at: set[int] = set()
        self.seen = -1
        self.register_buffer("centre", torch.zeros(8))

    def forward(self, batch, t):
        self.seen += 1
        out = super().forward(batch, t)
        self.centre += out["loss"].detach()
        if self.seen in self.loss_at:
            self.centre.fill_(math.nan)
            out["loss"] = out["loss"] * math.nan
        if self.seen in self.gradients_at:
            out["loss"].register_hook(lambda gradient: gradient * math.inf)
        return out


@pytest.mark.parametrize("where", ["loss_at", "gradients_at"])
def test_a_step_that_is_not_finite_leaves_no_trace(where):
    method = tiny(kind=Poisoned)
    setattr(method, where, {3})
    events, states = [], []
    for event in train(method, TinyBatches(), setup(steps=5)):
        events.append(event)
        if isinstance(event, Step):
            states.append({name: value.clone() for name, value in method.state_dict().items()})
    assert all(torch.equal(value, states[2][name]) for name, value in states[3].items())
    assert not torch.equal(states[4]["head.weight"], states[3]["head.weight"])
    warnings = [event.text for event in events if isinstance(event, Warned)]
    assert len(warnings) == 1
    assert "step 4 skipped" in warnings[0]
    assert "pictures 0, 1, 2, 3" in warnings[0]
    assert ("loss is" if where == "loss_at" else "gradients are") in warnings[0]
    assert [event.values["skipped"] for event in steps(events)] == [0, 0, 0, 1, 1]
    assert "loss" not in steps(events)[3].values or where == "gradients_at"


def test_ten_such_steps_in_a_row_end_the_training_and_keep_the_last_good_checkpoint(tmp_path):
    method, run = tiny(kind=Poisoned), Run(tmp_path)
    method.loss_at = {2, *range(6, 40)}
    with pytest.raises(FirstlightError, match=r"10 steps in a row .* step 16"):
        drain(train(method, TinyBatches(), setup(steps=40, save_every=4), run))
    weights = torch.cat([value.flatten().float() for value in method.state_dict().values()])
    assert torch.isfinite(weights).all()
    assert len(list(run.checkpoints.glob("step_*"))) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"save_every": 0}, "save_every"),
        ({"keep": 1}, "keep must be at least 2"),
        ({"accumulate": 3}, "batch 8 cannot be shared evenly"),
        ({"accumulate": 2}, "8 pictures in 1 parts, the setup wants 8 in 2"),
        ({"batch": 16}, "8 pictures in 1 parts, the setup wants 16"),
        ({"precision": "fp61"}, "did you mean 'fp16'"),
        ({"precision": "fp16"}, "it has: fp32, bf16"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(changes, words):
    with pytest.raises(InputError, match=words):
        next(train(tiny(), TinyBatches(), setup(**changes)))


def test_an_unknown_optimizer_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"optimizer='sdg'.*'adamw', 'sgd', 'lars'.*did you mean 'sgd'"):
        Optimisation(optimizer="sdg")


def test_closing_the_generator_cancels_and_closes_the_batches():
    closed = []

    class Watched(TinyBatches):
        def stream(self, start=0):
            try:
                yield from super().stream(start)
            finally:
                closed.append(True)

    events = train(tiny(), Watched(), setup())
    while not isinstance(next(events), Step):
        pass
    events.close()
    assert closed == [True]


def test_gradients_are_clipped():
    largest = []

    class Watched(Tiny):
        def after_step(self, t):
            gradients = [p.grad for p in self.parameters() if p.grad is not None]
            largest.append((nn.utils.get_total_norm(gradients).item(), max(g.norm().item() for g in gradients)))

    together = Optimisation(lr=0.1, clip=0.01)
    told = steps(train(tiny(kind=Watched), TinyBatches(), setup(steps=3, optimisation=together)))
    assert all(event.values["gradient_norm"] > 0.01 for event in told)
    assert all(total == pytest.approx(0.01, rel=1e-2) for total, _ in largest)
    largest.clear()
    drain(
        train(
            tiny(kind=Watched),
            TinyBatches(),
            setup(steps=3, optimisation=dataclasses.replace(together, clip_each=True)),
        )
    )
    assert all(total > 0.011 and each == pytest.approx(0.01, rel=1e-2) for total, each in largest)


def test_a_cpu_attends_without_the_fused_kernel_in_bf16_alone():
    q, before = torch.randn(2, 3, 17, 8), torch.backends.cuda.flash_sdp_enabled()
    attend = torch.nn.functional.scaled_dot_product_attention
    used = {}
    for kind in ("fp32", "bf16"):
        with precision.Arithmetic(kind, "cpu").autocast(), torch.profiler.profile() as seen:
            out = attend(q, q, q)
        used[kind] = any("flash_attention" in event.key for event in seen.key_averages())
    assert used == {"fp32": True, "bf16": False}
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), attend(q, q, q), atol=0.02, rtol=0.02)
    assert torch.backends.cuda.flash_sdp_enabled() == before
    assert not torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()


def test_bf16_trains_and_keeps_its_weights_in_fp32():
    method = tiny(dropout=0.0)
    events = list(train(method, TinyBatches(), setup(precision="bf16", steps=30)))
    assert {p.dtype for p in method.parameters()} == {torch.float32}
    assert not any(isinstance(event, Note) for event in events), "what was asked for needs no word"
    exact = tiny(dropout=0.0)
    expected = steps(train(exact, TinyBatches(), setup(steps=30)))
    assert not same(method, exact)
    assert steps(events)[0].values["loss"] == pytest.approx(expected[0].values["loss"], rel=0.02)


def test_fp16_searches_its_loss_scale_and_resumes_with_it(tmp_path, monkeypatch):
    """On a CPU, where torch has the same scaler; the search for a scale is no fault of the training."""
    monkeypatch.setattr(precision, "available", lambda device: ("fp32", "fp16"))
    scaler = precision.torch.amp.GradScaler
    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda kind, enabled: scaler(kind, init_scale=2.0**40, enabled=enabled)
    )
    reference, resumed = tiny(), tiny(seed=3)
    chosen = setup(precision="fp16", steps=60, save_every=50, optimisation=Optimisation(lr=1.0))
    events = list(train(reference, TinyBatches(), chosen))
    told = steps(events)
    assert not any(isinstance(event, Warned) for event in events)
    skipped = told[-1].values["skipped"]
    assert 10 < skipped < 40
    losses = [event.values["loss"] for event in told]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])

    run = Run(tmp_path)
    for event in train(tiny(), TinyBatches(), chosen, run):
        if isinstance(event, Saved):
            break
    drain(train(resumed, TinyBatches(), chosen, run))
    assert same(reference, resumed)


@pytest.mark.parametrize(
    ("seconds", "expected"), [({"fp32": 1.0, "bf16": 0.8}, "bf16"), ({"fp32": 1.0, "bf16": 0.95}, "fp32")]
)
def test_auto_takes_bf16_on_a_cpu_only_when_it_is_measured_to_be_faster(monkeypatch, seconds, expected):
    monkeypatch.setattr(precision, "_cpu_has_bf16", lambda: True)
    monkeypatch.setattr(precision, "_measured", {})
    monkeypatch.setattr(precision, "_times", lambda method, pictures: (seconds["fp32"], seconds["bf16"]))
    events = list(train(tiny(), TinyBatches(), setup(steps=1, precision="auto")))
    assert isinstance(events[0], Note)
    assert events[0].text.startswith(f"precision {expected}: measured")


def test_measuring_is_short_and_leaves_the_method_as_it_was(monkeypatch):
    monkeypatch.setattr(precision, "SECONDS", 0.05)
    method = tiny()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    plain, half = precision._times(method, torch.randn(4, 1, 4, 4))
    assert 0 < plain < 1
    assert 0 < half < 1
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(p.grad is None for p in method.parameters())
    assert method.training


def test_a_resumption_uses_the_recorded_precision(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "_cpu_has_bf16", lambda: True)
    monkeypatch.setattr(precision, "_measured", {})
    monkeypatch.setattr(precision, "_times", lambda method, pictures: (2.0, 1.0))
    run, chosen = Run(tmp_path), setup(precision="auto", save_every=2)
    for event in train(tiny(), TinyBatches(), chosen, run):
        if isinstance(event, Saved):
            break
    monkeypatch.setattr(precision, "_measured", {})
    monkeypatch.setattr(precision, "_times", lambda method, pictures: (1.0, 2.0))
    resumed, reference = tiny(), tiny()
    drain(train(resumed, TinyBatches(), chosen, run))
    drain(train(reference, TinyBatches(), setup(precision="bf16")))
    assert same(resumed, reference)


def test_compiling_changes_no_names_and_hardly_the_numbers(monkeypatch):
    def without_compiler(module: nn.Module) -> None:  # the graph is captured; its code is torch's own
        module._compiled_call_impl = torch.compile(module._call_impl, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", without_compiler)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/g++")
    torch._dynamo.reset()
    method, plain = tiny(dropout=0.0), tiny(dropout=0.0)
    told = steps(train(method, TinyBatches(), setup(steps=4, compile=True)))
    expected = steps(train(plain, TinyBatches(), setup(steps=4)))
    assert [e.values["loss"] for e in told] == pytest.approx([e.values["loss"] for e in expected], rel=1e-4)
    assert method.state_dict().keys() == plain.state_dict().keys()


def test_compiling_for_a_cpu_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"C\+\+ compiler"):
        next(train(tiny(), TinyBatches(), setup(compile=True)))


def _held(count: int, seed: int) -> HeldPictures:
    """Grey squares, dark for one class and bright for the other."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pictures = (draw.integers(0, 60, (count, 32, 32)) + 150 * labels[:, None, None]).astype(np.uint8)
    return HeldPictures(list(pictures), labels, ("dark", "bright"), [f"picture {i}" for i in range(count)])


def test_a_real_encoder_on_real_batches_learns_with_a_probe_and_layer_decay():
    torch.manual_seed(0)
    encoder = Encoder("test_resnet", size=32, channels=1)
    method = Classify(encoder, categories=2)
    batches = Batches(_held(64, 0), method.views, size=32, batch=16, channels=1, mean=encoder.mean, std=encoder.std)
    probe = Probe(Split(_held(40, 1), _held(20, 2)), size=32)
    chosen = Setup(
        steps=12, batch=16, optimisation=Optimisation(lr=0.02, layer_decay=0.8), precision="fp32", probe_every=6
    )
    events = steps(train(method, batches, chosen, probe=probe))
    assert [event.step for event in events if "knn" in event.values] == [6, 12]
    assert events[-1].values["knn"] == 1.0
    assert events[-1].values["loss"] < events[0].values["loss"]


def _convolutional(batch: int = 8) -> tuple[Classify, Batches]:
    torch.manual_seed(0)
    method = Classify(Encoder("test_resnet", size=32), categories=2)
    return method, Batches(_held(32, 0), method.views, size=32, batch=batch, channels=3)


def test_convolutions_train_with_channels_last_and_leave_no_trace_of_it(tmp_path):
    """The optimiser's state too comes back as it was: sums in another order would end in other bits."""
    layouts = set()

    class Watched(Classify):
        def forward(self, batch, t):
            weights = [p for p in self.parameters() if p.ndim == 4 and min(p.shape) > 1]
            layouts.update(x.is_contiguous(memory_format=torch.channels_last) for x in (*weights, *batch.views))
            return super().forward(batch, t)

    chosen = Setup(steps=6, batch=8, precision="fp32", save_every=2, optimisation=Optimisation(lr=0.03, clip=0.1))
    reference, batches = _convolutional()
    reference.__class__ = Watched
    drain(train(reference, batches, chosen))
    assert layouts == {True}
    assert all(value.is_contiguous() for value in reference.state_dict().values())

    run, (stopped, _), (resumed, _) = Run(tmp_path), _convolutional(), _convolutional()
    for event in train(stopped, batches, chosen, run):
        if isinstance(event, Saved):
            break
    drain(train(resumed, batches, chosen, run))
    assert same(reference, resumed)


def test_the_layout_changes_nothing_but_rounding(monkeypatch):
    (last, batches), (first, _) = _convolutional(), _convolutional()
    chosen = Setup(steps=4, batch=8, precision="fp32", optimisation=Optimisation(optimizer="sgd", lr=0.3))
    drain(train(last, batches, chosen))
    monkeypatch.setattr(precision, "layout", lambda encoder: torch.contiguous_format)
    drain(train(first, batches, chosen))
    for name, value in first.state_dict().items():
        torch.testing.assert_close(last.state_dict()[name], value, rtol=1e-4, atol=1e-5)

    shown = batches.at(9).views[0]
    with torch.no_grad():
        plain = last.eval().predict(shown)
        turned = last.to(memory_format=torch.channels_last).predict(shown.to(memory_format=torch.channels_last))
    torch.testing.assert_close(turned, plain, rtol=1e-4, atol=1e-5)
    assert torch.equal(turned.argmax(1), plain.argmax(1))


def test_plain_transformers_keep_their_layout():
    assert precision.layout(Encoder("test_vit", size=32)) == torch.contiguous_format


def test_the_probe_leaves_the_encoder_and_the_training_as_they_were():
    def trained(look):
        torch.manual_seed(0)
        encoder = Encoder("test_resnet", size=32, channels=1)
        method = Classify(encoder, categories=2)
        batches = Batches(_held(16, 0), method.views, size=32, batch=8, channels=1, mean=encoder.mean, std=encoder.std)
        drain(train(method, batches, Setup(steps=3, batch=8, precision="fp32", probe_every=1), probe=look))
        return method

    assert same(trained(None), trained(Probe(Split(_held(8, 1), _held(8, 2)), size=32)))
