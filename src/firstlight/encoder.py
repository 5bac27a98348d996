"""The encoder: any timm classification model without its classifier; nothing beside it knows timm's internals.

Wightman, PyTorch Image Models. https://github.com/huggingface/pytorch-image-models
"""

import fnmatch
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from . import _timm
from . import weights as stored
from .errors import InputError, unknown
from .neck import Neck, rebuilt
from .spec import Spec
from .weights import read_weights

__all__ = ["Encoder", "load_classifier", "load_weights", "names", "read_weights"]


class Encoder(nn.Module):
    """A timm model that turns pictures into features. Its initial weights depend on torch's global seed alone.

    Args:
        model: a timm name, or a call with timm's settings: ``vit_tiny_patch16_224(patch_size=4)``. An ``img_size``
            in it wins over ``size``.
        size: the side of the pictures in pixels. Convolutional models, Vision Transformers, XCiT and Swin take other
            sizes in ``forward`` too (``any_size``); it then only decides how many positions are learned.
        channels: 1 or 3.
        drop_path: the probability, 0 to below 1, with which the last block is skipped in training (stochastic depth).

    Attributes:
        model: the timm name with its settings, without size and channels.
        size, channels: as above.
        width: the number of features: the network's pooled ones, or what the neck puts out.
        patch: the side in pixels of one token, or None where tokens are not patches (convolutional, Swin).
        patches: the number of patches in a picture of side ``size``, or None.
        prefix: how many tokens come before those of the patches (class, distillation, registers).
        multiple: the sides of pictures must be multiples of this.
        any_size: whether ``forward`` takes pictures of another size than ``size``.
        regions: how many other tokens there are for a picture of side ``size``: patches, or positions of the last map.
        token_width: the width of a token; some convolutional models pool to another ``width``.
        entry: the width of a patch as it is embedded, where ``tokens`` takes ``hidden``, or None.
        maskable: whether ``tokens`` takes ``keep``.
        mean, std: what pictures in 0..1 are normalised with before ``forward``; one number, or one per channel.
        net: the timm model.
        neck: layers on the pooled features that belong to the encoder too (``add_neck``), or None.

    Raises:
        InputError: for an unknown model or setting, a size that the model cannot take, or a model without pooled
            features.
    """

    net: Any

    def __init__(self, model: str | Spec, *, size: int = 224, channels: int = 3, drop_path: float = 0.0):
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
        self.mean: float | tuple[float, ...] = 0.5
        self.std: float | tuple[float, ...] = 0.5
        self.check_size(self.size)

        self.neck: Neck | None = None
        self.width, (tokens, self.token_width) = self._tried()
        self.regions = tokens - self.prefix
        grid = (self.size // self.multiple) ** 2
        isotropic = self.multiple > 1 and self.regions == grid
        self.patch: int | None = self.multiple if isotropic else None
        self.patches: int | None = grid if isotropic else None

    def forward(self, x: Tensor) -> Tensor:
        """Features ``[B, width]`` of normalised pictures ``[B, channels, S, S]``: pooled, then through the neck."""
        self._check(x)
        return self._pooled(self.net.forward_features(x))

    def tokens(
        self, x: Tensor, keep: Tensor | None = None, hidden: Tensor | None = None, hole: Tensor | None = None
    ) -> Tensor:
        """Prefix and patch tokens ``[B, prefix + N, width]`` after the final norm, row by row over the picture.

        Convolutional and hierarchical models give the positions of their last map (before what some of them, such as
        MobileNetV3, still do to the pooled features).

        Args:
            x: normalised pictures ``[B, channels, S, S]``.
            keep: int64 ``[B, K]``: the numbers of the patches to encode, in the order wanted. The others are never
                computed. Positions are those in the whole picture. Vision Transformers only (``maskable``).
            hidden: bool ``[B, N]``, row by row over a square grid of as many cells as there are tokens, or of any
                number by which the grid of patches divides: patches of cells that are True are not seen. Vision
                Transformers and Swin only (``entry``).
            hole: ``[entry]``, the learned vector that stands in their place before positions are added.
        """
        return self._flat(self._features(x, keep, hidden, hole))

    def pooled_and_tokens(
        self, x: Tensor, hidden: Tensor | None = None, hole: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What ``forward`` and what ``tokens`` gives, in one pass."""
        features = self._features(x, None, hidden, hole)
        return self._pooled(features), self._flat(features)

    def add_neck(self, hidden: int, layers: int) -> None:
        """Adds so many layers (Linear, batch norm, ReLU) of a width to the end, which train and are saved with it.

        Raises:
            InputError: if there is a neck already.
        """
        if self.neck is not None:
            widths = list(self.neck.widths)
            raise InputError(f"{self.model!r} has a neck already, of the widths {widths}; load it with neck=False")
        self.neck = Neck([self.width, *[hidden] * layers])
        self.width = hidden

    def freeze_patches(self) -> None:
        """Leaves the layer that cuts the picture into patches as it is (MoCo v3); a model without one stays."""
        embedding = _timm.embedding(self.net)
        if embedding is not None:
            embedding.requires_grad_(False)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Feature maps ``[B, C, H, W]`` of every stage (convolutional, hierarchical) or block, first to last.

        Raises:
            InputError: if timm cannot give this model's.
        """
        self._check(x)
        if not hasattr(self.net, "forward_intermediates"):
            raise InputError(f"{self.model!r} gives no feature maps")
        return list(self.net.forward_intermediates(x, intermediates_only=True))

    @property
    def layers(self) -> int:
        """The number of the last layer: the neck, or else the final norm, and every head on top of the encoder."""
        return self._order[1] + (self.neck is not None)

    def layer_of(self, parameter_name: str) -> int:
        """The depth of a parameter, for layer-wise learning rates: 0 for stem and embeddings, up to ``layers``.

        Blocks count from 1. A name is as in ``named_parameters()``: ``net.blocks.0.norm1.weight``.

        Raises:
            InputError: if there is no such parameter, or timm does not say how the model's are ordered.
        """
        order, last = self._order
        if self.neck is not None:
            order = order | {f"neck.{name}": last + 1 for name, _ in self.neck.named_parameters()}
        if parameter_name not in order:
            raise unknown("parameter of the encoder", parameter_name, order)
        return order[parameter_name]

    @property
    def undecayed(self) -> set[str]:
        """Names of parameters that take no weight decay by the model's own account (positions, class token, ...)."""
        listed = getattr(self.net, "no_weight_decay", set)()
        found = (name for name, _ in self.net.named_parameters() if any(fnmatch.fnmatch(name, p) for p in listed))
        return {f"net.{name}" for name in found}

    def save(self, folder: str | Path, *, head: nn.Linear | None = None, classes: Sequence[str] = ()) -> Path:
        """Writes ``model.safetensors`` and ``config.json``, each in one piece, and returns the folder.

        The weights are what ``timm.create_model(architecture, num_classes=0, **model_args, checkpoint_path=...)``
        reads; ``architecture`` and ``model_args`` stand in ``config.json``. A neck has no place in a timm model: it
        goes to ``neck.safetensors``, the classifier on top of it too, and timm then reads the network alone.

        Args:
            folder: where; it is made if need be, and other files in it stay.
            head: a linear classifier on the features, to be saved as timm's own; ``num_classes`` is then the
                number of its outputs. ``load`` leaves it out again; ``load_classifier`` does not.
            classes: the names of its outputs.

        Raises:
            InputError: if the model has no place for such a classifier.
            DiskError: if the disk refuses.
        """
        about = {
            "model": self.model,
            "size": self.size,
            "channels": self.channels,
            "width": self.width,
            "mean": self.mean,
            "std": self.std,
            "architecture": Spec.parse(self.model).name,
            "model_args": self.arguments,
            "num_classes": head.out_features if head and self.neck is None else 0,
            **({"label_names": list(classes)} if classes else {}),
        }
        if self.neck is None:
            weights = stored.with_classifier(self.net, head) if head else self.net.state_dict()
            return stored.write_encoder(Path(folder), weights, about)
        about["neck"] = {"widths": list(self.neck.widths), "num_classes": head.out_features if head else 0}
        parts = {"neck": self.neck, **({"head": head} if head else {})}
        after = {f"{part}.{name}": value for part, of in parts.items() for name, value in of.state_dict().items()}
        return stored.write_encoder(Path(folder), self.net.state_dict(), about, after)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        model: str | None = None,
        size: int | None = None,
        channels: int | None = None,
        drop_path: float = 0.0,
        neck: bool = True,
    ) -> Self:
        """Loads what ``save`` wrote, or another's checkpoint.

        Args:
            path: an encoder's folder, a run folder that contains ``encoder/``, or a weights file.
            model: which model a weights file is for; not needed for folders.
            size: another side of the pictures; learned positions are resampled (bicubic).
            channels: 1 or 3; the first layer's weights are summed (3 to 1) or repeated and divided by 3 (1 to 3).
            drop_path: as in the constructor; it is not part of what was saved.
            neck: whether the neck comes along, where one was saved; without it, features are the network's own.

        Raises:
            InputError: if there is no encoder, or the weights are another model's.
            CorruptError: if the weights are not those that were written, or those of the neck are missing.
        """
        given = {key: value for key, value in (("size", size), ("channels", channels)) if value is not None}
        if model is not None:
            encoder = cls(model, drop_path=drop_path, **given)
            load_weights(encoder, path)
            return encoder
        folder = stored.encoder_folder(Path(path))
        config = stored.read_config(folder)
        given = {"size": config["size"], "channels": config["channels"], **given}
        encoder = cls(config["model"], drop_path=drop_path, **given)
        encoder.mean, encoder.std = (stored.for_channels(config[key], encoder.channels) for key in ("mean", "std"))
        encoder._place(stored.read_verified(folder / "model.safetensors", config["sha256"]), str(folder))
        if neck and "neck" in config:
            weights, source = stored.read_neck(folder, config)["neck"], str(folder / "neck.safetensors")
            encoder.neck = rebuilt(config["neck"], weights, encoder.width, source)
            encoder.width = encoder.neck.widths[-1]
        return encoder

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

    def _check(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise InputError(f"{self.model!r} takes pictures [B, {self.channels}, S, S], got {list(x.shape)}")
        self.check_size(x.shape[2])
        self.check_size(x.shape[3])

    def _features(self, x: Tensor, keep: Tensor | None, hidden: Tensor | None, hole: Tensor | None) -> Tensor:
        """A model's last features: of the whole picture, of the patches kept, or with a hole for those hidden."""
        self._check(x)
        if keep is None and hidden is None:
            return self.net.forward_features(x)
        if (keep is not None and not self.maskable) or self.entry is None:
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
            return self.net.norm(self.net.layers(embedded))

        everything = self.net._pos_embed(embedded)  # positions are added before any patch is left out
        if keep is not None:
            first, rest = everything[:, : self.prefix], everything[:, self.prefix :]
            everything = torch.cat([first, rest.gather(1, keep[..., None].expand(-1, -1, rest.shape[-1]))], 1)
        return self.net.norm(self.net.blocks(self.net.norm_pre(everything)))

    def _pooled(self, features: Any) -> Tensor:
        pooled = self.net.forward_head(features, pre_logits=True)
        return pooled if self.neck is None else self.neck(pooled)

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
        fitted, notes = stored.fit(weights, self.net, self.patches, f"{source!r} does not fit {self.model!r}")
        self.net.load_state_dict(fitted)
        return notes

    @cached_property
    def _order(self) -> tuple[dict[str, int], int]:
        """Each parameter's layer, and the last layer's number."""
        layers, last = _timm.layers(self.net, self.model)
        return {f"net.{name}": layer for name, layer in layers.items()}, last


def load_weights(encoder: Encoder, path: str | Path) -> list[str]:
    """Loads another's checkpoint into an encoder and says what was changed on the way, one line each.

    A classifier is left out. Learned positions and Swin's relative biases are resampled to the encoder's size, and
    the first layer is adapted to its channels. Everything else must match in name and shape; if not, the encoder is
    left as it was.

    Raises:
        InputError: listing the names that are missing, unexpected or of another shape.
        CorruptError: if the file is damaged.
    """
    return encoder._place(read_weights(path), str(path))


def load_classifier(path: str | Path, *, size: int | None = None, channels: int | None = None) -> nn.Sequential:
    """The encoder and the linear classifier that ``Encoder.save(head=...)`` wrote, in evaluation mode.

    Args:
        path: the classifier's folder, such as ``runs/finetune-001/classifier``.
        size: another side of the pictures, as in ``Encoder.load``.
        channels: 1 or 3, likewise.

    Returns:
        A module from normalised pictures ``[B, channels, S, S]`` to logits ``[B, classes]``.

    Raises:
        InputError: if there is no classifier.
        CorruptError: if the weights are not those that were written.
    """
    encoder = Encoder.load(path, size=size, channels=channels)
    folder = stored.encoder_folder(Path(path))
    weights = stored.read_head(folder, stored.read_config(folder), encoder.net.state_dict())
    head = nn.Linear(encoder.width, len(weights["weight"]))
    head.load_state_dict(weights)
    return nn.Sequential(encoder, head).eval()


def names(pattern: str = "*") -> list[str]:
    """The names of timm's models that match a pattern such as ``vit_*``."""
    return timm.list_models(pattern)
