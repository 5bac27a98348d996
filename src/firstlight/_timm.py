"""Makes timm models from text, and knows what timm does not say in one place: patches, sizes, layers.

Wightman, PyTorch Image Models. https://github.com/huggingface/pytorch-image-models
"""

import contextlib
import fnmatch
import math
import re
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from timm.models.xcit import Xcit
from torch import Tensor, nn

from .errors import InputError, unknown
from .spec import Spec

RESERVED = {
    "in_chans": "say channels=",
    "num_classes": "an encoder has no classifier",
    "features_only": "see Encoder.maps",
    **dict.fromkeys(("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"), "nothing is downloaded"),
    **dict.fromkeys(("checkpoint_path", "pretrained_model_args"), "read a file with load_weights"),
}
LARGEST = 4096  # pixels; a blank picture of this side is tried once, and must fit into memory
LAST = 99999  # timm's mark in a group matcher for what follows the last block


def understood(model: str | Spec, size: Any) -> tuple[Spec, int]:
    """A model that timm has, with settings that download nothing, and the side of its pictures."""
    spec = Spec.parse(model)
    if not timm.is_model(spec.name.partition(".")[0]):
        raise unknown("model", spec.name, timm.list_models())
    for key in spec.settings:
        if key in RESERVED:
            raise InputError(f"{str(spec)!r}: {key!r} cannot be set here; {RESERVED[key]}")
    settings = dict(spec.settings)
    side = settings.pop("img_size", size)
    side = side[0] if isinstance(side, (tuple, list)) and len(side) == 2 and side[0] == side[1] else side
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= LARGEST:
        raise InputError(f"{str(spec)!r}: size must be a whole number of pixels from 1 to {LARGEST}, got {side!r}")
    return Spec(spec.name, settings), side


def build(spec: Spec, size: int, channels: int, drop_path: float) -> tuple[Any, dict[str, Any]]:
    """The timm model, and the arguments that make it again.

    timm says that a model lacks an argument only by a TypeError, before it allocates anything.
    """
    offered = {"img_size": size, "dynamic_img_size": True, "drop_path_rate": drop_path}
    arguments: dict[str, Any] = {**offered, "in_chans": channels, **spec.settings}
    while True:
        try:
            net = timm.create_model(spec.name, pretrained=False, num_classes=0, **arguments)
            break
        except TypeError as error:
            found = re.search(r"(unexpected|multiple values for) keyword argument\S*:? \[?'(\w+)'", str(error))
            why, refused = found.groups() if found else ("", "")
            if refused == "drop_path_rate" and refused not in spec.settings and drop_path:
                raise InputError(f"{spec.name!r} has no stochastic depth; set drop_path to 0") from error
            if refused in spec.settings or refused not in offered:
                fixed = f"it fixes {refused!r}, so it cannot be set" if why.startswith("multiple") else line(error)
                raise InputError(f"timm cannot build {str(spec)!r}: {fixed}") from error
            del arguments[refused]
        except Exception as error:  # whatever a model raises for arguments that it cannot use
            raise _unbuildable(spec, size, error) from error
    for module in net.modules():
        if type(module) is nn.Conv2d and max(module.stride) > 1 < max(module.kernel_size):
            module.__class__ = Strided
    if "drop_path_rate" not in spec.settings:
        arguments.pop("drop_path_rate", None)  # how it is trained, not what it is
    return net, arguments


class Strided(nn.Conv2d):
    """A strided convolution that also learns where its input has shrunk to a single position, as in small crops.

    There, in bf16 on a CPU, torch (seen in 2.15) does not write the part of the weight's gradient that belongs to the
    padding: it holds whatever lay in memory. Zeros put around the position beforehand are multiplied like any number.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.shape[-2:] != (1, 1) or isinstance(self.padding, str) or self.padding_mode != "zeros":
            return super()._conv_forward(input, weight, bias)
        rows, columns = self.padding
        padded = F.pad(input, (columns, columns, rows, rows))
        return F.conv2d(padded, weight, bias, self.stride, 0, self.dilation, self.groups)


def _unbuildable(spec: Spec, size: int, error: Exception) -> InputError:
    """Says whether it was the size: what timm builds at its own size knows its patch."""
    with contextlib.suppress(Exception):
        side = multiple(timm.create_model(spec.name, pretrained=False, num_classes=0, **spec.settings))
        if size % side:
            return indivisible(str(spec), size, side)
    return InputError(f"timm cannot build {str(spec)!r} at size {size}: {line(error)}")


def indivisible(model: str, size: int, multiple: int) -> InputError:
    """The error for a side that is not a multiple of what the model needs."""
    nearest = max(1, round(size / multiple)) * multiple
    return InputError(
        f"{model!r} takes pictures whose side is a multiple of {multiple}, got {size}; nearest: {nearest}"
    )


def line(error: Exception) -> str:
    """The first line of another library's error, or its kind."""
    return (str(error) or type(error).__name__).partition("\n")[0]


def embedding(net: Any) -> Any:
    """What cuts the picture into patches, or None."""
    return next((part for part in map(net._modules.get, ("patch_embed", "stem")) if hasattr(part, "patch_size")), None)


def entry(net: Any) -> int | None:
    """The width of an embedded patch, where there is a place to put something else, or None."""
    if not isinstance(net, (VisionTransformer, SwinTransformer)):
        return None
    return net.embed_dim if isinstance(net.embed_dim, int) else net.embed_dim[0]


def multiple(net: Any) -> int:
    """What the sides of pictures must be multiples of."""
    layer = embedding(net)
    if layer is None:
        return 1
    side = layer.feat_ratio() if hasattr(layer, "feat_ratio") else layer.patch_size
    return max(side) if isinstance(side, (tuple, list)) else int(side)


def takes_any_size(net: Any) -> bool:
    """Whether a model takes pictures of other sizes than it was built for."""
    dynamic = getattr(embedding(net), "strict_img_size", True) is False
    return dynamic or isinstance(net, Xcit) or not net.pretrained_cfg.get("fixed_input_size", False)


def filled(embedded: Tensor, hidden: Tensor, hole: Tensor | None) -> Tensor:
    """Embedded patches, ``[B, N, C]`` or ``[B, H, W, C]``, with ``hole`` in place of those that are hidden.

    Args:
        embedded: from a model's patch embedding.
        hidden: bool ``[B, M]``, row by row over a grid of cells; a cell is one patch or a square of them.
        hole: ``[C]``.

    Raises:
        InputError: if the cells do not divide the patches, or there is no vector of that width.
    """
    width = embedded.shape[-1]
    grid = embedded.shape[1] if embedded.ndim == 4 else math.isqrt(embedded.shape[1])
    cells = math.isqrt(hidden.shape[-1])
    if hidden.dtype != torch.bool or hidden.shape != (len(embedded), cells * cells) or not cells or grid % cells:
        wanted = (
            f"hidden must be bool [{len(embedded)}, N] with N patches or a square number that divides {grid}x{grid}"
        )
        raise InputError(f"{wanted}, got {hidden.dtype} {list(hidden.shape)}")
    if hole is None or hole.shape != (width,):
        raise InputError(f"hole must be a vector [{width}], got {hole if hole is None else list(hole.shape)}")
    times = grid // cells
    square = hidden.view(-1, cells, cells).repeat_interleave(times, 1).repeat_interleave(times, 2)
    return torch.where(square.view(*embedded.shape[:-1], 1), hole.to(embedded.dtype), embedded)


def layers(net: Any, model: str) -> tuple[dict[str, int], int]:
    """Each parameter's layer, and the last layer's number, from timm's matcher of names.

    Raises:
        InputError: if the model has none.
    """
    matcher = net.group_matcher(coarse=False) if hasattr(net, "group_matcher") else None
    if not isinstance(matcher, dict):
        raise InputError(f"timm does not say how the layers of {model!r} are ordered; set layer_decay=1")
    places = {name: _place_in(matcher, name) for name, _ in net.named_parameters()}
    ranks = {place: rank for rank, place in enumerate(sorted(set(places.values())))}
    closing = max(ranks)[-1] in (LAST, math.inf)
    return {name: ranks[place] for name, place in places.items()}, len(ranks) - closing


def undecayed(net: Any) -> set[str]:
    """The names of the parameters that take no weight decay by the model's own account."""
    listed = getattr(net, "no_weight_decay", set)()
    return {name for name, _ in net.named_parameters() if any(fnmatch.fnmatch(name, pattern) for pattern in listed)}


def _place_in(matcher: dict[str, Any], name: str) -> tuple[float, ...]:
    """A name's place in the order of layers, as timm's own grouping has it, but the final norm after the last block."""
    for order, rules in enumerate(matcher.values()):
        for pattern, suffix in [(rules, None)] if isinstance(rules, str) else rules or ():
            if found := re.match(pattern, name):
                return (order, *(float(number) for number in found.groups() if number is not None), *(suffix or ()))
    return (math.inf,)
