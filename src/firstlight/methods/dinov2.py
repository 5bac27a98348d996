"""DINOv2: iBOT with features spread out, and prototypes used evenly.

Oquab et al., TMLR 2024. https://arxiv.org/abs/2304.07193
"""

from typing import Literal

import torch
from torch import Tensor

from ..encoder import Encoder
from ..parts.crops import crops, each
from ..parts.heads import PrototypeHead, WithTokens
from ..parts.holes import Holes
from ..parts.losses import distillation, entropy, koleo, patch_distillation, spread
from ..parts.momentum import Momentum
from ..parts.targets import Targets
from ..ranges import Embedding, Few, Several, Share, Temperature, Temperatures, Weight, Width
from ..views import MULTI_CROP, Batch
from . import Method, Optimisation


class DINOv2(Method):
    """As iBOT, with features spread out; holes of 4 patches or more, over .1 to .5 of half of the large crops.

    Differs from the public code: neighbours in all processes; own share of holes for each picture; crops part at .4;
    the rate grows with the batch. Theirs: hidden=2048, bottleneck=256, prototypes=65536, momentum=.992, warming to .07;
    and of the encoder, which is given: drop_path=.3, the same for all blocks, and LayerScale (init_values=1e-5).

    Args:
        encoder: a ViT or a Swin.
        small: how many small crops; None for the published 8, or none where they would measure under 24 pixels.
        hidden: width of the heads' hidden layers.
        bottleneck: width in which prototypes are compared.
        prototypes: their number.
        separate: patches have a head of their own, as in the paper's largest models.
        centering: a running "mean" is taken off the teacher's logits, or "sinkhorn" assigns a batch evenly.
        spreading: weight of the KoLeo term, which moves each picture away from its nearest neighbour.
        temperature: the student's.
        teacher_temperature: the teacher's, linearly from the first to the second value during
        warm: this fraction of the training.
        momentum: of the teacher at the beginning; it ends at 1.
        freeze_last: the fraction of the training during which the prototypes rest.
    """

    views, least = MULTI_CROP, 2  # a picture has no neighbour in a pass of its own
    optimisation = Optimisation(lr=2e-3, lr_end=5e-4, warmup=0.1, weight_decay=(0.04, 0.4), clip=3.0, layer_decay=0.9,
                                patch_rate=0.2)  # fmt: skip

    def __init__(
        self, encoder: Encoder, *, small: Few | None = None, hidden: Width = 1024, bottleneck: Embedding = 64,
        prototypes: Several = 1024, separate: bool = False, centering: Literal["mean", "sinkhorn"] = "mean",
        spreading: Weight = 0.1, temperature: Temperature = 0.1, teacher_temperature: Temperatures = (0.04, 0.04),
        warm: Share = 0.3, momentum: Share = 0.99, freeze_last: Share = 0.01,
    ):  # fmt: skip
        super().__init__()
        self.views, self.holes = crops(MULTI_CROP, small, encoder, "dinov2"), Holes(encoder, "dinov2", smallest=4)
        self.encoder, self.temperature, self.spreading, self.freeze_last = encoder, temperature, spreading, freeze_last
        widths = (encoder.width, hidden, bottleneck, prototypes)
        self.head, self.patch_head = PrototypeHead(*widths), PrototypeHead(*widths) if separate else None
        self.teacher = Momentum(WithTokens(encoder, self.head, self.patch_head), start=momentum)
        self.targets = Targets(prototypes, teacher_temperature, warm, centering=centering)
        self.patch_targets = Targets(prototypes, teacher_temperature, warm, centering=centering)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        pooled, patches, hidden = self.holes(self.encoder, batch.views[:2], batch.key)
        features = torch.cat([pooled, *each(self.encoder, batch.views[2:])])
        students = self.head(features).unflatten(0, (len(batch.views), -1)) / self.temperature
        patches = (self.patch_head or self.head)(patches) / self.temperature

        logits, patch_logits, _ = self.teacher(torch.cat(batch.views[:2]), hidden)
        targets = self.targets(logits, t).unflatten(0, (2, -1))
        patch_loss = patch_distillation(patches, self.patch_targets(patch_logits, t), hidden)
        loss = distillation(students, targets) + patch_loss + self.spreading * sum(map(koleo, pooled.chunk(2)))
        seen = {"teacher_entropy": entropy(targets), "feature_std": spread(pooled), "patch_loss": patch_loss.detach()}
        return {"loss": loss, **seen}

    def before_step(self, t: float) -> None:
        if t < self.freeze_last:
            self.head.last.weight.grad = (self.patch_head or self.head).last.weight.grad = None
