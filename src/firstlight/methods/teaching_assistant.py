"""SSTA: learn to classify, looking where a supervised teacher and a self-supervised teaching assistant look.

Wu et al., "Self-supervised models are good teaching assistants for vision transformers", ICML 2022.
https://icml.cc/virtual/2022/spotlight/16186
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from ..events import Events, Note
from ..parts.attention import Imitated, divergence, heads_of, with_attention
from ..parts.losses import full
from ..ranges import Layers, Several, Weight
from ..views import Batch, View
from ..views.batches import Batches
from . import Method, Optimisation

LOOKS = 8  # batches on which the most important heads are found


class TeachingAssistant(Method):
    """Heads of the last block attend like the most important heads of the teacher's and of the assistant's.

    An interpretation: the authors' repository holds no code, and only the abstract was available. It says that the
    most important head of each is selected and that the student mimics the attention of these two. Not verified, and
    chosen here: the last block; importance as the mean norm of what a head adds to the tokens, found once before the
    training; that the student's first head follows the teacher and its next the assistant; the Kullback-Leibler
    divergence over all tokens; the weight. Soft labels of the teacher are not used: kept encoders have no classifier.

    Args:
        encoder: a Vision Transformer.
        categories: the number of classes.
        teacher: the run or folder of a Vision Transformer that was trained with labels, with as many tokens.
        assistant: the same of one that was trained without.
        imitated: how many heads of each are imitated.
        weight: of the divergences beside the classification loss.
    """

    views = (View(flip=0.0),)
    optimisation = Optimisation(lr=1e-3, warmup=0.05, weight_decay=0.05)

    def __init__(
        self, encoder: Encoder, *, categories: Several = 1000, teacher: str = "", assistant: str = "",
        imitated: Layers = 1, weight: Weight = 1.0,
    ):  # fmt: skip
        super().__init__()
        heads = heads_of(encoder)
        if imitated > heads // 2:
            allowed = f"allowed are 1 to {heads // 2}, half the heads"
            raise InputError(f"teaching_assistant(imitated={imitated}): {allowed}; nearest: {heads // 2}")
        if not teacher or not assistant:
            raise InputError(f"teaching_assistant(teacher={teacher!r}, assistant={assistant!r}): both must be named")
        self.encoder, self.weight = encoder, weight
        self.head = nn.Linear(encoder.width, categories)
        self.teacher, self.assistant = (Imitated(path, encoder, imitated) for path in (teacher, assistant))

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        if (batch.label < 0).any():
            raise InputError("teaching_assistant needs a label for every picture, and some have none; leave those out")
        features, attention = with_attention(self.encoder, batch.views[0])
        logits = full(self.head(features))

        first, second = attention.split(self.teacher.count, dim=1)[:2]
        from_teacher = divergence(self.teacher(batch.views[0]), first)
        from_assistant = divergence(self.assistant(batch.views[0]), second)

        loss = F.cross_entropy(logits, batch.label) + self.weight * (from_teacher + from_assistant)
        plotted = {"teacher": from_teacher.detach(), "assistant": from_assistant.detach()}
        return {"loss": loss, "accuracy": (logits.argmax(1) == batch.label).float().mean()} | plotted

    def prepare(self, batches: Batches) -> Events[None]:
        """Finds the most important heads on the first batches."""
        pictures = [batches.at(step).views[0] for step in range(LOOKS)]
        for other in (self.teacher, self.assistant):
            other.choose(pictures)
            yield Note(f"teaching_assistant: heads {other.chosen.tolist()} of {other.path!r} are imitated")
