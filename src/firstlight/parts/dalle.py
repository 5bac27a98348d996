"""The public encoder of DALL-E's discrete VAE, whose 8192 codes BEiT predicts: architecture, and safe loading.

Ramesh et al., ICML 2021. https://arxiv.org/abs/2102.12092, code and weights: https://github.com/openai/DALL-E
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..weights import read_weights
from .unfolding import squeezed

STRIDE = 8
LAYERS = 8
"""residual blocks; each adds its change divided by the square of their number"""
CONVERT = (
    "the public encoder.pkl holds a pickled module, which would run code when it is read. Where you trust it, with the "
    "package dall_e installed: torch.save(torch.load('encoder.pkl', weights_only=False).state_dict(), 'encoder.pt')"
)


class DallE(nn.Module):
    """Four groups of two residual blocks with maximum pooling between: ``[B, 3, S, S]`` to logits at stride 8.

    Names of weights are the public ones, but ``weight`` and ``bias`` for their ``w`` and ``b``. Built and tested from
    the description; the public weights were not at hand.

    Args:
        hidden: channels of the first group, doubled in each of the next: 256 in the public encoder.
        codes: 8192 in the public encoder.
        device: where its weights are made.
    """

    stride = STRIDE

    def __init__(self, hidden: int = 256, codes: int = 8192, device: str | None = None):
        super().__init__()
        self.count = codes
        self.blocks = nn.Sequential()
        self.blocks.add_module("input", nn.Conv2d(3, hidden, 7, padding=3, device=device))
        entry = hidden
        for number in range(1, 5):
            width = hidden * 2 ** (number - 1)
            group = nn.Sequential()
            group.add_module("block_1", _Block(entry, width, device))
            group.add_module("block_2", _Block(width, width, device))
            if number < 4:
                group.add_module("pool", nn.MaxPool2d(2))
            self.blocks.add_module(f"group_{number}", group)
            entry = width
        output = nn.Sequential()
        output.add_module("relu", nn.ReLU())
        output.add_module("conv", nn.Conv2d(entry, codes, 1, device=device))
        self.blocks.add_module("output", output)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits ``[B, N, codes]``, row by row, of pictures ``[B, 3, S, S]`` in 0..1."""
        return self.blocks(squeezed(pictures)).flatten(2).mT


class _Block(nn.Module):
    def __init__(self, entry: int, width: int, device: str | None):
        super().__init__()
        inner = width // 4
        self.id_path = nn.Identity() if entry == width else nn.Conv2d(entry, width, 1, device=device)
        self.res_path = nn.Sequential()
        for number, (come, go, kernel) in enumerate(
            ((entry, inner, 3), (inner, inner, 3), (inner, inner, 3), (inner, width, 1)), start=1
        ):
            self.res_path.add_module(f"relu_{number}", nn.ReLU())
            convolution = nn.Conv2d(come, go, kernel, padding=kernel // 2, device=device)
            self.res_path.add_module(f"conv_{number}", convolution)

    def forward(self, x: Tensor) -> Tensor:
        return self.id_path(x) + self.res_path(x) / LAYERS**2


def read(path: Path) -> DallE:
    """The encoder from a file of its weights, under the public names.

    Raises:
        InputError: if there is no such file, it is of another kind or holds something else; it says how to convert.
        CorruptError: if it is damaged.
    """
    try:
        found = read_weights(path)
    except InputError as error:
        raise InputError(f"{error}. If this is DALL-E's encoder: {CONVERT}") from None
    endings = {"w": "weight", "b": "bias"}
    weights = {}
    for name, value in found.items():
        stem, _, last = name.rpartition(".")
        weights[f"{stem}.{endings.get(last, last)}"] = value.float()
    first, last = (weights.get(f"blocks.{name}.weight", torch.empty(0, 0)) for name in ("input", "output.conv"))
    net = DallE(max(4, len(first) // 4 * 4), max(1, len(last)), device="meta")
    shapes = {name: value.shape for name, value in net.state_dict().items()}
    if shapes != {name: value.shape for name, value in weights.items()}:
        wanted = f"{len(shapes)} tensors from blocks.input.w to blocks.output.conv.b"
        raise InputError(
            f"{str(path)!r} does not hold DALL-E's encoder: expected {wanted}, got {len(found)}, such as "
            f"{', '.join(sorted(found)[:3]) or 'none'}. A tokenizer of your own is given as its run or encoder's folder"
        )
    net.load_state_dict(weights, assign=True)
    return net
