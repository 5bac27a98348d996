"""Other people's checkpoints: the layouts that load, the rules for what does not match, and files meant to do harm."""

import argparse
import json
import os
import pathlib
import pickle
import resource
import struct
import time

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision

from firstlight.encoder import Encoder, load_weights
from firstlight.errors import CorruptError, InputError
from firstlight.weights import HEADER_LIMIT, read_weights

VIT = "vit_tiny_patch16_224(patch_size=8, depth=2, embed_dim=48)"


def vit_weights(size=32, **settings):
    """What someone else's timm model would save, classifier included."""
    arguments = {"patch_size": 8, "depth": 2, "embed_dim": 48, "img_size": size, "num_classes": 10, **settings}
    return timm.create_model("vit_tiny_patch16_224", **arguments).state_dict()


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


LAYOUTS = {
    "bare": lambda w: w,
    "model": lambda w: {"model": w, "optimizer": {"state": {}}, "lr_scheduler": {}, "scaler": {}, "epoch": 3},
    "state_dict": lambda w: {"epoch": 90, "state_dict": w, "optimizer": {}, "scheduler": {}},
    "module": lambda w: {"state_dict": {f"module.{k}": v for k, v in w.items()}},
    "compiled": lambda w: {"model": {f"module._orig_mod.{k}": v for k, v in w.items()}},
    "CheckpointSaver": lambda w: {
        "epoch": 1,
        "arch": "vit_tiny",
        "state_dict": {k: torch.zeros_like(v) for k, v in w.items()},
        "state_dict_ema": w,
        "args": argparse.Namespace(lr=0.1, model="vit_tiny", sizes=[3, 224, 224], resume=None),
        "version": 2,
    },
    "empty average": lambda w: {"state_dict": w, "state_dict_ema": None},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("zipped", [True, False])
def test_layouts(layout, zipped, tmp_path):
    weights = vit_weights()
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(LAYOUTS[layout](weights), path, _use_new_zipfile_serialization=zipped)
    encoder = Encoder(VIT, size=32)

    notes = load_weights(encoder, path)

    assert notes == ["left out the classifier: head.bias, head.weight"]
    for name, value in encoder.net.state_dict().items():
        assert torch.equal(value, weights[name])


def test_safetensors(tmp_path):
    weights = vit_weights()
    safetensors.torch.save_file(weights, tmp_path / "w.safetensors")
    read = read_weights(tmp_path / "w.safetensors")
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weights[name]) for name in weights)


def test_load_by_model_and_file(tmp_path):
    weights = vit_weights()
    torch.save(weights, tmp_path / "w.pt")
    encoder = Encoder.load(tmp_path / "w.pt", model=VIT, size=32)
    assert torch.equal(encoder.net.cls_token, weights["cls_token"])


@torch.no_grad()
def test_torchvision_resnets(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    encoder = Encoder("resnet18", size=64)
    assert load_weights(encoder, tmp_path / "resnet18.pth") == ["left out the classifier: fc.bias, fc.weight"]
    theirs.fc = torch.nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(encoder.eval()(x), theirs(x), atol=1e-4, rtol=1e-4)

    with torch.device("meta"):  # names and shapes alone
        theirs, ours = torchvision.models.resnet50(weights=None), timm.create_model("resnet50")
    assert {k: v.shape for k, v in theirs.state_dict().items()} == {k: v.shape for k, v in ours.state_dict().items()}


@torch.no_grad()
def test_positions_are_resampled(tmp_path):
    weights = vit_weights(64)
    torch.save(weights, tmp_path / "w.pth")
    encoder = Encoder(VIT, size=32)
    notes = load_weights(encoder, tmp_path / "w.pth")

    assert notes[1:] == ["resampled positions, pos_embed: [1, 65, 48] to [1, 17, 48]"]
    assert torch.equal(encoder.net.pos_embed[:, 0], weights["pos_embed"][:, 0])
    grid = weights["pos_embed"][:, 1:].reshape(1, 8, 8, 48).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(grid, size=(4, 4), mode="bicubic", antialias=True)
    torch.testing.assert_close(encoder.net.pos_embed[:, 1:], expected.flatten(2).transpose(1, 2))


@torch.no_grad()
def test_relative_positions_are_resampled(tmp_path):
    settings = {"depths": (1, 1, 1, 1), "embed_dim": 24}
    torch.save(
        timm.create_model("swin_tiny_patch4_window7_224", img_size=64, **settings).state_dict(), tmp_path / "w.pth"
    )
    encoder = Encoder("swin_tiny_patch4_window7_224(depths=(1, 1, 1, 1), embed_dim=24)", size=32)
    notes = load_weights(encoder, tmp_path / "w.pth")
    assert sum(note.startswith("resampled relative positions") for note in notes) == 3


def test_channels_are_adapted(tmp_path):
    weights = vit_weights()
    torch.save(weights, tmp_path / "w.pth")
    grey = Encoder(VIT, size=32, channels=1)
    assert any("summed over channels" in note for note in load_weights(grey, tmp_path / "w.pth"))
    torch.testing.assert_close(
        grey.net.patch_embed.proj.weight, weights["patch_embed.proj.weight"].sum(1, keepdim=True)
    )


def test_everything_else_is_strict_and_leaves_the_encoder_alone(tmp_path):
    encoder, path = Encoder(VIT, size=32), tmp_path / "w.pth"
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    weights = vit_weights()

    torch.save({k: v for k, v in weights.items() if k != "norm.weight"}, path)
    with pytest.raises(InputError, match=r"1 missing \(norm.weight\)"):
        load_weights(encoder, path)
    torch.save({**weights, "extra.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"1 unexpected \(extra.weight\)"):
        load_weights(encoder, path)
    torch.save({**weights, "norm.weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match=r"1 of another shape \(norm.weight \[3\] instead of \[48\]\)"):
        load_weights(encoder, path)
    torch.save(vit_weights(patch_size=4), path)
    with pytest.raises(InputError, match=r"patch_embed.proj.weight \[48, 3, 4, 4\] instead of \[48, 3, 8, 8\]"):
        load_weights(encoder, path)
    torch.save({**weights, "pos_embed": torch.zeros(1, 19, 48)}, path)  # no square grid
    with pytest.raises(InputError, match="pos_embed"):
        load_weights(encoder, path)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    with pytest.raises(InputError, match=r"30 missing .*, \.\.\.\); 120 unexpected"):
        load_weights(encoder, path)

    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize("zipped", [True, False, None])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".tar", ".bin"])
def test_a_malicious_pickle_is_refused_and_does_nothing(zipped, suffix, tmp_path):
    path, trace = tmp_path / f"evil{suffix}", tmp_path / "trace"
    if zipped is None:
        path.write_bytes(pickle.dumps(Evil(trace), protocol=2))
    else:
        torch.save({"model": vit_weights(), "args": Evil(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"was not read: it holds posix\.mkdir, and reading that would run code"):
        read_weights(path)
    assert not trace.exists()


def test_objects_other_than_weights_are_named(tmp_path):
    path = tmp_path / "w.pth"
    for held, name in ((pathlib.PurePosixPath("a"), "PurePosixPath"), (np.float64(1.0), "numpy"), (Encoder, "Encoder")):
        torch.save({"model": vit_weights(), "other": held}, path)
        with pytest.raises(InputError, match=rf"it holds \S*{name}"):
            read_weights(path)


def test_files_without_weights(tmp_path):
    with pytest.raises(InputError, match="no weights file"):
        read_weights(tmp_path / "nowhere.pth")
    with pytest.raises(InputError, match="no weights file"):
        read_weights(tmp_path)
    (tmp_path / "w.npz").write_bytes(b"x")
    with pytest.raises(InputError, match=r"must end in one of \.safetensors, \.pth"):
        read_weights(tmp_path / "w.npz")
    for content, held in (({"epoch": 1, "loss": 0.5}, "epoch, loss"), ({}, "nothing"), (torch.zeros(1), "Tensor")):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(InputError, match=f"holds no weights.*{held}"):
            read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated_at_any_byte(kind, tmp_path):
    weights = {"a": torch.randn(50, 20), "b": torch.zeros(3)}
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        safetensors.torch.save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 40, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CorruptError, match=r"truncated|damaged"):
            read_weights(path)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_something_else_under_the_name_of_weights(name, tmp_path):
    path = tmp_path / name
    for content in (b"<html>404</html>" * 99, b"version https://git-lfs.github.com/spec/v1\n", os.urandom(999)):
        path.write_bytes(content)
        with pytest.raises(CorruptError):
            read_weights(path)


def header(entries, data=b""):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


BOMBS = {
    "length 2^63": struct.pack("<Q", 2**63) + b"{}",
    "length beyond the file": struct.pack("<Q", 1000) + b"{}",
    "100 MB": struct.pack("<Q", 100_000_000),  # the file is made that long
    "just over the limit": header(b" " * (HEADER_LIMIT + 1)),
    "just under the limit": header(b'{"a":' + b"[" * (HEADER_LIMIT - 5)),
    "huge tensor": header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, b"1234"),
    "overflowing shape": header({"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}, b"1234"),
    "overlap": header(
        {
            "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        },
        b"\0" * 12,
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_header_bombs(bomb, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(BOMBS[bomb])
    if bomb == "100 MB":
        os.truncate(path, 100_000_008)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    too_long = bomb.startswith("length") or bomb in ("100 MB", "just over the limit")  # refused before any is read
    with pytest.raises(CorruptError, match="its header claims" if too_long else "damaged"):
        read_weights(path)
    assert time.perf_counter() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
