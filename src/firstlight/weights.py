"""Reads weights, our own and others', without ever running what is in a file, and fits them to a timm model.

Others' are safetensors, or PyTorch files through ``torch.load(weights_only=True)``; the layouts are those of
torchvision, timm's CheckpointSaver and the public formula-pre-trained models.
"""

import argparse
import contextlib
import copy
import hashlib
import importlib.metadata
import json
import math
import pickle
import re
import struct
import warnings
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import timm
import torch
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table_simple
from torch import Tensor, nn

from .errors import CorruptError, InputError
from .runs import read_json, write_whole

FORMAT = 3
"""1 has no neck, and 2 neither a block inside the network to read at nor a second network; a reader that does not know
of what a folder has must not load the network alone without a word"""
AFTER = {"colour": "second network", "neck": "neck"}
"""what may follow the timm model in a file of its own, by its place in ``config.json``, and its name for people"""
PICKLED = (".pth", ".pt", ".tar", ".bin")
HEADER_LIMIT = 4 << 20
"""bytes; a header has about 100 per tensor, and the largest vision models have a few thousand tensors"""
HEADS = {"fc", "head", "head.fc", "head_dist", "classifier"}
"""what timm and torchvision call their classifiers"""
NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")
"""where a checkpoint keeps its weights; the averaged ones, where there are any, are those that were evaluated"""
WRAPPERS = ("_orig_mod.", "module.", "_orig_mod.")
"""what torch.compile and DistributedDataParallel put before every name, in either order"""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU, without wrappers' prefixes.

    Args:
        path: ``.safetensors``, or ``.pth``, ``.pt``, ``.tar``, ``.bin`` written by ``torch.save``. The weights are
            the whole content, or lie under one of ``NESTED``, the averaged ones first. Of classes, only
            ``argparse.Namespace`` is let in besides tensors and plain values, because the public checkpoints hold
            their command line under ``args``; it has no code of its own.

    Raises:
        InputError: if there is no such file, it is of another kind, holds objects that would need code to be run,
            or holds no weights.
        CorruptError: if it is truncated or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no weights file {str(path)!r}")
    if path.suffix == ".safetensors":
        return _unwrapped(read_safetensors(path))
    if path.suffix in PICKLED:
        return _unwrapped(_chosen(_unpickled(path), path))
    allowed = ", ".join((".safetensors", *PICKLED))
    raise InputError(f"cannot read weights from {str(path)!r}: its name must end in one of {allowed}")


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, after its header's length was found plausible.

    Raises:
        CorruptError: if the file is truncated, damaged, or its header is a bomb.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if len(start) < 8:
        raise CorruptError(f"{str(path)!r} is truncated: {len(start)} bytes")
    length = struct.unpack("<Q", start)[0]
    if length > min(HEADER_LIMIT, path.stat().st_size - 8):
        raise CorruptError(
            f"{str(path)!r} is truncated or not safetensors: its header claims {length:,} bytes; "
            f"the file has {path.stat().st_size:,} and a header at most {HEADER_LIMIT:,}"
        )
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise CorruptError(f"{str(path)!r} is damaged or not safetensors: {error}") from None


def write_encoder(
    folder: Path, weights: dict[str, Tensor], about: dict[str, Any], after: dict[str, dict[str, Tensor]]
) -> Path:
    """Writes ``model.safetensors`` and ``config.json``, each in one piece, and returns the folder.

    The configuration also has what timm looks for, so that ``timm.create_model("local-dir:FOLDER")`` finds the model.

    Args:
        folder: where; other files in it are left alone.
        weights: timm's names and tensors.
        about: what ``Encoder`` says of itself, with timm's ``architecture``, ``model_args`` and ``num_classes``,
            and ``colour`` and ``neck`` where there are such.
        after: what follows the timm model and has no place in its checkpoint, by the name of its place in ``about`` and
            of its file: ``colour`` with tensors ``net.``, ``neck`` with ``neck.``, and ``head.`` in the last of them.

    Raises:
        DiskError: if the disk refuses.
    """
    content = _serialised(weights)
    size, channels = about["size"], about["channels"]
    shown = {
        key: [about[key]] * channels if isinstance(about[key], (int, float)) else list(about[key])
        for key in ("mean", "std")
    }
    config = {
        "format": 3 if "reading" in about or "colour" in about else 2 if after else 1,
        "firstlight": importlib.metadata.version("firstlight"),
        "timm": timm.__version__,
        **about,
        "sha256": hashlib.sha256(content).hexdigest(),
        "pretrained_cfg": {"input_size": [channels, size, size], "num_classes": about["num_classes"], **shown},
    }
    for name, tensors in after.items():
        beside = _serialised(tensors)
        config[name] = {**about[name], "sha256": hashlib.sha256(beside).hexdigest()}
        write_whole(folder / f"{name}.safetensors", beside)
    write_whole(folder / "model.safetensors", content)
    write_whole(folder / "config.json", (json.dumps(config, indent=1) + "\n").encode())
    return folder


def _serialised(weights: dict[str, Tensor]) -> bytes:
    # Cloned because safetensors refuses tensors that share memory.
    whole = {name: value.detach().cpu().clone().contiguous() for name, value in weights.items()}
    return safetensors.torch.save(whole, metadata={"format": "pt"})


def with_classifier(net: Any, head: nn.Linear) -> dict[str, Tensor]:
    """A headless timm model's weights, and a classifier's under the names and in the shapes that timm gives its own.

    Raises:
        InputError: if the model has no place for a linear classifier of this width.
    """
    with torch.random.fork_rng(devices=[]):  # the classifier that timm makes first is random
        whole = copy.deepcopy(net).cpu()
        whole.reset_classifier(head.out_features)
    weights = net.state_dict()
    for name, value in whole.state_dict().items():
        if name not in weights:  # a distilled model has two, and averages what they say
            given = head.weight if name.endswith(".weight") else head.bias
            if given is None or given.numel() != value.numel():
                raise InputError(
                    f"{type(net).__name__} has no place for a linear classifier of {head.in_features} features"
                )
            weights[name] = given.reshape(value.shape)
    return weights


def encoder_folder(path: Path) -> Path:
    """The folder of an encoder, given it, the run around it, or the weights file in it.

    Raises:
        InputError: if there is none.
    """
    for folder in (path, path / "encoder", path.parent if path.name == "model.safetensors" else path):
        if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file():
            return folder
    if path.is_file():
        raise InputError(f"{str(path)!r} does not say which model it is for; give model= as well")
    what = "has no encoder: expected config.json and model.safetensors in it or in encoder/" if path.is_dir() else ""
    raise InputError(f"{str(path)!r} {what or 'does not exist'}")


def read_config(folder: Path) -> dict[str, Any]:
    """What ``write_encoder`` wrote beside the weights.

    Raises:
        InputError: if a newer firstlight wrote it.
        CorruptError: if something is missing in it.
    """
    config = read_json(folder / "config.json")
    if isinstance(config, dict) and isinstance(config.get("format"), int) and config["format"] > FORMAT:
        raise InputError(f"{str(folder)!r} was written by firstlight {config.get('firstlight')}; upgrade to read it")
    expected = {"model": str, "size": int, "channels": int, "mean": (float, int, list), "std": (float, int, list)}
    for key, kind in {**expected, "sha256": str}.items():
        if not isinstance(config, dict) or not isinstance(config.get(key), kind):
            raise CorruptError(f"{str(folder / 'config.json')!r} does not say {key!r}")
    return config


def read_verified(path: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose bytes have this checksum.

    Raises:
        CorruptError: if they have another: a flipped bit would otherwise load without a word.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise CorruptError(f"{str(path)!r} is not what was written: sha256 {found[:12]}..., expected {sha256[:12]}...")
    return read_safetensors(path)


def read_after(folder: Path, config: dict[str, Any], which: str) -> dict[str, dict[str, Tensor]]:
    """What ``write_encoder`` wrote beside the timm model: ``"neck"`` or ``"net"``, and of a classifier ``"head"``.

    Args:
        folder: of the encoder.
        config: what stands in its ``config.json``.
        which: "neck" or "colour".

    Raises:
        CorruptError: if the file is missing or not the one that was written.
    """
    path = folder / f"{which}.safetensors"
    if not isinstance(config[which], dict) or not isinstance(config[which].get("sha256"), str):
        raise CorruptError(f"{str(folder / 'config.json')!r} does not say what the {AFTER[which]} is")
    if not path.is_file():
        raise CorruptError(f"{str(path)!r} is missing; the network alone loads with {which}=False")
    parts: dict[str, dict[str, Tensor]] = {"neck": {}, "net": {}, "head": {}}
    for name, value in read_verified(path, config[which]["sha256"]).items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = value
    return parts


def write_beside(folder: Path, name: str, weights: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Adds ``NAME.safetensors`` to an encoder's folder, and to its ``config.json`` what that is and its checksum.

    For what a method leaves behind besides the encoder. A reader that does not know of it has the encoder.

    Args:
        folder: which ``write_encoder`` has just written.
        name: of the file, and of its entry in ``config.json``.
        weights: tensors by name.
        about: plain values.
    """
    content = _serialised(weights)
    write_whole(folder / f"{name}.safetensors", content)
    config = read_config(folder) | {name: {**about, "sha256": hashlib.sha256(content).hexdigest()}}
    write_whole(folder / "config.json", (json.dumps(config, indent=1) + "\n").encode())


def read_beside(folder: Path, name: str, about: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors that ``write_beside`` wrote.

    Args:
        folder: of the encoder.
        name: as above.
        about: the entry of that name in ``config.json``.

    Raises:
        CorruptError: if the file is missing or not the one that was written.
    """
    path = folder / f"{name}.safetensors"
    if not isinstance(about, dict) or not isinstance(about.get("sha256"), str):
        raise CorruptError(f"{str(folder / 'config.json')!r} does not say what {name!r} is")
    if not path.is_file():
        raise CorruptError(f"{str(path)!r} is missing")
    return read_verified(path, about["sha256"])


def read_head(folder: Path, config: dict[str, Any], own: Container[str]) -> dict[str, Tensor]:
    """The classifier in an encoder's folder: ``weight [classes, width]`` and ``bias``.

    Args:
        folder: of the classifier.
        config: what stands in its ``config.json``.
        own: the names of the weights of the timm model without classifier.

    Raises:
        InputError: if there is none.
        CorruptError: if the weights are not those that were written.
    """
    beside = [which for which in ("neck", "colour") if which in config]
    if beside:
        head = read_after(folder, config, beside[0])["head"]
    else:
        found = read_verified(folder / "model.safetensors", config["sha256"])
        # Of a distilled model's two, which are the same, either will do; some are 1x1 convolutions.
        head = {name.rpartition(".")[2]: value for name, value in found.items() if name not in own}
    if "weight" not in head:
        raise InputError(f"{str(folder)!r} holds an encoder without a classifier")
    return {"weight": head["weight"].flatten(1), "bias": head.get("bias", torch.zeros(len(head["weight"])))}


def for_channels(value: float | list[float], channels: int) -> float | tuple[float, ...]:
    """A saved mean or deviation for this many channels."""
    if not isinstance(value, list):
        return value
    return tuple(value) if len(value) == channels else sum(value) / len(value)


def fit(
    weights: dict[str, Tensor], net: Any, patches: int | None, sentence: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Brings weights to the names and shapes of a timm model.

    Its classifier is left out; learned positions and Swin's relative biases are resampled (bicubic, timm's functions);
    the first layer is adapted between 3 channels (summed to 1) and 1 (repeated, divided by 3). All else is strict.

    Args:
        weights: tensors by name.
        net: the timm model.
        patches: the number of patches that it has positions for, or None.
        sentence: begins the error message.

    Returns:
        The weights, and one line for each thing that was changed.

    Raises:
        InputError: listing what is missing, unexpected, or of another shape.
    """
    own = net.state_dict()
    classifier = net.pretrained_cfg.get("classifier") or ()
    heads = HEADS | {*([classifier] if isinstance(classifier, str) else classifier)}
    dropped = {
        n for n in weights if n not in own and n.rpartition(".")[0] in heads and n.endswith((".weight", ".bias"))
    }
    notes = [f"left out the classifier: {', '.join(sorted(dropped))}"] if dropped else []
    fitted = {name: value for name, value in weights.items() if name not in dropped}
    for name in (name for name in own if name in fitted):
        if fitted[name].shape != own[name].shape and (change := _fitted(net, patches, name, fitted[name], own[name])):
            fitted[name], note = change
            notes.append(note)
    _refuse_differences(fitted, own, sentence)
    return fitted, notes


def _fitted(net: Any, patches: int | None, name: str, value: Tensor, own: Tensor) -> tuple[Tensor, str] | None:
    """A tensor brought to the model's shape, where there is a rule for it, and what was done."""
    change = f"{name}: {list(value.shape)} to {list(own.shape)}"
    if name == "pos_embed" and patches and value.ndim == own.ndim == 3 and value.shape[-1] == own.shape[-1]:
        prefix = own.shape[1] - patches
        old, new = math.isqrt(max(0, value.shape[1] - prefix)), math.isqrt(patches)
        if old > 0 and old * old + prefix == value.shape[1]:
            resampled = resample_abs_pos_embed(value, [new, new], [old, old], num_prefix_tokens=prefix)
            return resampled, f"resampled positions, {change}"
    if name.endswith(".relative_position_bias_table") and value.ndim == 2 and value.shape[1] == own.shape[1]:
        window = net.get_submodule(name.rpartition(".")[0]).window_size
        return resize_rel_pos_bias_table_simple(value, window, own.shape), f"resampled relative positions, {change}"
    first = net.pretrained_cfg.get("first_conv") or ()
    if name in {f"{layer}.weight" for layer in ([first] if isinstance(first, str) else first)}:
        shapes = value.shape[:1] + value.shape[2:], own.shape[:1] + own.shape[2:]
        if value.ndim == 4 and shapes[0] == shapes[1] and (value.shape[1], own.shape[1]) == (3, 1):
            return value.sum(1, keepdim=True), f"summed over channels, {change}"
        if value.ndim == 4 and shapes[0] == shapes[1] and (value.shape[1], own.shape[1]) == (1, 3):
            return value.repeat(1, 3, 1, 1) / 3, f"repeated over channels and divided by 3, {change}"
    return None


def _refuse_differences(weights: dict[str, Tensor], own: dict[str, Tensor], sentence: str) -> None:
    shapes = [
        f"{name} {list(weights[name].shape)} instead of {list(own[name].shape)}"
        for name in sorted(weights.keys() & own.keys())
        if weights[name].shape != own[name].shape
    ]
    lists = {
        "missing": sorted(own.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - own.keys()),
        "of another shape": shapes,
    }
    told = [
        f"{len(found)} {what} ({', '.join(found[:8])}{', ...' if len(found) > 8 else ''})"
        for what, found in lists.items()
        if found
    ]
    if told:
        raise InputError(f"{sentence}: {'; '.join(told)}")


def _unpickled(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), _quiet():
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's message recommends to try again with weights_only=False. Here it is not the place for that advice.
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused:
            raise InputError(
                f"{str(path)!r} was not read: it holds {refused[1]}, and reading that would run code from the file. "
                "Only tensors, plain values and argparse.Namespace are let in; save its state_dict() alone"
            ) from None
        raise CorruptError(f"{str(path)!r} is damaged or not a PyTorch checkpoint of weights") from None
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError, struct.error) as error:
        reason = (str(error) or "it ends too early").partition(". ")[0]
        raise CorruptError(f"{str(path)!r} is truncated or damaged: {reason}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences PyTorch's remark on newer pickle protocols: what it cannot read it refuses anyway."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
        yield


def _chosen(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint's content."""
    found = content
    if isinstance(content, dict):
        found = next((content[key] for key in NESTED if isinstance(content.get(key), dict)), content)
    if isinstance(found, dict) and found and all(isinstance(value, Tensor) for value in found.values()):
        return {str(key): value for key, value in found.items()}
    held = ", ".join(map(str, list(found)[:8])) if isinstance(found, dict) else type(found).__name__
    raise InputError(
        f"{str(path)!r} holds no weights: expected names with tensors, at the top or under one of "
        f"{', '.join(NESTED)}; it holds {held or 'nothing'}"
    )


def _unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in weights):
            weights = {name.removeprefix(wrapper): value for name, value in weights.items()}
    return weights
