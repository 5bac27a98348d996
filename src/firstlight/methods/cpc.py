"""CPC: read a picture from the top, patch by patch, and predict the rows to come.

van den Oord et al., 2018. https://arxiv.org/abs/1807.03748
CPC v2: Hénaff et al., ICML 2020. https://arxiv.org/abs/1905.09272
"""

import torch
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from ..parts.future import Future, Overlapping
from ..parts.heads import check_widths
from ..parts.losses import spread
from ..ranges import Layers, Several, Share, Side, Width
from ..views import Batch, View
from . import Method, Optimisation


class CPC(Method):
    """The encoder sees overlapping patches one by one; a context of the rows above finds each patch among all others.

    The others are those of all pictures of the batch, of all ranks, and of the picture itself. Small pictures are
    shown enlarged, so that patches have enough pixels. Batch norm lets the task be solved by what a batch's patches
    share (v2): prefer an encoder without, such as a vit_, convnext_ or resnet50_gn. The context has none.

    As in the paper, features are the mean of those of a picture's patches from then on (``Encoder.read_patches``), at
    about three times the cost of whole pictures; ``Encoder.load(..., neck=False)`` shows it whole pictures again.

    Differs from the paper: a patch is not shifted within its place. v2's shears and rotations of patches are left out.

    Args:
        encoder: any encoder that accepts pictures as small as a patch.
        grid: patches along a side, each overlapping the next by half: 7 of 64 pixels at 256 in the paper.
        patch: the least side of a patch in pixels; of larger pictures, what covers them: 2 / (grid + 1) of their side.
        steps: how many rows ahead to predict, at most: 5 in the paper,
        first: and how many at least; with 1, the overlap gives half of the answer away.
        directions: 1: from the top, as in v1; 4: from all sides, as in v2, each with a context of its own.
        drop: the probability that a patch shows one of its colour channels alone, as in v2; 0 in v1.
        flip: the probability that a patch is flipped left-right, each by itself: .5 in v2, 0 in v1. The overlap of two
            patches gives less away then; of small pictures no more was learned so.
        dim: width in which patches are compared.
        hidden: width of the context's blocks.
        depth: of the context.
    """

    views = (View(scale=(0.34, 1.0), ratio=(1.0, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), gray=0.2),)
    optimisation = Optimisation(lr=1e-3, warmup=0.05, weight_decay=0.05)

    def __init__(
        self, encoder: Encoder, *, grid: Several = 3, patch: Side = 16, steps: Layers = 2, first: Layers = 2,
        directions: int = 4, drop: Share = 0.5, flip: Share = 0.0, dim: Width = 64, hidden: Width = 128,
        depth: Layers = 3,
    ):  # fmt: skip
        super().__init__()
        if not 1 <= first <= steps < grid or directions not in (1, 4):
            given = f"first={first}, steps={steps}, grid={grid}, directions={directions}"
            raise InputError(f"cpc({given}): allowed are 1 <= first <= steps < grid, 1 or 4; try 2, 2, 3, 4")
        check_widths("cpc", dim=dim, hidden=hidden, depth=depth)
        self.patches = Overlapping(encoder, "cpc", grid, patch, drop, flip)
        self.views = (self.patches.view(self.views[0]),)
        encoder.read_patches(grid, patch)
        self.encoder = encoder
        how = {"hidden": hidden, "depth": depth, "steps": steps, "first": first}
        self.futures = nn.ModuleList(Future(encoder.width, dim, **how) for _ in range(directions))

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = self.encoder.seen_whole(self.patches(batch.views[0], batch.key))
        grid = features.unflatten(0, (len(batch), self.patches.grid.count, self.patches.grid.count))

        found = [future(grid.rot90(turn, (1, 2))) for turn, future in enumerate(self.futures)]
        loss, right = (torch.stack(each).mean() for each in zip(*found))
        return {"loss": loss, "accuracy": right, "feature_std": spread(features)}
