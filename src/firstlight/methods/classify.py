"""Supervised classification: which formula drew the picture, or which of your classes it shows.

Formula-driven supervised learning: Kataoka et al., ACCV 2020. https://arxiv.org/abs/2101.08515
"""

from typing import Annotated

from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from ..parts.losses import cross_entropy
from ..ranges import Range, Ratios, Several, Share, Shares, Weight
from ..views import Batch, View
from ..views.mix import mix
from . import Method, Optimisation


class Classify(Method):
    """Predicts each picture's label with one linear layer on the pooled features.

    Random crops, no flips: neither the published formula recipes nor digits and letters are flip-invariant.

    Args:
        encoder: any encoder.
        categories: the number of classes.
        smoothing: the share of each target spread evenly over all classes.
        mixup: the Beta distribution's parameter for blending pictures; 0 switches it off.
        cutmix: the same for pasting rectangles. With both, each sample gets one of the two.
        scale: the area of the random crops, as a fraction of the picture's.
        ratio: their width divided by their height.
        flip: probability of a left-right flip.
        flip_vertical: probability of an upside-down flip.
        randaugment: mean strength of two random operations, 0 (off) to 10; 9 is the usual one.
        erase: probability of replacing a random rectangle by noise.
    """

    optimisation = Optimisation(lr=1e-3, warmup=0.05, weight_decay=0.05)

    def __init__(
        self,
        encoder: Encoder,
        *,
        categories: Several = 1000,
        smoothing: Share = 0.1,
        mixup: Weight = 0.0,
        cutmix: Weight = 0.0,
        scale: Shares = (0.2, 1.0),
        ratio: Ratios = (3 / 4, 4 / 3),
        flip: Share = 0.0,
        flip_vertical: Share = 0.0,
        randaugment: Annotated[float, Range(0, 10)] = 0.0,
        erase: Share = 0.0,
    ):
        super().__init__()
        if smoothing == 1:
            raise InputError("classify(smoothing=1): nothing of the label is left; allowed is 0 to below 1; try 0.1")
        crop: dict = {"scale": tuple(scale), "ratio": tuple(ratio), "flip": flip, "flip_vertical": flip_vertical}
        self.views = (View(**crop, randaugment=randaugment, erase=erase),)
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, categories)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.mixing = {"mixup": mixup, "cutmix": cutmix, "categories": categories, "smoothing": smoothing}

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        if (batch.label < 0).any():
            raise InputError("classify needs a label for every picture, and some have none; leave those out")
        pictures, targets = mix(batch.views[0], batch.label, batch.key, **self.mixing)

        logits = self.predict(pictures)
        loss = cross_entropy(logits, targets)

        # Of a mixed picture, the label that weighs more counts as right.
        accuracy = (logits.argmax(1) == targets.argmax(1)).float().mean()
        return {"loss": loss, "accuracy": accuracy}

    def predict(self, pictures: Tensor) -> Tensor:
        """Logits ``[B, categories]`` of pictures ``[B, C, S, S]``."""
        return self.head(self.encoder(pictures))
