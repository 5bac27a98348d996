"""Copy a run's encoder, or its trained classifier, out as a checkpoint that timm loads."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from ..errors import InputError
from ..events import Events, Note, Saved
from ..runs import read_json
from . import Recipe


@dataclass(frozen=True, kw_only=True)
class Export(Recipe):
    """Copy a run's encoder, or its trained classifier, out as a checkpoint that timm loads."""

    folder: tyro.conf.Positional[Path]
    """a run folder"""
    what: Literal["encoder", "classifier"] = "encoder"
    """the pre-trained encoder, or the fine-tuned classifier"""
    out: Path = Path("exported")
    """a new folder for model.safetensors, config.json and, where there is one, neck.safetensors"""

    def run(self, resume: bool = False) -> Events[Path]:
        source = self.folder / self.what
        if not (source / "model.safetensors").exists():
            there = [name for name in ("encoder", "classifier") if (self.folder / name / "model.safetensors").exists()]
            hint = f"it has: {', '.join(there)}" if there else "is it a finished run?"
            raise InputError(f"{str(self.folder)!r} has no {self.what} to export; {hint}")
        if self.out.exists():
            raise InputError(f"{str(self.out)!r} exists already; choose another --out")

        from ..encoder import Encoder

        Encoder.load(source)  # verifies the checksum and that the model can be built
        shutil.copytree(source, self.out)
        yield Saved(self.what, str(self.out))
        yield Note(usage(self.out))
        yield from beside(self.out)
        return self.out


def usage(folder: Path) -> str:
    """The line of Python that loads an exported folder with timm."""
    config = read_json(folder / "config.json")
    settings = {"num_classes": config["num_classes"], **config["model_args"]}
    given = "".join(f", {key}={value!r}" for key, value in settings.items())
    return f'timm.create_model("{config["architecture"]}"{given}, checkpoint_path="{folder / "model.safetensors"}")'


def beside(folder: Path) -> Events[None]:
    """Says what of an encoder or a classifier timm does not load, and what does."""
    config = read_json(folder / "config.json")
    about, read = config.get("neck"), config.get("reading")
    where = "block at" if read and "block" in read else "grid of patches by"
    parts = [f"the {where} which features are read is in config.json"] if read else []
    if second := config.get("colour"):
        also = " and the classifier" if second["num_classes"] else ""
        parts.append(f"its second network, for colours,{also} {'are' if also else 'is'} in colour.safetensors")
    if about:
        neck = ["its neck"] if "widths" in about else []
        held = " and ".join([*neck, *(["the classifier"] if about["num_classes"] else [])])
        parts.append(f"{held} {'are' if ' and ' in held else 'is'} in neck.safetensors")
    if parts:
        classifies = any(part and part["num_classes"] for part in (about, second))
        loads = f'firstlight.{"load_classifier" if classifies else "load"}("{folder}") loads all'
        yield Note(f"timm loads the network alone: {', '.join(parts)}; {loads}")
