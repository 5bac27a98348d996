"""iBOT: DINO between crops of a picture, and the same for patches that the student cannot see.

Zhou et al., ICLR 2022. https://arxiv.org/abs/2111.07832
"""

import torch
from torch import Tensor

from ..encoder import Encoder
from ..parts.crops import crops, each
from ..parts.heads import PrototypeHead, WithTokens
from ..parts.holes import Holes
from ..parts.losses import distillation, entropy, patch_distillation, spread
from ..parts.momentum import Momentum
from ..parts.targets import Targets
from ..ranges import Embedding, Few, Several, Share, Shares, Temperature, Temperatures, Width
from ..views import MULTI_CROP, Batch
from . import Method, Optimisation


class IBOT(Method):
    """The student sees the two large crops with holes; the teacher, who sees them whole, knows what was there.

    One head serves both. The paper's for ImageNet: hidden=2048, bottleneck=256, prototypes=8192, momentum=.996,
    teacher_temperature=(.04, .07), a drop path of .1 (the encoder's setting). Its ratios {0, .3} with variances {0, .2}
    are holes=.5 and share=(.1, .5).
    Differs from the paper: the crops are DINO's, 2 large above .4 of the picture and 8 small, not 10 and parted at .25.

    Args:
        encoder: a ViT or a Swin.
        small: how many small crops; None for the published 8, or none where they would measure under 24 pixels.
        hidden: width of the head's hidden layers.
        bottleneck: width in which prototypes are compared.
        prototypes: their number.
        temperature: the student's.
        teacher_temperature: the teacher's, linearly from the first to the second value during
        warm: this fraction of the training.
        momentum: of the teacher at the beginning; it ends at 1.
        holes: this part of the large crops has holes; they cover
        share: of each, drawn from this range.
        blocks: the holes are rectangles; False: single patches, as for the paper's larger models.
        freeze_last: the fraction of the training during which the prototypes rest.
    """

    views = MULTI_CROP
    optimisation = Optimisation(lr=5e-4, lr_end=0.002, warmup=0.1, weight_decay=(0.04, 0.4), clip=3.0, clip_each=True)

    def __init__(
        self, encoder: Encoder, *, small: Few | None = None, hidden: Width = 1024, bottleneck: Embedding = 64,
        prototypes: Several = 1024, temperature: Temperature = 0.1, teacher_temperature: Temperatures = (0.04, 0.04),
        warm: Share = 0.1, momentum: Share = 0.99, holes: Share = 0.5, share: Shares = (0.1, 0.5),
        blocks: bool = True, freeze_last: Share = 0.01,
    ):  # fmt: skip
        super().__init__()
        self.views = crops(MULTI_CROP, small, encoder, "ibot")
        self.holes = Holes(encoder, "ibot", chance=holes, share=share, blocks=blocks)
        self.encoder = encoder
        self.head = PrototypeHead(encoder.width, hidden, bottleneck, prototypes)
        self.teacher = Momentum(WithTokens(encoder, self.head), start=momentum)
        self.targets = Targets(prototypes, teacher_temperature, warm)
        self.patch_targets = Targets(prototypes, teacher_temperature, warm)
        self.temperature, self.freeze_last = temperature, freeze_last

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        pooled, patches, hidden = self.holes(self.encoder, batch.views[:2], batch.key)
        features = torch.cat([pooled, *each(self.encoder, batch.views[2:])])
        students = self.head(features).unflatten(0, (len(batch.views), -1)) / self.temperature
        patches = self.head(patches) / self.temperature

        logits, patch_logits, _ = self.teacher(torch.cat(batch.views[:2]))
        targets = self.targets(logits, t).unflatten(0, (2, -1))
        patch_targets = self.patch_targets(patch_logits, t)[hidden]

        crop_loss, patch_loss = distillation(students, targets), patch_distillation(patches, patch_targets, hidden)
        seen = {"teacher_entropy": entropy(targets), "feature_std": spread(pooled), "patch_loss": patch_loss.detach()}
        return {"loss": crop_loss + patch_loss, **seen}

    def before_step(self, t: float) -> None:
        if t < self.freeze_last:
            self.head.last.weight.grad = None
