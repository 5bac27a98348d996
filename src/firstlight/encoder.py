"""The encoder: any timm classification model without its classifier; all else here sees timm through it alone.

Wightman, PyTorch Image Models. https://github.com/huggingface/pytorch-image-models
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, cast

import timm
import torch
from torch import Tensor, nn

from . import _timm, encoder_folder
from .errors import InputError, unknown
from .grid import Grid
from .neck import Neck, rebuilt
from .network import Network, Seen
from .reading import Reading, chosen
from .reading import rebuilt as read_again
from .spec import Spec
from .views.lab import as_colours, as_grey, lab_of
from .weights import read_weights

__all__ = ["Encoder", "load_weights", "names", "read_weights"]


class Encoder(Network):
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
        reading: the block where features are read (``read_at``), or the grid of patches whose mean they are
            (``read_patches``), if not those of the last block and of whole pictures; else None.
        colour: a second encoder, which sees the colours, while ``net`` sees the lightness (``add_colour``), or None.
        neck: layers on the pooled features that belong to the encoder too (``add_neck``), or None.

    Raises:
        InputError: for an unknown model or setting, a size that the model cannot take, or a model without pooled
            features.
    """

    def __init__(self, model: str | Spec, *, size: int = 224, channels: int = 3, drop_path: float = 0.0):
        super().__init__(model, size=size, channels=channels, drop_path=drop_path)
        self.mean: float | tuple[float, ...] = 0.5
        self.std: float | tuple[float, ...] = 0.5
        self.colour: Encoder | None = None
        self.neck: Neck | None = None
        self.reading: Reading | Grid | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Features ``[B, width]`` of normalised pictures ``[B, channels, S, S]``: pooled, then through the neck."""
        if self.reading is None:
            return self._pooled(self._each(x, Seen()))
        return self._read(x, Seen())

    def seen_whole(self, x: Tensor) -> Tensor:
        """Pooled features ``[B, width]`` of the network, without the neck, also where ``read_patches`` was called."""
        return self.net.forward_head(self._features(x, Seen(), self.causal), pre_logits=True)

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
        return _joined([part._flat(of) for part, of in self._each(x, Seen(keep, hidden, hole, beside))])

    def pooled_and_tokens(
        self, x: Tensor, hidden: Tensor | None = None, hole: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What ``forward`` and what ``tokens`` gives, in one pass."""
        seen = Seen(hidden=hidden, hole=hole)
        features = self._each(x, seen)
        tokens = _joined([part._flat(of) for part, of in features])
        return self._pooled(features) if self.reading is None else self._read(x, seen), tokens

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
            what = "a neck" if self.reading is None else self.reading.name
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

    def read_patches(self, count: int, least: int) -> None:
        """Reads features patch by patch from now on: the mean of those of overlapping patches, each seen by itself.

        As CPC is evaluated. ``tokens`` and ``maps`` are of the whole picture as before. Pictures that are smaller than
        the grid are enlarged. The arguments are those of ``Grid``.

        Raises:
            InputError: if the model takes one size only, or there is a second network or a block to read at already.
        """
        if not self.any_size:
            raise InputError(f"{self.model!r} takes one size and cannot be shown patches; choose a resnet or vit_")
        if self.colour is not None:
            raise InputError(f"{self.model!r} has a second network and sees whole pictures; load it with colour=False")
        if isinstance(self.reading, Reading):
            raise InputError(f"{self.model!r} has {self.reading.name} already; load it with neck=False")
        self.reading = Grid(count, least)

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
        return isinstance(self.reading, Reading) and self.reading.causal

    @property
    def layers(self) -> int:
        """The number of the last layer: the neck, or else the final norm, and every head on top of the encoder.

        Where features are read at a block, that block stands for the final norm.
        """
        order, last = self._order
        if isinstance(self.reading, Reading):
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
        second = self.colour.undecayed if self.colour is not None else set()
        return {f"net.{name}" for name in _timm.undecayed(self.net)} | {f"colour.{name}" for name in second}

    def save(self, folder: str | Path, *, head: nn.Linear | None = None, classes: Sequence[str] = ()) -> Path:
        """Writes ``model.safetensors`` and ``config.json``, each in one piece, and returns the folder.

        The weights are what ``timm.create_model(architecture, num_classes=0, **model_args, checkpoint_path=...)``
        reads; ``architecture`` and ``model_args`` stand in ``config.json``. A neck has no place in a timm model: it
        goes to ``neck.safetensors``, and so does a classifier on top of it or of a block inside the network. A second
        network goes to ``colour.safetensors``, with a classifier if there is no neck. timm reads the first alone.

        Args:
            folder: where; it is made if need be, and other files in it stay.
            head: a linear classifier on the features, to be saved as timm's own; ``num_classes`` is then the
                number of its outputs. ``load`` leaves it out again; ``classifier.load_classifier`` does not.
            classes: the names of its outputs.

        Raises:
            InputError: if the model has no place for such a classifier.
            DiskError: if the disk refuses.
        """
        about: dict[str, Any] = {
            "model": self.model,
            "size": self.size,
            "channels": self.channels,
            "width": self.width,
            "mean": self.mean,
            "std": self.std,
            "architecture": Spec.parse(self.model).name,
            "model_args": self.arguments,
            "num_classes": 0,
            **({"label_names": list(classes)} if classes else {}),
            **({"reading": asdict(self.reading)} if self.reading else {}),
        }
        beside: dict[str, dict[str, nn.Module]] = {}
        if self.colour is not None:
            beside["colour"], about["colour"] = {"net": self.colour.net}, {}
        if self.neck is not None:
            beside["neck"] = {"neck": self.neck}
            about["neck"] = {"widths": list(self.neck.widths)}
        elif head and self.reading is not None:  # it is on a block or on patches, where timm has no place for it
            beside["neck"], about["neck"] = {}, {}
        return encoder_folder.write_encoder(Path(folder), self.net, about, beside, head)

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
            neck: whether the neck and the block or the patches to read come along, where they were saved; without them,
                features are the network's own. What a block to read at leaves unused rests: it takes no gradients.
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
        folder = encoder_folder.folder_of(Path(path))
        config = encoder_folder.read_config(folder)
        given = {"size": config["size"], "channels": config["channels"], **given}
        encoder = cls(config["model"], drop_path=drop_path, **given)
        encoder.mean = encoder_folder.for_channels(config["mean"], encoder.channels)
        encoder.std = encoder_folder.for_channels(config["std"], encoder.channels)
        encoder._place(encoder_folder.read_verified(folder / "model.safetensors", config["sha256"]), str(folder))
        if colour and "colour" in config:
            encoder.add_colour()
            weights = encoder_folder.read_beside(folder, config, "colour", "net")
            cast("Encoder", encoder.colour)._place(weights, str(folder / "colour.safetensors"))
        neck = neck and (colour or "colour" not in config)
        if neck and "reading" in config:
            encoder.reading = read_again(config["reading"], encoder.net, encoder.model, str(folder / "config.json"))
            for part in encoder.reading.unused(encoder.net):
                part.requires_grad_(False)
        if neck and "neck" in config:
            weights, source = encoder_folder.read_beside(folder, config, "neck", "neck"), folder / "neck.safetensors"
            if weights or "widths" in config["neck"]:  # otherwise it is the classifier's file alone
                encoder.neck = rebuilt(config["neck"], weights, encoder.width, str(source))
                encoder.width = encoder.neck.widths[-1]
        return encoder

    def _shown(self, x: Tensor) -> list[tuple["Encoder", Tensor]]:
        """Whose network sees what of pictures: all of them, or the first the lightness and the second the colours."""
        self._check(x)
        if self.colour is None:
            return [(self, x)]
        lab = lab_of(x, self.mean, self.std)
        return [(self, as_grey(lab, self.mean, self.std).to(x.dtype)), (self.colour, as_colours(lab).to(x.dtype))]

    def _each(self, x: Tensor, seen: Seen) -> list[tuple["Encoder", Any]]:
        """Each network's last features."""
        return [(part, part._features(view, seen, part.causal)) for part, view in self._shown(x)]

    def _pooled(self, features: list[tuple["Encoder", Any]]) -> Tensor:
        return self._finished(_joined([part.net.forward_head(of, pre_logits=True) for part, of in features]))

    def _read(self, x: Tensor, seen: Seen) -> Tensor:
        """Features of a block, or the mean of those of patches, of which none can be hidden."""
        if isinstance(self.reading, Reading):
            return self._finished(self.reading(self.net, self._entered(x, seen)))
        if seen.hidden is not None:
            raise InputError(f"{self.model!r} is read patch by patch and can hide none; load it with neck=False")
        self._check(x)
        patches = cast("Grid", self.reading).over(x, self.multiple)
        return self._finished(self.seen_whole(patches.flatten(0, 1)).unflatten(0, patches.shape[:2]).mean(1))

    def _finished(self, pooled: Tensor) -> Tensor:
        return pooled if self.neck is None else self.neck(pooled)


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


def names(pattern: str = "*") -> list[str]:
    """The names of timm's models that match a pattern such as ``vit_*``."""
    return timm.list_models(pattern)
