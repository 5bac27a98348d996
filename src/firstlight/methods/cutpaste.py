"""CutPaste: tell pictures from pictures with a patch or a scar of themselves in the wrong place.

Li et al., "CutPaste: self-supervised learning for anomaly detection and localization", CVPR 2021.
https://arxiv.org/abs/2104.04015
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from ..neck import Neck
from ..parts.cutpaste import cut_and_pasted, scarred
from ..parts.heads import check_widths
from ..parts.losses import full
from ..ranges import Few, Width
from ..views import Batch, View
from . import Method, Optimisation


class CutPaste(Method):
    """Classifies each picture as it is, with a pasted patch, and with a scar: three classes, all three in every batch.

    Train it on normal pictures alone and judge it by ``evaluate --protocols anomaly``. What it learns is to see
    small damage, not what is shown.

    Differs from the paper: its pictures are moved at random, ours are cropped, resized and flipped; colours vary alike.
    Differs from the public code, which is not the authors': it begins with ImageNet's weights and keeps them as they
    are for the first steps; here all is trained from the start, and from whatever weights the encoder has.

    Args:
        encoder: any encoder.
        hidden: width of the head's hidden layers.
        layers: how many of them.
        dim: width of the head's last layer before the three classes.
    """

    views = (View(scale=(0.6, 1.0), jitter=(0.1, 0.1, 0.1, 0.1), jitter_p=1.0),)
    optimisation = Optimisation("sgd", lr=0.12, warmup=0.0, weight_decay=3e-5)  # .03 for a batch of 64

    def __init__(self, encoder: Encoder, *, hidden: Width = 512, layers: Few = 1, dim: Width = 128):
        super().__init__()
        check_widths("cutpaste", hidden=hidden, dim=dim)
        if layers < 0:
            raise InputError(f"cutpaste(layers={layers}): allowed is 0 and more; nearest: 0")
        self.encoder = encoder
        self.head = nn.Sequential(Neck([encoder.width, *[hidden] * layers, dim]), nn.Linear(dim, 3))

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        shown = torch.cat(list(self.reconstruct(batch).values()))
        label = torch.arange(3, device=shown.device).repeat_interleave(len(batch))

        logits = full(self.head(self.encoder(shown)))
        accuracy = (logits.argmax(1) == label).float().mean()
        return {"loss": F.cross_entropy(logits, label), "accuracy": accuracy}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        given = batch.views[0], batch.key, self.encoder.mean, self.encoder.std
        return {"picture": given[0], "cut and pasted": cut_and_pasted(*given), "scarred": scarred(*given)}
