"""The encoder: any timm classification model without its classifier; nothing beside it knows timm's internals.

Wightman, PyTorch Image Models. https://github.com/huggingface/pytorch-image-models
"""

import fnmatch
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from . import _timm
from . import weights as stored
from .errors import InputError, unknown
from .neck import Neck, rebuilt
from .reading import Reading, chosen, through
from .reading import rebuilt as read_again
from .spec import Spec
from .views.lab import as_colours, as_grey, lab_of
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
        width: the number of features: the network's pooled ones, both networks', or what the neck puts out.
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
        reading: where features are read if not after the last block (``read_at``), or None.
        colour: a second encoder, which sees the colours, while ``net`` sees the lightness (``add_colour``), or None.
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

        self.drop_path = drop_path
        self.colour: Encoder | None = None
        self.neck: Neck | None = None
        self.reading: Reading | None = None
        self.width, (tokens, self.token_width) = self._tried()
        self.regions = tokens - self.prefix
        grid = (self.size // self.multiple) ** 2
        isotropic = self.multiple > 1 and self.regions == grid
        self.patch: int | None = self.multiple if isotropic else None
        self.patches: int | None = grid if isotropic else None

    def forward(self, x: Tensor) -> Tensor:
        """Features ``[B, width]`` of normalised pictures ``[B, channels, S, S]``: pooled, then through the neck."""
        if self.reading is None:
            return self._pooled(self._each(x))
        return self._finished(self.reading(self.net, self._entered(x)))

    def tokens(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        hidden: Tensor | None = None,
        hole: Tensor | None = None,
        beside: Tensor | None = None,
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
            beside: ``[B, M, entry]``, tokens of something else, their positions added, which are numbered after the
                patches; ``keep`` then chooses among all. Vision Transformers only (``maskable``).
        """
        return _joined([part._flat(of) for part, of in self._each(x, keep, hidden, hole, beside)])

    def pooled_and_tokens(
        self, x: Tensor, hidden: Tensor | None = None, hole: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What ``forward`` and what ``tokens`` gives, in one pass."""
        features = self._each(x, None, hidden, hole)
        tokens = _joined([part._flat(of) for part, of in features])
        if self.reading is None:
            return self._pooled(features), tokens
        read = self.reading(self.net, self._entered(x, None, hidden, hole))
        return self._finished(read), tokens

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

    def add_colour(self) -> None:
        """Adds a second network of the same kind, which trains and is saved with this one, and divides pictures.

        From now on the first network is shown the lightness L of CIE Lab as a grey picture of three channels, and the
        second one a and b, each scaled to -1..1, and a third channel of zeros. Features, tokens and maps are the first
        network's and then the second's, side by side, so that they are twice as wide.

        Raises:
            InputError: if there is a second network, a neck or a block to read at already, or the pictures are grey.
        """
        if self.channels != 3:
            raise InputError(f"{self.model!r} with channels=1 sees no colours for a second network; set channels=3")
        if self.colour is not None:
            raise InputError(f"{self.model!r} has a second network already; load it with colour=False")
        if self.neck is not None or self.reading is not None:
            what = "a neck" if self.neck is not None else "a block to read at"
            raise InputError(f"{self.model!r} has {what} already, and a second network comes before; load neck=False")
        self.colour = Encoder(self.model, size=self.size, drop_path=self.drop_path)
        self.width, self.token_width = 2 * self.width, 2 * self.token_width

    def read_at(self, block: int | None = None, *, causal: bool = False) -> None:
        """Reads features inside the network from now on: what enters the attention of a block, averaged over patches.

        That block and those behind it have no part in the features then, and fine-tuning uses what comes before. The
        network stays whole: ``tokens`` and ``maps`` go through all of it, and all of it is saved.

        Args:
            block: its number from 0; None for the middle one.
            causal: a token sees only itself and those before it, prefix first, in ``tokens`` and ``maps`` too.

        Raises:
            InputError: if the model is no plain Vision Transformer, has no such block, or has a second network.
        """
        if self.colour is not None:
            raise InputError(f"{self.model!r} has a second network and is read at the end; load it with colour=False")
        self.reading = chosen(self.net, block, causal, self.model)

    def level_patches(self) -> None:
        """Makes the layer that cuts the picture into patches see the mean colour of each patch alone.

        What it answers to patches of one colour stays as it is. Trained on such patches it keeps seeing the mean
        alone, since all pixels of a patch then have the same gradient.
        """
        weight = _timm.embedding(self.net).proj.weight
        weight.data.copy_(weight.data.mean((2, 3), keepdim=True).expand_as(weight))

    def freeze_patches(self) -> None:
        """Leaves the layer that cuts the picture into patches as it is (MoCo v3); a model without one stays."""
        embedding = _timm.embedding(self.net)
        if embedding is not None:
            embedding.requires_grad_(False)
        if self.colour is not None:
            self.colour.freeze_patches()

    def maps(self, x: Tensor, last: int | None = None) -> list[Tensor]:
        """Feature maps ``[B, C, H, W]`` of every stage (convolutional, hierarchical) or block, first to last.

        Prefix tokens are left out, and the final norm is not applied.

        Args:
            x: normalised pictures ``[B, channels, S, S]``.
            last: how many of the last ones are wanted; all by default.

        Raises:
            InputError: if timm cannot give this model's.
        """
        if not hasattr(self.net, "forward_intermediates"):
            raise InputError(f"{self.model!r} gives no feature maps")
        how = {"indices": last, "intermediates_only": True} | ({"is_causal": True} if self.causal else {})
        found = [part.net.forward_intermediates(view, **how) for part, view in self._shown(x)]
        return [_joined(list(maps), dim=1) for maps in zip(*found)]

    @property
    def causal(self) -> bool:
        """Whether a token sees only itself and those before it (``read_at``)."""
        return self.reading is not None and self.reading.causal

    @property
    def layers(self) -> int:
        """The number of the last layer: the neck, or else the final norm, and every head on top of the encoder.

        Where features are read at a block, that block stands for the final norm.
        """
        order, last = self._order
        if self.reading is not None:
            last = order[f"net.blocks.{self.reading.block}.norm1.weight"]
        return last + (self.neck is not None)

    def layer_of(self, parameter_name: str) -> int:
        """The depth of a parameter, for layer-wise learning rates: 0 for stem and embeddings, up to ``layers``.

        Blocks count from 1. A name is as in ``named_parameters()``: ``net.blocks.0.norm1.weight``.

        Raises:
            InputError: if there is no such parameter, or timm does not say how the model's are ordered.
        """
        order, _ = self._order
        if self.colour is not None:
            order = order | {f"colour.{name}": layer for name, layer in order.items()}
        if self.neck is not None:
            order = order | {f"neck.{name}": self.layers for name, _ in self.neck.named_parameters()}
        if parameter_name not in order:
            raise unknown("parameter of the encoder", parameter_name, order)
        return order[parameter_name]

    @property
    def undecayed(self) -> set[str]:
        """Names of parameters that take no weight decay by the model's own account (positions, class token, ...)."""
        listed = getattr(self.net, "no_weight_decay", set)()
        found = (name for name, _ in self.net.named_parameters() if any(fnmatch.fnmatch(name, p) for p in listed))
        second = self.colour.undecayed if self.colour is not None else set()
        return {f"net.{name}" for name in found} | {f"colour.{name}" for name in second}

    def save(self, folder: str | Path, *, head: nn.Linear | None = None, classes: Sequence[str] = ()) -> Path:
        """Writes ``model.safetensors`` and ``config.json``, each in one piece, and returns the folder.

        The weights are what ``timm.create_model(architecture, num_classes=0, **model_args, checkpoint_path=...)``
        reads; ``architecture`` and ``model_args`` stand in ``config.json``. A neck has no place in a timm model: it
        goes to ``neck.safetensors``, and so does a classifier on top of it or of a block inside the network. A second
        network goes to ``colour.safetensors``, with a classifier if there is no neck. timm reads the first alone.

        Args:
            folder: where; it is made if need be, and other files in it stay.
            head: a linear classifier on the features, to be saved as timm's own; ``num_classes`` is then the
                number of its outputs. ``load`` leaves it out again; ``load_classifier`` does not.
            classes: the names of its outputs.

        Raises:
            InputError: if the model has no place for such a classifier.
            DiskError: if the disk refuses.
        """
        apart = any(part is not None for part in (self.neck, self.reading, self.colour))
        about: dict[str, Any] = {
            "model": self.model,
            "size": self.size,
            "channels": self.channels,
            "width": self.width,
            "mean": self.mean,
            "std": self.std,
            "architecture": Spec.parse(self.model).name,
            "model_args": self.arguments,
            "num_classes": head.out_features if head and not apart else 0,
            **({"label_names": list(classes)} if classes else {}),
            **({"reading": asdict(self.reading)} if self.reading else {}),
        }
        weights = stored.with_classifier(self.net, head) if head and not apart else self.net.state_dict()
        beside: dict[str, dict[str, nn.Module]] = {}
        if self.colour is not None:
            beside["colour"], about["colour"] = {"net": self.colour.net}, {"num_classes": 0}
        if self.neck is not None or (head and self.reading is not None):
            beside["neck"] = {"neck": self.neck} if self.neck is not None else {}
            widths = {"widths": list(self.neck.widths)} if self.neck is not None else {}
            about["neck"] = {**widths, "num_classes": 0}
        if head and apart:
            last = list(beside)[-1]
            beside[last]["head"], about[last]["num_classes"] = head, head.out_features
        files = {
            file: {f"{part}.{name}": value for part, of in parts.items() for name, value in of.state_dict().items()}
            for file, parts in beside.items()
        }
        return stored.write_encoder(Path(folder), weights, about, files)

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
        colour: bool = True,
    ) -> Self:
        """Loads what ``save`` wrote, or another's checkpoint.

        Args:
            path: an encoder's folder, a run folder that contains ``encoder/``, or a weights file.
            model: which model a weights file is for; not needed for folders.
            size: another side of the pictures; learned positions are resampled (bicubic).
            channels: 1 or 3; the first layer's weights are summed (3 to 1) or repeated and divided by 3 (1 to 3).
            drop_path: as in the constructor; it is not part of what was saved.
            neck: whether the neck and the block to read at come along, where they were saved; without them, features
                are the network's own. What a block to read at leaves unused rests: it takes no gradients.
            colour: whether the second network comes along, where one was saved; a neck does not come without it.
                Without it, the first network has learned from grey pictures and is given the pictures as they are.

        Raises:
            InputError: if there is no encoder, the weights are another model's, or ``channels`` is 1 and there is a
                second network for colours.
            CorruptError: if the weights are not those that were written, or those beside the first are missing.
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
        if colour and "colour" in config:
            encoder.add_colour()
            weights, source = stored.read_after(folder, config, "colour")["net"], str(folder / "colour.safetensors")
            cast("Encoder", encoder.colour)._place(weights, source)
        neck = neck and (colour or "colour" not in config)
        if neck and "reading" in config:
            encoder.reading = read_again(config["reading"], encoder.net, encoder.model, str(folder / "config.json"))
            for part in encoder.reading.unused(encoder.net):
                part.requires_grad_(False)
        if neck and "neck" in config:
            weights, source = stored.read_after(folder, config, "neck")["neck"], str(folder / "neck.safetensors")
            if weights or "widths" in config["neck"]:  # otherwise it is the classifier's file alone
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

    def _shown(self, x: Tensor) -> list[tuple["Encoder", Tensor]]:
        """Whose network sees what of pictures: all of them, or the first the lightness and the second the colours."""
        self._check(x)
        if self.colour is None:
            return [(self, x)]
        lab = lab_of(x, self.mean, self.std)
        return [(self, as_grey(lab, self.mean, self.std).to(x.dtype)), (self.colour, as_colours(lab).to(x.dtype))]

    def _each(self, x: Tensor, *given: Tensor | None) -> list[tuple["Encoder", Any]]:
        """Each network's last features."""
        return [(part, part._features(view, *given)) for part, view in self._shown(x)]

    def _features(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        hidden: Tensor | None = None,
        hole: Tensor | None = None,
        beside: Tensor | None = None,
    ) -> Tensor:
        """A model's last features: of the whole picture, of the patches kept, or with a hole for those hidden."""
        if keep is None and hidden is None and beside is None and not self.causal:
            self._check(x)
            return self.net.forward_features(x)
        entered = self._entered(x, keep, hidden, hole, beside)
        if not self.maskable:
            return self.net.norm(self.net.layers(entered))
        return self.net.norm(through(self.net.blocks, entered, self.causal))

    def _entered(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        hidden: Tensor | None = None,
        hole: Tensor | None = None,
        beside: Tensor | None = None,
    ) -> Tensor:
        """What enters the first block of a Vision Transformer, or the first stage of a Swin."""
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

    def _pooled(self, features: list[tuple["Encoder", Any]]) -> Tensor:
        return self._finished(_joined([part.net.forward_head(of, pre_logits=True) for part, of in features]))

    def _finished(self, pooled: Tensor) -> Tensor:
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


def _joined(parts: list[Tensor], dim: int = -1) -> Tensor:
    """What the networks give, side by side."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


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
