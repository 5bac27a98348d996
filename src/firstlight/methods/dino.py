"""DINO: match the sharpened, centred prototype probabilities of a slowly moving teacher.

Caron et al., ICCV 2021. https://arxiv.org/abs/2104.14294
"""

import torch
from torch import Tensor, nn

from ..encoder import Encoder
from ..parts.crops import by_size, crops
from ..parts.heads import PrototypeHead
from ..parts.losses import distillation, entropy, spread
from ..parts.momentum import Momentum, MovingMean
from ..parts.schedules import linear
from ..ranges import Embedding, Few, Several, Share, Temperature, Temperatures, Width
from ..views import MULTI_CROP, Batch
from . import Method, Optimisation


class DINO(Method):
    """The student sees all crops, the teacher the first two; both put out probabilities over prototypes.

    The paper's for ImageNet: hidden=2048, bottleneck=256, prototypes=65536, teacher_temperature=(.04, .07) in 30 of 300
    epochs, momentum=.996, a drop path of .1, which is the encoder's setting; for a ResNet, SGD with lr=.03 and a weight
    decay of 1e-4. A narrow bottleneck and a faster teacher give small and short trainings sharper targets.

    Args:
        encoder: any encoder that accepts the sizes of all crops: ViT, XCiT, Swin, ResNet.
        small: how many small crops; None for the published 8, or none where they would measure under 24 pixels.
        hidden: width of the head's hidden layers.
        bottleneck: width in which prototypes are compared.
        prototypes: their number.
        temperature: the student's.
        teacher_temperature: the teacher's, linearly from the first to the second value during
        warm: this fraction of the training.
        momentum: of the teacher at the beginning; it ends at 1.
        center_momentum: of the running mean of the teacher's logits.
        freeze_last: the fraction of the training during which the prototypes rest (1 of 100 epochs).
    """

    views = MULTI_CROP
    optimisation = Optimisation(lr=5e-4, lr_end=0.002, warmup=0.1, weight_decay=(0.04, 0.4), clip=3.0, clip_each=True)

    def __init__(
        self, encoder: Encoder, *, small: Few | None = None, hidden: Width = 1024, bottleneck: Embedding = 64,
        prototypes: Several = 1024, temperature: Temperature = 0.1, teacher_temperature: Temperatures = (0.04, 0.04),
        warm: Share = 0.1, momentum: Share = 0.99, center_momentum: Share = 0.9, freeze_last: Share = 0.01,
    ):  # fmt: skip
        super().__init__()
        self.views = crops(MULTI_CROP, small, encoder, "dino")
        self.encoder = encoder
        self.head = PrototypeHead(encoder.width, hidden, bottleneck, prototypes)
        self.teacher = Momentum(nn.Sequential(encoder, self.head), start=momentum)
        self.center = MovingMean(prototypes, center_momentum)
        self.temperature, self.teacher_temperature, self.warm = temperature, teacher_temperature, warm
        self.freeze_last = freeze_last

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = by_size(self.encoder, batch.views)
        students = self.head(features).unflatten(0, (len(batch.views), -1)) / self.temperature

        logits = self.center.centred(self.teacher(torch.cat(batch.views[:2])))
        temperature = linear(*self.teacher_temperature, t / self.warm if self.warm else 1.0)
        targets = (logits / temperature).softmax(-1).unflatten(0, (2, -1))

        loss = distillation(students, targets)
        return {"loss": loss, "teacher_entropy": entropy(targets), "feature_std": spread(features[: len(logits)])}

    def before_step(self, t: float) -> None:
        if t < self.freeze_last:
            self.head.last.weight.grad = None
