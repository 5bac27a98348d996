"""Small networks between an encoder and a loss; they are thrown away after training."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from ..neck import Neck


def projector(width: int, hidden: int, dim: int, layers: int = 2) -> nn.Sequential:
    """SimCLR's projection: ``layers - 1`` times (Linear, batch norm, ReLU), then Linear and batch norm.

    Chen et al., ICML 2020. https://arxiv.org/abs/2002.05709

    No linear layer has a bias: the batch norm after it would cancel it. The last batch norm scales but does not
    shift, as published.

    Args:
        width: of the features that come in.
        hidden: of the layers between.
        dim: of the projections that come out.
        layers: the number of linear layers; 2 in the first paper, 3 in the second.
    """
    check_widths("a head", hidden=hidden, dim=dim, layers=layers)
    steps = Neck([width, *[hidden] * (layers - 1)])
    last = nn.BatchNorm1d(dim)
    last.bias.requires_grad_(False)  # zero, and stays so
    return nn.Sequential(*steps, nn.Linear(hidden if layers > 1 else width, dim, bias=False), last)


def mlp(
    width: int,
    hidden: int,
    dim: int,
    layers: int = 2,
    *,
    norm: bool = True,
    bias: bool = False,
    last_bias: bool = False,
    last_norm: bool = False,
) -> nn.Sequential:
    """Linear layers with (batch norm and) ReLU between them: what the papers call projector or predictor.

    Args:
        width: of the features that come in.
        hidden: of the layers between.
        dim: of what comes out.
        layers: the number of linear layers.
        norm: batch norm after every layer but the last.
        bias: of every linear layer but the last.
        last_bias: of the last.
        last_norm: batch norm without scale and shift at the end.
    """
    check_widths("a head", hidden=hidden, dim=dim, layers=layers)
    steps: list[nn.Module] = []
    for entry in [width, *[hidden] * (layers - 2)][: layers - 1]:
        steps += [nn.Linear(entry, hidden, bias=bias), *([nn.BatchNorm1d(hidden)] if norm else []), nn.ReLU()]
    steps.append(nn.Linear(hidden if layers > 1 else width, dim, bias=last_bias))
    return nn.Sequential(*steps, *([nn.BatchNorm1d(dim, affine=False)] if last_norm else []))


class PrototypeHead(nn.Module):
    """DINO's head: three layers to a narrow bottleneck, then the cosine with each of many learned directions.

    Caron et al., ICCV 2021. https://arxiv.org/abs/2104.14294

    The published last layer is weight-normalised with its gain frozen at 1, which is a linear layer whose rows are
    normalised: written so, it copies and saves like any other.

    Args:
        width: of the features that come in.
        hidden: of the two layers between.
        bottleneck: the width in which directions are compared.
        prototypes: the number of directions.
    """

    def __init__(self, width: int, hidden: int, bottleneck: int, prototypes: int):
        super().__init__()
        check_widths("a head", hidden=hidden, bottleneck=bottleneck)
        if prototypes < 2:
            raise InputError(f"prototypes={prototypes}: a picture is told apart by 2 or more; nearest: 2")
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.last = nn.Linear(bottleneck, prototypes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Cosines with the prototypes, ``[B, prototypes]``, of ``features [B, width]``."""
        return F.linear(F.normalize(self.layers(features), dim=-1), F.normalize(self.last.weight, dim=-1))


class Repair(nn.Module):
    """Paints a picture from its tokens: three layers for each, then a transposed convolution of its patch.

    Atito et al., "SiT", 2021. https://arxiv.org/abs/2104.03602

    Args:
        width: of a token.
        channels: of the picture.
        patch: the side of what a token stands for, in pixels.
    """

    def __init__(self, width: int, channels: int, patch: int):
        super().__init__()
        self.layers = nn.Sequential(*(step for _ in range(3) for step in (nn.Linear(width, width), nn.GELU())))
        self.paint = nn.ConvTranspose2d(width, channels, patch, stride=patch)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pictures ``[B, channels, S, S]`` of tokens ``[B, N, width]``, N a square number."""
        grid = round(tokens.shape[1] ** 0.5)
        return self.paint(self.layers(tokens).mT.unflatten(2, (grid, grid)))


class WithTokens(nn.Module):
    """An encoder with one head for the picture as a whole and one for its tokens: what a momentum copy is made of.

    Args:
        encoder: any encoder.
        head: of the pooled features.
        token_head: of the tokens, prefix tokens left out; the same ``head`` if None.
    """

    def __init__(self, encoder: Encoder, head: nn.Module, token_head: nn.Module | None = None):
        super().__init__()
        self.encoder, self.head, self.token_head = encoder, head, token_head

    def forward(self, pictures: Tensor, chosen: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs for pictures ``[B, K]`` and for tokens ``[B, N, K]``, and those tokens ``[B, N, D]``.

        Args:
            pictures: ``[B, C, S, S]``.
            chosen: bool ``[B, N]``, the tokens wanted; theirs are then ``[M, K]`` and ``[M, D]``.
        """
        pooled, tokens = self.encoder.pooled_and_tokens(pictures)
        tokens = tokens[:, self.encoder.prefix :]
        tokens = tokens if chosen is None else tokens[chosen]
        return self.head(pooled), (self.token_head or self.head)(tokens), tokens


class OverPatches(nn.Module):
    """An encoder with a head on the mean of its patches before the final norm: CMAE's target is a copy of one.

    Args:
        encoder: a ViT.
        head: from tokens' width.
    """

    def __init__(self, encoder: Encoder, head: nn.Module):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, pictures: Tensor) -> Tensor:
        """What the head makes of pictures ``[B, C, S, S]``."""
        return self.head(self.encoder.maps(pictures, last=1)[0].mean((2, 3)))


def check_widths(whose: str, **given: int) -> None:
    """Refuses widths and numbers of layers below 1.

    Raises:
        InputError: naming the setting.
    """
    for name, value in given.items():
        if value < 1:
            raise InputError(f"{whose} with {name}={value}: allowed is 1 and more; nearest: 1")
