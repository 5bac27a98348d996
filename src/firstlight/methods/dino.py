"""DINO: match the sharpened, centred prototype probabilities of a slowly moving teacher.

Caron et al., ICCV 2021. https://arxiv.org/abs/2104.14294
"""

import torch
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from ..parts.crops import by_size
from ..parts.heads import PrototypeHead
from ..parts.losses import distillation, entropy, spread
from ..parts.momentum import Momentum, MovingMean
from ..parts.schedules import linear
from ..views import MULTI_CROP, Batch
from . import Method, Optimisation


class DINO(Method):
    """The student sees all crops, the teacher the first two; both put out probabilities over prototypes.

    The defaults are the paper's for ImageNet; for small sets take 1,024 to 16,384 prototypes and a constant teacher
    temperature of 0.04. The paper's student has a drop path of 0.1, which is the encoder's setting.

    Args:
        encoder: any encoder that accepts the sizes of all crops.
        hidden: width of the head's hidden layers.
        bottleneck: width in which prototypes are compared.
        prototypes: their number.
        temperature: the student's.
        teacher_temperature: the teacher's, linearly from the first to the second value during
        warm: this fraction of the training (30 of 300 epochs).
        momentum: of the teacher at the beginning; it ends at 1.
        center_momentum: of the running mean of the teacher's logits.
        freeze_last: the fraction of the training during which the prototypes rest (1 of 100 epochs).
    """

    views = MULTI_CROP
    optimisation = Optimisation(lr=5e-4, lr_end=0.002, warmup=0.1, weight_decay=(0.04, 0.4), clip=3.0, clip_each=True)

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden: int = 2048,
        bottleneck: int = 256,
        prototypes: int = 65536,
        temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        warm: float = 0.1,
        momentum: float = 0.996,
        center_momentum: float = 0.9,
        freeze_last: float = 0.01,
    ):
        super().__init__()
        if not encoder.any_size:
            raise InputError(f"dino shows crops of two sizes and {encoder.model!r} takes one; choose a resnet or vit_")
        self.encoder = encoder
        self.head = PrototypeHead(encoder.width, hidden, bottleneck, prototypes)
        self.teacher = Momentum(nn.Sequential(encoder, self.head), start=momentum)
        self.center = MovingMean(prototypes, center_momentum)
        self.temperature, self.teacher_temperature, self.warm = temperature, teacher_temperature, warm
        self.freeze_last = freeze_last

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = by_size(self.encoder, batch.views)
        students = self.head(features).unflatten(0, (len(batch.views), -1)) / self.temperature

        logits = self.teacher(torch.cat(batch.views[:2])).to(self.center.value.dtype)
        temperature = linear(*self.teacher_temperature, t / self.warm if self.warm else 1.0)
        targets = ((logits - self.center.value) / temperature).softmax(-1).unflatten(0, (2, -1))
        self.center.hear(logits)

        loss = distillation(students, targets)
        return {"loss": loss, "teacher_entropy": entropy(targets), "feature_std": spread(features[: len(logits)])}

    def before_step(self, t: float) -> None:
        if t < self.freeze_last:
            self.head.last.weight.grad = None
