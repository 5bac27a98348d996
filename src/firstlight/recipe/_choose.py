"""Working out what a recipe left open: the device, the pictures, the encoder, the optimisation."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import spec
from ..errors import InputError
from ..events import Events, Note, drain

if TYPE_CHECKING:
    from ..data import Pictures
    from ..encoder import Encoder
    from ..formulas import Formula
    from ..methods import Method, Optimisation


SIDES = (32, 48, 64, 96, 128, 160, 192, 224)  # multiples of 16, so that most models take them


def device(wanted: str | None) -> str:
    """``wanted`` if it is there, else the best there is: CUDA, Apple's MPS, or the CPU.

    Raises:
        InputError: if a device was asked for that this machine or this build of torch does not have.
    """
    import torch

    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted is None:
        return next(name for name, there in has.items() if there)
    if not has.get(wanted.partition(":")[0], False):
        there = ", ".join(name for name, yes in has.items() if yes)
        raise InputError(f"device {wanted!r} is not available here; available: {there}")
    return wanted


def is_formula(text: str) -> bool:
    """Whether a data source names a formula, and not a file, a folder or a data set."""
    if Path(text).exists() or "/" in text.partition("(")[0]:
        return False
    return spec.Spec.parse(text).name in spec.names("formulas")


def picture_formula(text: str) -> "Formula":
    """The formula that ``text`` names.

    Raises:
        InputError: if there is none, or its members are no pictures.
    """
    from ..formulas import Formula

    formula = spec.build("formulas", text, Formula)
    if formula.kind != "picture":
        raise InputError(f"{text!r} draws {formula.kind}s, and pictures are needed here")
    return formula


def source(
    text: str, *, size: int, categories: int | None, instances: int, seed: int, codebook: Path | None = None
) -> Events["Pictures"]:
    """The pictures that ``text`` names: a formula with settings, a folder, a CSV list, or ``digits``.

    Args:
        text: the name.
        size: the side in pixels at which a formula draws; of other pictures, the least that is wanted.
        categories: a formula's classes; None for all of the codebook, or 1,000, or all where there are fewer.
        instances: pictures of each.
        seed: of the formula.
        codebook: where the formula's classes are kept, in any layout; None: they are searched for.

    Raises:
        InputError: if it is none of these.
    """
    if is_formula(text):
        import numpy as np

        from ..data import codebook as codebooks
        from ..data.formula import FormulaPictures

        formula = picture_formula(text)
        if categories is None:
            categories = len(codebooks.read(codebook)) if codebook else min(1000, formula.categories or 1000)
        drawn = FormulaPictures(
            formula, categories=categories, instances=instances, size=size, seed=seed, codebook=codebook
        )
        yield from drawn.prepare()
        drawn.read(np.array([0, len(drawn) - 1]))  # what cannot be drawn at this size is refused now
        return drawn

    from ..data.source import open_pictures

    return (yield from open_pictures(known_source(text), size=size))


def known_source(text: str, setting: str = "") -> str:
    """``text`` again, if it names a file, a folder or a data set that is there.

    Args:
        text: the name.
        setting: how to name another one, for the message.

    Raises:
        InputError: naming the nearest formula, data set and folder.
    """
    if Path(text).exists() or text in spec.names("formulas") or text == "digits":
        return text
    import difflib

    parent = Path(text).parent if Path(text).parent.is_dir() else Path()
    folders = [str(parent / item.name) for item in parent.iterdir() if item.is_dir() or item.suffix == ".csv"]
    close = difflib.get_close_matches(text, [*spec.names("formulas"), "digits", *folders], n=2, cutoff=0.5)
    nearest = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    nearest += f"say where yours is with {setting}; " if setting else ""
    raise InputError(
        f"no data at {text!r}; {nearest}allowed: a folder of class folders, a .csv list, 'digits', "
        f"or a formula ({', '.join(spec.names('formulas'))})"
    )


def kept_size(path: Path | None) -> int | None:
    """The side that a kept encoder was trained at; None for a checkpoint of others, which does not say."""
    if path is None or path.is_file():
        return None
    from ..encoder_folder import folder_of, read_config

    return read_config(folder_of(path))["size"]


def side(data: str, device: str) -> Events[int]:
    """The side to show pictures at: their typical short side, rounded to a usual one, at most what is affordable."""
    from ..data.source import typical_side

    there = drain(typical_side(data))  # quick, and what it remarks on is said again when the pictures are read
    most = 224 if device.startswith("cuda") else 96
    chosen = max(32, min((s for s in SIDES if s >= there), default=SIDES[-1]))
    if chosen > most:
        yield Note(f"the pictures measure about {there} px; shown at {most} px to save time (--size changes that)")
    return min(chosen, most)


def encoder(
    path: Path | None,
    model: str,
    *,
    size: int,
    channels: int,
    drop_path: float,
    seed: int,
    neck: bool = True,
    colour: bool = True,
) -> "Encoder":
    """A fresh encoder whose weights depend on ``seed`` alone, or the one kept at ``path``.

    ``model`` says what a checkpoint file of others is for, ``neck`` and ``colour`` whether a kept one's neck and second
    network come along.
    """
    import torch

    from ..encoder import Encoder

    torch.manual_seed(seed)
    if path is None:
        return Encoder(model, size=size, channels=channels, drop_path=drop_path)
    foreign = path.is_file() and not (path.parent / "config.json").exists()
    named = model if foreign else None
    given = {"model": named, "size": size, "channels": channels, "drop_path": drop_path}
    return Encoder.load(path, **given, neck=neck, colour=colour)


def on_neck(path: Path | None, neck: bool, colour: bool = True) -> Events[None]:
    """Says where the features of a kept encoder come from, if not from the end of one network."""
    from ..encoder_folder import folder_of, read_config

    if path is None or (path.is_file() and not (path.parent / "config.json").exists()):
        return
    config = read_config(folder_of(path))
    if config.get("colour"):
        how = "" if colour else ": left out, so the first, which learned from grey pictures, is shown coloured ones"
        yield Note(f"{str(path)!r} has one network for the lightness and a second one for the colours{how}")
    if read := config.get("reading"):
        if "block" in read:
            how = (
                f"is read at block {read['block']}, {'causally, ' if read['causal'] else ''}and uses nothing behind it"
            )
        else:
            how = f"is read patch by patch, and features are the mean of {read['count']} x {read['count']} of them"
        yield Note(f"{str(path)!r} {how}{'' if neck else ': left out'}")
    if widths := (config.get("neck") or {}).get("widths"):
        after = f"its neck, kept layers of the projection head ({' to '.join(map(str, widths))} features)"
        yield Note(f"{str(path)!r} goes on after the network with {after}{'' if neck else ': left out'}")


def method(text: str, given: "Encoder", categories: int, fresh: bool, pictures: "Pictures | int" = 0) -> "Method":
    """The method that ``text`` names, around an encoder.

    Args:
        text: the name, with settings where wanted.
        given: the encoder.
        categories: the number of classes, for methods that learn from labels; else 0.
        fresh: whether the encoder's weights are random, so that a method may start them in its own way.
        pictures: what there is to learn from, or how many if nothing else is known of them.
    """
    from ..methods import Method

    count = pictures if isinstance(pictures, int) else len(pictures)
    own = spec.Spec.parse(text).settings.get("pictures", count)
    if own != count:
        raise InputError(f"{text}: the training set has {count} pictures; leave the setting out, it is worked out")
    named = spec.Spec.parse(text).settings.get("categories", categories)
    if categories and named != categories:
        raise InputError(f"{text}: the training set has {categories} classes; leave the setting out, it is worked out")
    derived = {"fresh": fresh, "pictures": count} | ({"categories": categories} if categories else {})
    if maps_of(text):
        maps, classes = ((), 0) if isinstance(pictures, int) else (pictures.maps, pictures.map_classes)
        derived |= {"has_depth": "depth" in maps, "classes": classes}
        _fitting_maps(text, "depth" in maps, classes)
    return spec.build("methods", text, Method, given, **derived)


def _fitting_maps(text: str, depth: bool, classes: int) -> None:
    """Refuses settings that ask for maps which are not there; fewer than there are is a choice."""
    chosen = spec.Spec.parse(text).settings
    if chosen.get("has_depth") and not depth:
        raise InputError(f"{text}: there are no maps of depth beside the pictures; leave the setting out")
    wanted = chosen.get("classes", classes)
    if wanted and not classes:
        raise InputError(f"{text}: there are no maps of classes beside the pictures; leave the setting out")
    if 0 < wanted < classes:
        raise InputError(
            f"{text}: the maps have {classes} classes; allowed are 0, to leave them out, and {classes} or more"
        )


def maps_of(text: str) -> tuple[str, ...]:
    """The kinds of maps that a method learns from beside pictures."""
    from ..methods import Method

    return spec.find("methods", spec.Spec.parse(text).name, Method).maps


def place_of_maps(data: str, method: str) -> Path | None:
    """The folder with ``rgb`` and maps beside it, where a method learns from them and there are any."""
    if not maps_of(method):
        return None
    from ..data.maps import place_of

    return place_of(data)


def needs_labels(text: str) -> bool:
    """Whether a method learns from labels: its constructor has the setting ``categories``."""
    from ..methods import Method

    return "categories" in spec.settings_of(spec.find("methods", spec.Spec.parse(text).name, Method))


def labelled(pictures: "Pictures", method: str, data: str) -> Events["Pictures"]:
    """Those of the pictures that have a label, for a method that learns from labels.

    Raises:
        InputError: if there are none, or of one class only.
    """
    import numpy as np

    from ..data import Subset

    formula = is_formula(data)
    if formula and len(pictures.classes) > 1:
        return pictures
    there = np.flatnonzero(pictures.labels >= 0)
    if len(np.unique(pictures.labels[there])) < 2:
        allowed = "a folder with one folder a class and a .csv list with the columns path,label"
        hint = "allowed is --categories 2 and more; nearest: 2" if formula else f"allowed are {allowed}"
        raise InputError(
            f"method {method!r} learns from labels, and {data!r} has pictures of fewer than two classes: {hint}"
        )
    if len(there) == len(pictures):
        return pictures
    yield Note(f"left out for want of a label: {len(pictures) - len(there):,} of {len(pictures):,} pictures")
    return Subset(pictures, there)


def optimisation(base: "Optimisation", **wanted: Any) -> "Optimisation":
    """The method's own optimisation with what the recipe set in its place."""
    return dataclasses.replace(base, **{key: value for key, value in wanted.items() if value is not None})


def positive(**values: float | None) -> None:
    """Refuses settings that are not above zero.

    Raises:
        InputError: naming the setting and what was given.
    """
    for name, value in values.items():
        if value is not None and not value > 0:
            raise InputError(f"{name.replace('_', '-')} must be above 0, got {value}")
