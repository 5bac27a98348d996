"""An encoder's folder: a timm checkpoint with ``config.json``, and beside it what timm has no place for."""

import hashlib
import importlib.metadata
import json
from collections.abc import Container
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from .errors import CorruptError, InputError
from .fitting import with_classifier
from .runs import read_json, write_whole
from .weights import read_safetensors

FORMAT = 4
"""1 has no neck, 2 neither a block inside the network to read at nor a second network, and 3 no grid of patches; a
reader that does not know of what a folder has must not load the network alone without a word"""
BESIDE = {"colour": "the second network", "neck": "the neck"}
"""what of the encoder may lie beside the timm model, by its place in ``config.json``, and its name for people"""


def write_encoder(
    folder: Path,
    net: Any,
    about: dict[str, Any],
    beside: dict[str, dict[str, nn.Module]],
    head: nn.Linear | None = None,
) -> Path:
    """Writes ``model.safetensors`` and ``config.json``, each in one piece, and returns the folder.

    The configuration also has what timm looks for, so that ``timm.create_model("local-dir:FOLDER")`` finds the model.

    Args:
        folder: where; other files in it are left alone.
        net: the timm model, without a classifier.
        about: what ``Encoder`` says of itself, with timm's ``architecture`` and ``model_args``, a place for
            ``num_classes``, and ``colour`` and ``neck`` where there are such.
        beside: what follows the timm model and has no place in its checkpoint, by the name of its place in ``about``
            and of its file: ``colour`` with the part ``net``, ``neck`` with the part ``neck`` or none.
        head: the classifier. It becomes timm's own or, where something follows the model, the last one's part ``head``.

    Raises:
        InputError: if the model has no place for such a classifier.
        DiskError: if the disk refuses.
    """
    *_, place = ("model", *beside)  # the classifier's
    classes = head.out_features if head else 0
    weights = with_classifier(net, head) if head and place == "model" else net.state_dict()
    about = about | {"num_classes": classes if place == "model" else 0}
    for name, parts in beside.items():
        modules = {**parts, **({"head": head} if head and place == name else {})}
        tensors = {f"{part}.{key}": value for part, of in modules.items() for key, value in of.state_dict().items()}
        about[name] = {**about[name], "num_classes": classes if place == name else 0}
        about[name]["sha256"] = _write(folder, name, tensors)

    sha256 = _write(folder, "model", weights)
    size, channels = about["size"], about["channels"]
    shown = {
        key: [about[key]] * channels if isinstance(about[key], (int, float)) else list(about[key])
        for key in ("mean", "std")
    }
    config = {
        "format": _format(about, beside),
        "firstlight": importlib.metadata.version("firstlight"),
        "timm": timm.__version__,
        **about,
        "sha256": sha256,
        "pretrained_cfg": {"input_size": [channels, size, size], "num_classes": about["num_classes"], **shown},
    }
    _write_config(folder, config)
    return folder


def write_beside(folder: Path, name: str, weights: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Adds ``NAME.safetensors`` to an encoder's folder, and to its ``config.json`` what that is and its checksum.

    For what a method leaves behind besides the encoder. A reader that does not know of it has the encoder.

    Args:
        folder: which ``write_encoder`` has just written.
        name: of the file, and of its entry in ``config.json``.
        weights: tensors by name.
        about: plain values.
    """
    _write_config(folder, read_config(folder) | {name: {**about, "sha256": _write(folder, name, weights)}})


def folder_of(path: Path) -> Path:
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


def read_beside(folder: Path, config: dict[str, Any], name: str, part: str = "") -> dict[str, Tensor]:
    """The tensors of what lies beside the timm model.

    Args:
        folder: of the encoder.
        config: what stands in its ``config.json``.
        name: of the file, and of its entry in ``config.json``.
        part: whose tensors are wanted, named as it names them: ``"neck"``, ``"net"`` or ``"head"``; all by default.

    Raises:
        CorruptError: if the file is missing or not the one that was written.
    """
    path, about = folder / f"{name}.safetensors", config[name]
    if not isinstance(about, dict) or not isinstance(about.get("sha256"), str):
        raise CorruptError(f"{str(folder / 'config.json')!r} does not say what {BESIDE.get(name, repr(name))} is")
    if not path.is_file():
        alone = f"; the network alone loads with {name}=False" if name in BESIDE else ""
        raise CorruptError(f"{str(path)!r} is missing{alone}")
    found = read_verified(path, about["sha256"])
    split = [(key.partition("."), value) for key, value in found.items()]
    return {rest: value for (first, _, rest), value in split if first == part} if part else found


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
    beside = [name for name in ("neck", "colour") if name in config]
    if beside:
        head = read_beside(folder, config, beside[0], "head")
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


def _format(about: dict[str, Any], beside: dict[str, Any]) -> int:
    """The first format that has all that this encoder has."""
    if "reading" in about or "colour" in about:
        return 4 if "count" in about.get("reading", {}) else 3
    return 2 if beside else 1


def _write(folder: Path, name: str, weights: dict[str, Tensor]) -> str:
    """Writes ``NAME.safetensors`` in one piece, and returns its checksum."""
    # Cloned because safetensors refuses tensors that share memory.
    whole = {key: value.detach().cpu().clone().contiguous() for key, value in weights.items()}
    content = safetensors.torch.save(whole, metadata={"format": "pt"})
    write_whole(folder / f"{name}.safetensors", content)
    return hashlib.sha256(content).hexdigest()


def _write_config(folder: Path, config: dict[str, Any]) -> None:
    write_whole(folder / "config.json", (json.dumps(config, indent=1) + "\n").encode())
