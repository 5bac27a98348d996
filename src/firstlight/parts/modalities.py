"""Pictures and what else is known of their pixels, depth and classes, as tokens and as something to predict.

Bachmann et al., "MultiMAE", ECCV 2022. https://arxiv.org/abs/2204.01678
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import ranks
from ..encoder import Encoder
from ..views import Batch
from .decoder import initialise
from .losses import full
from .patches import patchify, standardised, unpatchify
from .positions import sincos

PALETTE = ((0.12, 0.47, 0.71), (1.0, 0.5, 0.05), (0.17, 0.63, 0.17), (0.84, 0.15, 0.16), (0.58, 0.4, 0.74),
           (0.55, 0.34, 0.29), (0.89, 0.47, 0.76), (0.5, 0.5, 0.5), (0.74, 0.74, 0.13), (0.09, 0.75, 0.81))  # fmt: skip
"""colours that are easily told apart, for pictures of classes"""


Given = tuple[Tensor, Tensor]
"""the numbers in each patch of a modality, ``[B, L, D]``, and which of them are known, bool of the same shape"""


class Modalities(nn.ModuleDict):
    """The picture, and its maps of depth and classes where there are any.

    Args:
        encoder: a Vision Transformer; it is not kept.
        depth: whether there are maps of depth.
        classes: how many classes there are maps of; 0 for none.
        standardise: as for ``Colours``.
    """

    position: Tensor

    def __init__(self, encoder: Encoder, *, depth: bool, classes: int, standardise: bool):
        patch, width = encoder.patch or 1, encoder.entry or encoder.token_width
        kinds: dict[str, nn.Module] = {"rgb": Colours(patch, encoder.channels, standardise)}
        kinds |= {"depth": Depths(patch, width)} if depth else {}
        super().__init__(kinds | ({"classes": Classes(patch, width, classes)} if classes else {}))
        self.register_buffer("position", sincos(width, encoder.size // patch), persistent=False)

    @property
    def each(self) -> list[tuple[str, Any]]:
        """The modalities with their names."""
        return list(self.items())

    @property
    def predicted(self) -> list[int]:
        """How many numbers are predicted for a patch of each."""
        return [kind.predicted for _, kind in self.each]

    def read(self, batch: Batch) -> list[Given]:
        """What the batch says of each; maps that it lacks are unknown everywhere."""
        view = batch.views[0]
        nothing = dict.fromkeys(self, torch.full_like(view[:, :1], -1))
        return [kind.read((nothing | batch.maps | {"rgb": view})[name]) for name, kind in self.each]

    def there(self, given: list[Given]) -> Tensor:
        """Which modalities each sample has, bool ``[B, M]``."""
        return torch.stack([known.flatten(1).any(1) for _, known in given], dim=1)

    def tokens(self, given: list[Given]) -> Tensor | None:
        """What stands beside the picture's patches, for the encoder, ``[B, (M - 1) L, width]``; None if nothing."""
        maps = [kind.embed(*read) + self.position for (_, kind), read in zip(self.each, given) if kind.embeds]
        return torch.cat(maps, dim=1) if maps else None

    def losses(self, given: list[Given], hidden: Tensor, painted: list[Tensor]) -> dict[str, Tensor]:
        """Each modality's mean error where it is known and hidden (bool ``[B, M, L]``), by name."""
        found = {}
        for (name, kind), (values, known), away, out in zip(self.each, given, hidden[..., None].unbind(1), painted):
            found[name] = mean_error(kind.error(out, values), known & away)
        return found

    def drawn(self, given: list[Given], hidden: Tensor, painted: list[Tensor], encoder: Encoder) -> dict[str, Tensor]:
        """Each modality as it is, as it was seen, and with what was predicted in the hidden places.

        All have the channels and the normalisation of the encoder's pictures; depth is grey, classes have colours.
        """
        out = {}
        for (name, kind), (values, known), away, said in zip(self.each, given, hidden[..., None].unbind(1), painted):
            filled = torch.where(away, kind.said(said, values).to(values.dtype), values)
            shown = ((values, known), (values, known & ~away), (filled, known | away))
            pictures = [kind.drawn(*pair) for pair in shown]
            pictures = [_as_view(picture, encoder) for picture in pictures] if kind.embeds else pictures
            title = "picture" if name == "rgb" else name
            out |= dict(zip((title, f"visible {title}", f"predicted {title}"), pictures))
        return out


class Colours(nn.Module):
    """Pictures, whose tokens are the encoder's own affair.

    Args:
        patch: side of a patch in pixels.
        channels: of the pictures.
        standardise: compare each patch with its own mean and variance removed.
    """

    embeds = False
    """whether it makes tokens"""

    def __init__(self, patch: int, channels: int, standardise: bool):
        super().__init__()
        self.patch, self.standardise, self.predicted = patch, standardise, patch**2 * channels

    def read(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """The colours; all are known."""
        values = patchify(view, self.patch)
        return values, torch.ones_like(values, dtype=torch.bool)

    def error(self, painted: Tensor, values: Tensor) -> Tensor:
        """Squared, ``[B, L, D]``."""
        return (painted - (standardised(values) if self.standardise else values)).square()

    def said(self, painted: Tensor, values: Tensor) -> Tensor:
        """What was predicted, in the place of ``values``; standardised patches get their true mean and deviation."""
        if not self.standardise:
            return painted
        return painted * (values.var(-1, keepdim=True) + 1e-6).sqrt() + values.mean(-1, keepdim=True)

    def drawn(self, values: Tensor, shown: Tensor) -> Tensor:
        """A picture ``[B, channels, S, S]``, zero where a number is not to be ``shown``."""
        return unpatchify(torch.where(shown, values, 0.0), self.patch)


class Depths(nn.Module):
    """Maps of depth, each with the mean and deviation of its middle 80 % removed, as published.

    Args:
        patch: side of a patch in pixels.
        width: of the encoder's tokens.
    """

    embeds = True

    def __init__(self, patch: int, width: int):
        super().__init__()
        self.patch, self.predicted = patch, patch**2
        self.enter = nn.Linear(patch**2, width)
        initialise(self)

    def read(self, maps: Tensor) -> Given:
        """Standardised depth, 0 where it was not measured."""
        values = patchify(maps, self.patch)
        return truncated(values.flatten(1), (values > 0).flatten(1)).view_as(values), values > 0

    def embed(self, values: Tensor, known: Tensor) -> Tensor:
        """Tokens ``[B, L, width]`` without positions."""
        return self.enter(values)

    def error(self, painted: Tensor, values: Tensor) -> Tensor:
        """Absolute, ``[B, L, D]``."""
        return (painted - values).abs()

    def said(self, painted: Tensor, values: Tensor) -> Tensor:
        """What was predicted, in the place of ``values``."""
        return painted

    def drawn(self, values: Tensor, shown: Tensor) -> Tensor:
        """Grey ``[B, 1, S, S]`` in -1..1, bright where far; black where a number is not to be ``shown``."""
        return unpatchify(torch.where(shown, (values / 3).clamp(-0.8, 1), -1.0), self.patch)


class Classes(nn.Module):
    """Maps of classes, of which each patch shows four by four places (fewer where it cannot be divided so).

    Args:
        patch: side of a patch in pixels.
        width: of the encoder's tokens.
        count: how many classes there are.
        dim: width of a class's embedding; 64 in the paper.
    """

    embeds = True

    def __init__(self, patch: int, width: int, count: int, dim: int = 64):
        super().__init__()
        self.cells = next(cells for cells in (4, 2, 1) if patch % cells == 0)
        self.stride, self.count, self.predicted = patch // self.cells, count, self.cells**2 * count
        self.embedding = nn.Embedding(count, dim)
        self.enter = nn.Linear(self.cells**2 * dim, width)
        initialise(self)

    def read(self, maps: Tensor) -> Given:
        """The class at the middle of each place, int64; other classes than those that were counted are unknown."""
        middle = self.stride // 2
        values = patchify(maps[:, :, middle :: self.stride, middle :: self.stride], self.cells).long()
        known = (values >= 0) & (values < self.count)
        return torch.where(known, values, 0), known

    def embed(self, values: Tensor, known: Tensor) -> Tensor:
        """Tokens ``[B, L, width]`` without positions; unknown classes are zeros."""
        return self.enter((self.embedding(values) * known[..., None]).flatten(2))

    def error(self, painted: Tensor, values: Tensor) -> Tensor:
        """Cross-entropy, ``[B, L, D]``."""
        logits = full(painted).unflatten(2, (-1, self.count))
        return F.cross_entropy(logits.flatten(0, 2), values.flatten(), reduction="none").view_as(values)

    def said(self, painted: Tensor, values: Tensor) -> Tensor:
        """The likeliest classes, in the place of ``values``."""
        return painted.unflatten(2, (-1, self.count)).argmax(-1)

    def drawn(self, values: Tensor, shown: Tensor) -> Tensor:
        """Colours ``[B, 3, S, S]`` in -1..1, black where a class is not to be ``shown``."""
        palette = torch.tensor(PALETTE, device=values.device)
        fade = 1 - 0.25 * (values // len(palette) % 4)[..., None]  # the eleventh class is a darker first
        colours = torch.where(shown[..., None], 2 * palette[values % len(palette)] * fade - 1, -1.0)
        cells = unpatchify(colours.flatten(2), self.cells)
        return cells.repeat_interleave(self.stride, 2).repeat_interleave(self.stride, 3)


def truncated(values: Tensor, known: Tensor, share: float = 0.1) -> Tensor:
    """Each row's known values without the mean and deviation of those that are neither lowest nor highest.

    Args:
        values: ``[B, N]``.
        known: bool ``[B, N]``; the others get 0.
        share: of the known ones, left out at either end.
    """
    count = known.sum(1, keepdim=True)
    cut = (share * count).floor().long()
    place = torch.arange(values.shape[1], device=values.device)
    middle = (place >= cut) & (place < count - cut)
    number = middle.sum(1, keepdim=True)

    ranked = values.masked_fill(~known, torch.inf).sort(1).values.masked_fill(~middle, 0)
    mean = ranked.sum(1, keepdim=True) / number.clamp(min=1)
    var = ((ranked - mean).square() * middle).sum(1, keepdim=True) / (number - 1).clamp(min=1)
    return torch.where(known, (values - mean) / (var + 1e-6).sqrt(), 0.0)


def mean_error(error: Tensor, counted: Tensor) -> Tensor:
    """The mean of each sample's errors that are counted, averaged over the samples of all ranks that have any.

    Args:
        error: ``[B, ...]``.
        counted: bool, of the same shape.

    Returns:
        a scalar whose mean over ranks is that of one process; 0 where nothing counts at all.
    """
    number = counted.flatten(1).sum(1)
    each = torch.where(counted, error, 0.0).flatten(1).sum(1) / number.clamp(min=1)
    return each.sum() / ranks.mean((number > 0).sum().to(each.dtype)).clamp(min=1 / ranks.world())


def _as_view(picture: Tensor, encoder: Encoder) -> Tensor:
    """From -1..1, grey or coloured, to the channels and the normalisation of the encoder's pictures."""
    mean, std = (torch.as_tensor(x).to(picture).view(1, -1, 1, 1) for x in (encoder.mean, encoder.std))
    picture = picture.mean(1, keepdim=True) if encoder.channels == 1 else picture
    return ((picture.expand(-1, encoder.channels, -1, -1) + 1) / 2 - mean) / std
