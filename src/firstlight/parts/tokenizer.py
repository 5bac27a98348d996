"""Tokenizers: what turns a picture into a grid of codes, trained here (`dvae`) or DALL-E's, and back where it can.

Ramesh et al., ICML 2021. https://arxiv.org/abs/2102.12092; Bao et al., ICLR 2022. https://arxiv.org/abs/2106.08254
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import encoder_folder
from ..encoder import Encoder
from ..errors import CorruptError, InputError
from . import dalle
from .losses import full
from .unfolding import Colours, Unfolding, resized, unsqueezed

TRAIN = (
    "train one with 'firstlight pretrain --method dvae --data PICTURES --model vit_tiny_patch16_224' and give its run, "
    "tokenizer='runs/pretrain-001', or a file of the weights of DALL-E's public encoder"
)
SIZES = ("entry", "codes", "width", "depth", "stride", "channels")
LARGEST = 1_000_000
"""as many codes as `dvae` may have"""


class Codes(nn.Module):
    """From an encoder's tokens to codes, and from codes to pixels.

    Args:
        entry: width of the tokens.
        codes: how many there are.
        width: of a code's vector, and channels of the decoder's first map.
        depth: the decoder's residual blocks at each resolution.
        stride: pixels along a side for each token.
        channels: of the pictures.

    Raises:
        InputError: for fewer than 2 codes, no width or a negative depth.
    """

    def __init__(self, entry: int, codes: int, width: int, depth: int, stride: int, channels: int):
        super().__init__()
        if codes < 2 or width < 1 or depth < 0:
            given = f"codes={codes}, width={width}, depth={depth}"
            raise InputError(f"codes with {given}: allowed are 2, 1, and 0 and more; try 512, 128 and 1")
        self.count, self.about = codes, dict(zip(SIZES, (entry, codes, width, depth, stride, channels)))
        self.logits = nn.Linear(entry, codes)
        self.book = nn.Parameter(torch.randn(codes, width))
        self.decoder = Unfolding(width, 2 * channels, stride, depth=depth)

    def paint(self, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the scale of each pixel's logit, ``[B, channels, S, S]``.

        Args:
            shares: how much of each code there is at each place, ``[B, N, codes]``, N a square number.
        """
        grid = math.isqrt(shares.shape[1])
        mean, spread = self.decoder((shares @ self.book).mT.unflatten(2, (grid, grid))).chunk(2, dim=1)
        return full(mean), full(spread)

    def pictures(self, codes: Tensor) -> Tensor:
        """What codes ``[B, N]`` look like, ``[B, channels, S, S]`` in 0..1."""
        shares = nn.functional.one_hot(codes, self.count).to(self.book.dtype)
        return unsqueezed(self.paint(shares)[0].sigmoid())

    def save(self, folder: Path) -> None:
        """Adds ``codes.safetensors`` to the folder of the encoder whose tokens these are codes of."""
        encoder_folder.write_beside(folder, "codes", self.state_dict(), self.about)


class Tokenizer(nn.Module):
    """A trained tokenizer that is only looked at: frozen, in evaluation mode, never in half precision.

    It sees the pictures of the encoder that is trained, resampled to the side at which it makes as many codes as that
    one makes tokens.

    Args:
        path: the run or encoder's folder of a `dvae`, or a file of the weights of DALL-E's public encoder.
        like: the encoder that is trained.

    Attributes:
        count: how many codes there are.
        decodes: whether ``pictures`` works; DALL-E's decoder is a file of its own.

    Raises:
        InputError: if there is no tokenizer, or it cannot make as many codes; it says how to train one.
        CorruptError: if its weights are not those that were written.
    """

    def __init__(self, path: str, like: Encoder):
        super().__init__()
        if not path:
            raise InputError(f"tokenizer={path!r}: there is none; {TRAIN}")
        grid = math.isqrt(like.regions)
        file = Path(path)
        if file.is_file() and file.name != "model.safetensors":
            self.net: Any = dalle.read(file)
            self.channels = 3
        else:
            self.net = _Trained(file, grid)
            self.channels = self.net.encoder.channels
        self.count, self.decodes = self.net.count, isinstance(self.net, _Trained)
        self.side, self.size, self.shown = grid * self.net.stride, like.size, like.channels
        self.colours = Colours(like)
        self.requires_grad_(False).train()

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Codes, int64 ``[B, N]``, row by row, of pictures ``[B, C, S, S]`` that are normalised for ``like``."""
        with torch.autocast(pictures.device.type, enabled=False):
            seen = _channels(self.colours(full(pictures)), self.channels)
            return self.net(resized(seen, self.side).clamp(0, 1)).argmax(-1)

    @torch.no_grad()
    def pictures(self, codes: Tensor) -> Tensor:
        """What codes ``[B, N]`` look like, in the size and normalisation of ``like``."""
        with torch.autocast(codes.device.type, enabled=False):
            painted = _channels(self.net.codes.pictures(codes), self.shown)
            return self.colours.normalised(resized(painted, self.size))

    def train(self, mode: bool = True) -> "Tokenizer":
        """Stays in evaluation mode."""
        return super().train(False)


class _Trained(nn.Module):
    """An encoder and its codes, as `dvae` left them."""

    def __init__(self, path: Path, grid: int):
        super().__init__()
        folder = encoder_folder.folder_of(path)
        config = encoder_folder.read_config(folder)
        about = config.get("codes")
        if about is None:
            raise InputError(f"{str(path)!r} is an encoder without codes, no tokenizer; {TRAIN}")
        self.codes = _rebuilt(about, encoder_folder.read_beside(folder, config, "codes"), folder)
        self.stride, self.count = about["stride"], about["codes"]
        self.encoder = Encoder.load(folder, size=grid * self.stride, neck=False)
        if self.encoder.regions != grid * grid:
            made = f"{self.encoder.regions} codes of a picture of {grid * self.stride} pixels"
            raise InputError(f"{str(path)!r} makes {made}, and {grid}x{grid} are needed; train a tokenizer alike")
        self.colours = Colours(self.encoder)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits ``[B, N, codes]`` of pictures ``[B, C, S, S]`` in 0..1."""
        tokens = self.encoder.tokens(self.colours.normalised(pictures))
        return self.codes.logits(tokens[:, self.encoder.prefix :])


def stride(encoder: Encoder, method: str) -> int:
    """Pixels along a side for each of an encoder's tokens.

    Raises:
        InputError: if they are no square grid of 2x2 or more, or the grid does not divide the picture.
    """
    grid = math.isqrt(encoder.regions)
    if grid < 2 or grid**2 != encoder.regions or encoder.size % grid:
        made = f"{encoder.model!r} makes {encoder.regions} tokens of {encoder.size}x{encoder.size} pixels"
        raise InputError(
            f"{method} needs a square grid of 2x2 tokens or more, and {made}; take a larger size, or a vit_ such as "
            "'vit_tiny_patch16_224(patch_size=4)'"
        )
    return encoder.size // grid


def _rebuilt(about: dict[str, Any], found: dict[str, Tensor], folder: Path) -> Codes:
    sizes: list[Any] = [about.get(name) for name in SIZES]
    source = str(folder / "codes.safetensors")
    if not all(type(size) is int and 0 <= size <= LARGEST for size in sizes):
        raise CorruptError(f"{source!r}: its sizes {', '.join(SIZES)} must be whole numbers, got {sizes}")
    with torch.device("meta"):  # nothing is allocated before the shapes are known to be right
        codes = Codes(**dict(zip(SIZES, sizes)))
    shapes = {name: value.shape for name, value in codes.state_dict().items()}
    if shapes != {name: value.shape for name, value in found.items()}:
        raise CorruptError(f"{source!r} does not hold codes of the sizes {dict(zip(SIZES, sizes))}")
    codes.load_state_dict(found, assign=True)
    return codes


def _channels(pictures: Tensor, channels: int) -> Tensor:
    """Pictures with 1 or 3 channels."""
    if pictures.shape[1] == channels:
        return pictures
    return pictures.expand(-1, 3, -1, -1) if channels == 3 else pictures.mean(1, keepdim=True)
