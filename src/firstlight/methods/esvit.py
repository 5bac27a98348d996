"""EsViT: DINO between crops, and between the regions of crops that look most alike.

Li et al., ICLR 2022. https://arxiv.org/abs/2106.09785
"""

import torch
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..parts.crops import crops, each
from ..parts.heads import PrototypeHead, WithTokens
from ..parts.losses import distillation, entropy, spread
from ..parts.momentum import Momentum
from ..parts.regions import region_distillation
from ..parts.targets import Targets
from ..ranges import Embedding, Few, Several, Share, Temperature, Temperatures, Width
from ..views import MULTI_CROP, Batch
from . import Method, Optimisation


class EsViT(Method):
    """Views and regions have heads of their own; a region's target is that of the teacher's most similar region.

    Similar are the encoder's features, by cosine. The paper's for ImageNet: hidden=2048, bottleneck=256,
    prototypes=65536, teacher_temperature=(.04, .07) in 30 of 300 epochs, momentum=.996.

    Args:
        encoder: any encoder whose last map has several positions: a Swin, a ViT, or a ResNet on large pictures.
        small: how many small crops; None for the published 8, or none where they would measure under 24 pixels.
        hidden: width of the heads' hidden layers.
        bottleneck: width in which prototypes are compared.
        prototypes: their number, in each head.
        temperature: the student's.
        teacher_temperature: the teacher's, linearly from the first to the second value during
        warm: this fraction of the training.
        momentum: of the teacher at the beginning; it ends at 1.
        freeze_last: the fraction of the training during which the prototypes rest.
    """

    views = MULTI_CROP
    optimisation = Optimisation(lr=5e-4, lr_end=0.002, warmup=0.1, weight_decay=(0.04, 0.4), clip=3.0, clip_each=True)

    def __init__(
        self, encoder: Encoder, *, small: Few | None = None, hidden: Width = 1024, bottleneck: Embedding = 64,
        prototypes: Several = 1024, temperature: Temperature = 0.1, teacher_temperature: Temperatures = (0.04, 0.04),
        warm: Share = 0.1, momentum: Share = 0.99, freeze_last: Share = 0.01,
    ):  # fmt: skip
        super().__init__()
        self.views = crops(MULTI_CROP, small, encoder, "esvit")
        if encoder.regions < 2:
            given = f"esvit matches regions, and {encoder.model!r} sees a picture of size {encoder.size} as one"
            raise InputError(f"{given}; choose a smaller patch_size, a larger size or a vit_")
        self.encoder = encoder
        self.head = PrototypeHead(encoder.width, hidden, bottleneck, prototypes)
        self.region_head = PrototypeHead(encoder.token_width, hidden, bottleneck, prototypes)
        self.teacher = Momentum(WithTokens(encoder, self.head, self.region_head), start=momentum)
        self.targets = Targets(prototypes, teacher_temperature, warm)
        self.region_targets = Targets(prototypes, teacher_temperature, warm)
        self.temperature, self.freeze_last = temperature, freeze_last

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        pooled, tokens = zip(*each(self.encoder.pooled_and_tokens, batch.views))
        students = self.head(torch.stack(pooled)) / self.temperature
        regions = [view[:, self.encoder.prefix :] for view in tokens]
        region_students = [self.region_head(view) / self.temperature for view in regions]

        logits, region_logits, others = self.teacher(torch.cat(batch.views[:2]))
        targets = self.targets(logits, t).unflatten(0, (2, -1))
        region_targets = self.region_targets(region_logits, t).unflatten(0, (2, -1))

        view = distillation(students, targets)
        region = region_distillation(region_students, regions, region_targets, others.unflatten(0, (2, -1)))
        seen = {"teacher_entropy": entropy(targets), "feature_std": spread(torch.cat(pooled[:2]))}
        return {"loss": (view + region) / 2, "region_loss": region.detach(), **seen}

    def before_step(self, t: float) -> None:
        if t < self.freeze_last:
            self.head.last.weight.grad = self.region_head.last.weight.grad = None
