"""A method says which views it wants and what the loss is. Nothing else."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .. import ranks, spec
from ..encoder import Encoder
from ..errors import InputError
from ..events import Events
from ..ranges import Range, Rate, Share, Weight
from ..views import PLAIN, Batch, View

if TYPE_CHECKING:
    from ..views.batches import Batches

__all__ = ["Method", "Optimisation"]


@dataclass(frozen=True)
class Optimisation:
    """How a method's weights are moved. Each method carries its paper's values; a recipe may replace any of them."""

    optimizer: Literal["adamw", "sgd", "lars"] = "adamw"
    lr: Rate = 1e-3
    """at a global batch of 256; scaled linearly with the batch"""
    lr_end: Share = 0.0
    """the last learning rate as a fraction of the highest"""
    warmup: Share = 0.05
    """the fraction of the steps during which the rate rises linearly from 0"""
    weight_decay: Weight | tuple[Weight, Weight] = 0.05
    """constant, or from the first to the second value along a cosine; not on biases and other 1-D weights, but for"""
    decay_vectors: bool = False
    """whether these decay too, as where a public code hands every weight to torch's SGD (MoCo, SimSiam)"""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """AdamW's"""
    momentum: Share = 0.9
    """SGD's and LARS's"""
    lars: Literal["mocov3", "simclr", "swav"] = "mocov3"
    """which of the three published LARS rules; "swav" also decays and adapts biases and other 1-D weights"""
    clip: Annotated[float, Range(1e-6, 1e6)] | None = None
    """the largest gradient norm"""
    clip_each: bool = False
    """clip each weight tensor by itself, as DINO does, and not all of them together"""
    layer_decay: Share = 1.0
    """each layer's rate is this times the next one's (fine-tuning)"""
    patch_rate: Weight = 1.0
    """a factor of the rate of the layer that cuts the picture into patches (DINOv2)"""
    vector_rate: Weight = 1.0
    """a factor of the rate of biases and other 1-D weights (Barlow Twins)"""
    constant: tuple[str, ...] = ()
    """the method's modules whose rate neither warms up nor falls, such as SimSiam's predictor"""

    def __post_init__(self):
        spec.check(type(self), vars(self), "optimisation")


class Method(nn.Module):
    """Base of all training objectives.

    A subclass takes the encoder and its own keyword arguments (they are the configuration), stores the encoder as
    ``self.encoder``, and returns a dict with ``"loss"`` and whatever else is worth plotting. Every parameter with
    ``requires_grad`` must receive a gradient in every step.

    A subclass whose constructor has a setting ``categories`` learns from labels; it is given the number of classes.
    One with a setting ``pictures`` remembers something of every picture; it is given their number. One with ``maps``
    is told which there are by its settings ``has_depth`` and ``classes`` (their number, 0 without such maps).

    What a setting's type says, a range of ``ranges`` included, is held to before the constructor begins; it need only
    check what depends on the encoder or on several settings at once.

    Attributes:
        views: what the method wants to see of each picture; a setting may change an instance's.
        maps: the kinds of maps of the first view that it learns from beside pictures, where there are any.
        synchronised: whether batch norm spans all ranks. MoCo divides the batch into groups of its own instead.
    """

    views: tuple[View, ...] = PLAIN
    """what is shown of each picture; a subclass whose settings change it sets its own in the constructor"""
    maps: ClassVar[tuple[str, ...]] = ()
    optimisation: ClassVar[Optimisation] = Optimisation()
    synchronised: ClassVar[bool] = True
    least: ClassVar[int] = 1
    """pictures of all ranks that a pass needs, where there is no batch norm, which needs two"""
    decays_places: ClassVar[bool] = True
    """whether position embeddings, relative biases and class tokens decay like other weights, as in DINO and MAE"""
    encoder: Encoder

    def __init_subclass__(cls, **others: Any):
        super().__init_subclass__(**others)
        construct, name = cls.__init__, cls.__module__.rpartition(".")[2]

        @functools.wraps(construct)
        def checked(self: Any, *given: Any, **settings: Any) -> None:
            spec.check(cls, {key: value for key, value in settings.items() if key != "encoder"}, name)
            try:
                construct(self, *given, **settings)
            except (MemoryError, RuntimeError) as error:
                if not isinstance(error, MemoryError) and "alloc" not in str(error):
                    raise
                asked = spec.Spec(name, {key: settings[key] for key in settings if key != "encoder"})
                raise InputError(f"{asked}: there is not enough memory for that; take less of it") from None

        setattr(cls, "__init__", checked)  # noqa: B010  a type checker takes an assignment for a new signature

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        """The loss of one batch, averaged over its samples.

        Args:
            batch: the views that the class declared, labels and keys.
            t: progress of the training, from 0 (first step) to just below 1 (last).

        Returns:
            ``"loss"`` and other scalars.
        """
        raise NotImplementedError

    def check(self, batch: int, parts: int = 1) -> None:
        """Refuses a global batch that the method cannot be trained with, before anything is trained.

        Args:
            batch: pictures per optimiser step, over all ranks and parts.
            parts: into which it is divided, one after the other (gradient accumulation).

        Raises:
            InputError: naming what was given and the nearest that works.
        """
        normed = any(isinstance(module, _BatchNorm) for module in self.modules())
        least, why = max(self.least, 2 if normed else 1), "batch norm" if normed else "the loss"
        given, shares = f"batch={batch}" if parts == 1 else f"batch={batch} in {parts} parts", ranks.world() * parts
        nearest = max(-(-least // ranks.world()), round(batch / shares)) * shares
        if batch // parts < least:
            raise InputError(f"{given}: {why} needs at least {least} pictures in a pass; nearest: batch={nearest}")
        if batch % shares:
            raise InputError(f"{given}: {ranks.world()} process(es) cannot share it evenly; nearest: batch={nearest}")

    def prepare(self, batches: "Batches") -> Events[None]:
        """Looks at the pictures before the first step, for methods that need to; a resumed training does not.

        What it finds belongs into buffers, which checkpoints keep. Each rank sees its share of the pictures alone, and
        what they find has to be the same on all.
        """
        yield from ()

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        """Pictures for people of what the method makes of a batch: what was there, what it saw, what it says was there.

        Called in evaluation mode without gradients.

        Returns:
            Float tensors ``[B, channels, S, S]`` in the normalisation of the views, named by what they show, such as
            "picture", "masked" and "predicted", in the order in which they stand side by side; nothing for methods
            that predict no pictures.
        """
        return {}

    def keep(self, folder: Path) -> Path:
        """Writes what is left when a pre-training ends: the encoder's folder, and what other methods need of it."""
        return self.encoder.save(folder)

    def before_step(self, t: float) -> None:
        """Called once per optimiser step, after the gradients are complete: to freeze a layer, for instance."""

    def after_step(self, t: float) -> None:
        """Called once per optimiser step, after the weights moved: whatever is slow (copies, queues, means) follows.

        Parts with a method ``follow`` change the buffers that they keep in there alone, so that a step which is
        skipped, because its loss is not finite, leaves no trace in them.
        """
        for module in self.modules():
            if callable(follow := getattr(module, "follow", None)):
                follow(t)
