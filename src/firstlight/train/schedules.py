"""The learning rate and the weight decay of every optimiser step."""

from ..methods import Optimisation
from ..parts.schedules import cosine


def learning_rate(optimisation: Optimisation, *, step: int, steps: int, batch: int) -> float:
    """Linear warm-up, then half a cosine, per optimiser step.

    The highest rate is ``lr * batch / 256`` (Goyal et al. 2017, https://arxiv.org/abs/1706.02677).
    Differs from the papers' warm-up, which starts at zero: no step is spent on a rate of zero.

    Args:
        optimisation: ``lr`` at a batch of 256, ``lr_end`` and ``warmup`` as fractions.
        step: from 0 to ``steps - 1``.
        steps: of the whole training.
        batch: the global batch.
    """
    top = highest(optimisation, batch=batch)
    warm = round(optimisation.warmup * steps)
    if step < warm:
        return top * (step + 1) / warm
    return cosine(top, top * optimisation.lr_end, (step - warm) / (steps - warm))


def highest(optimisation: Optimisation, *, batch: int) -> float:
    """The rate at the top of the warm-up: ``lr`` scaled linearly with the global batch."""
    return optimisation.lr * batch / 256


def weight_decay(optimisation: Optimisation, *, step: int, steps: int) -> float:
    """Constant, or from the first to the second value along half a cosine without warm-up."""
    if isinstance(optimisation.weight_decay, (int, float)):
        return float(optimisation.weight_decay)
    return cosine(*optimisation.weight_decay, step / steps)
