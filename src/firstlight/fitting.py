"""Fits weights to a timm model: its names and shapes, its size and channels, without a classifier or with one."""

import copy
import math
from typing import Any

import torch
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table_simple
from torch import Tensor, nn

from .errors import InputError

HEADS = {"fc", "head", "head.fc", "head_dist", "classifier"}
"""what timm and torchvision call their classifiers"""


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
