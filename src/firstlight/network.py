"""One timm network without its classifier: built, tried on a blank picture, and run on all patches or some.

Wightman, PyTorch Image Models. https://github.com/huggingface/pytorch-image-models
"""

from functools import cached_property
from typing import Any, NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from . import _timm
from .errors import InputError
from .fitting import fit
from .reading import through
from .spec import Spec


class Seen(NamedTuple):
    """What a network sees of its pictures, and beside them; ``Encoder.tokens`` says what each field is."""

    keep: Tensor | None = None
    hidden: Tensor | None = None
    hole: Tensor | None = None
    beside: Tensor | None = None


class Network(nn.Module):
    """What an encoder knows of one timm model. ``Encoder`` lists its arguments, attributes and errors.

    An encoder is a network with more to it and does not hold one, because in every checkpoint its parameters have
    timm's names after ``net.``, and a second network's after ``colour.net.``.
    """

    net: Any

    def __init__(self, model: str | Spec, *, size: int, channels: int, drop_path: float):
        super().__init__()
        spec, self.size = _timm.understood(model, size)
        self.model = str(spec)
        self.channels = channels
        if channels not in (1, 3):
            raise InputError(f"{self.model!r}: channels must be 1 or 3, got {channels!r}")
        if not 0 <= drop_path < 1:
            raise InputError(f"{self.model!r}: drop_path must be from 0 to below 1, got {drop_path!r}")

        self.net, self.arguments = _timm.build(spec, self.size, channels, drop_path)
        self.multiple = _timm.multiple(self.net)
        self.any_size = _timm.takes_any_size(self.net)
        self.maskable = isinstance(self.net, VisionTransformer)
        self.entry: int | None = _timm.entry(self.net)
        self.prefix: int = getattr(self.net, "num_prefix_tokens", 0)
        self.check_size(self.size)

        self.drop_path = drop_path
        self.width, (tokens, self.token_width) = self._tried()
        self.regions = tokens - self.prefix
        grid = (self.size // self.multiple) ** 2
        isotropic = (self.maskable or self.multiple > 1) and self.regions == grid
        self.patch: int | None = self.multiple if isotropic else None
        self.patches: int | None = grid if isotropic else None

    def check_size(self, side: int) -> None:
        """Refuses pictures of a side that the model cannot take.

        Raises:
            InputError: naming the nearest side that it can.
        """
        if side % self.multiple:
            raise _timm.indivisible(self.model, side, self.multiple)
        if side != self.size and not self.any_size:
            raise InputError(
                f"{self.model!r} was built for pictures of size {self.size} and takes no other, got {side}"
            )

    def level_patches(self) -> None:
        """Makes the layer that cuts the picture into patches see the mean colour of each patch alone.

        What it answers to patches of one colour stays as it is. Trained on such patches it keeps seeing the mean
        alone, since all pixels of a patch then have the same gradient.
        """
        weight = _timm.embedding(self.net).proj.weight
        weight.data.copy_(weight.data.mean((2, 3), keepdim=True).expand_as(weight))

    def average_patches(self) -> None:
        """Pools the mean of the patches from now on, where a Vision Transformer pooled its class token alone.

        For methods that ask nothing of the class token, which then learns nothing of what to say in the end. It is
        timm's own setting, and part of ``model`` from now on: it is saved, and holds in timm too.
        """
        for part in self.modules():  # a second network too
            if isinstance(part, Network) and part.maskable and part.net.global_pool == "token":
                how = {"global_pool": "avg", "fc_norm": not isinstance(part.net.fc_norm, nn.Identity)}
                named = Spec.parse(part.model)
                part.model, part.arguments = str(Spec(named.name, named.settings | how)), part.arguments | how
                part.net.global_pool = "avg"

    def _check(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise InputError(f"{self.model!r} takes pictures [B, {self.channels}, S, S], got {list(x.shape)}")
        self.check_size(x.shape[2])
        self.check_size(x.shape[3])

    def _features(self, x: Tensor, seen: Seen, causal: bool) -> Tensor:
        """A model's last features: of the whole picture, of the patches kept, or with a hole for those hidden."""
        if seen.keep is None and seen.hidden is None and seen.beside is None and not causal:
            self._check(x)
            return self.net.forward_features(x)
        entered = self._entered(x, seen)
        if not self.maskable:
            return self.net.norm(self.net.layers(entered))
        return self.net.norm(through(self.net.blocks, entered, causal))

    def _entered(self, x: Tensor, seen: Seen) -> Tensor:
        """What enters the first block of a Vision Transformer, or the first stage of a Swin."""
        keep, hidden, hole, beside = seen
        self._check(x)
        if ((keep is not None or beside is not None) and not self.maskable) or self.entry is None:
            what, others = (
                ("encode some patches alone", "") if hidden is None else ("hide patches", " or a Swin (swin_)")
            )
            raise InputError(f"{self.model!r} cannot {what}; choose a Vision Transformer (vit_, deit_){others}")
        if keep is not None and (keep.dtype != torch.int64 or keep.ndim != 2 or len(keep) != len(x)):
            raise InputError(f"keep must be int64 [{len(x)}, K], got {keep.dtype} {list(keep.shape)}")

        embedded = self.net.patch_embed(x)
        if hidden is not None:
            embedded = _timm.filled(embedded, hidden, hole)
        if not self.maskable:
            return embedded

        everything = self.net._pos_embed(embedded)  # positions are added before any patch is left out
        if beside is not None:
            everything = torch.cat([everything, beside.to(everything.dtype)], 1)
        if keep is not None:
            first, rest = everything[:, : self.prefix], everything[:, self.prefix :]
            everything = torch.cat([first, rest.gather(1, keep[..., None].expand(-1, -1, rest.shape[-1]))], 1)
        return self.net.norm_pre(everything)

    def _flat(self, features: Tensor) -> Tensor:
        """A model's last features as tokens ``[B, N, C]``."""
        if not isinstance(features, Tensor):
            raise InputError(f"{self.model!r} has several sets of tokens at once; choose another model")
        if features.ndim == 4:
            channels_last = getattr(self.net, "output_fmt", "NCHW") == "NHWC"
            return features.flatten(1, 2) if channels_last else features.flatten(2).transpose(1, 2)
        if self.maskable and isinstance(self.net.norm, nn.Identity):
            return self.net.fc_norm(features)  # models that pool by averaging keep their final norm behind the pooling
        return features

    @torch.no_grad()
    def _tried(self) -> tuple[int, tuple[int, int]]:
        """The width of the pooled features of a blank picture, and the number and width of its tokens."""
        self.net.eval()
        blank = torch.zeros(1, self.channels, self.size, self.size)
        try:
            features = self.net.forward_features(blank)
            pooled = self.net.forward_head(features, pre_logits=True)
        except Exception as error:  # whatever a model raises when a picture is too small for it
            raise InputError(
                f"{self.model!r} does not work on pictures of size {self.size}: {_timm.line(error)}"
            ) from error
        finally:
            self.net.train()
        if not isinstance(pooled, Tensor) or pooled.ndim != 2:
            raise InputError(f"{self.model!r} gives no pooled features [B, width]; choose a classification model")
        count, width = self._flat(features).shape[1:] if isinstance(features, Tensor) else (0, 0)
        return pooled.shape[1], (count, width)

    def _place(self, weights: dict[str, Tensor], source: str) -> list[str]:
        fitted, notes = fit(weights, self.net, self.patches, f"{source!r} does not fit {self.model!r}")
        self.net.load_state_dict(fitted)
        return notes

    @cached_property
    def _order(self) -> tuple[dict[str, int], int]:
        """Each parameter's layer, and the last layer's number."""
        layers, last = _timm.layers(self.net, self.model)
        return {f"net.{name}": layer for name, layer in layers.items()}, last
