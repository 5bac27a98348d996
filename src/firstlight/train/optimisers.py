"""Which weights decay and how fast each learns, the three LARS rules, and what happens to gradients on the way.

Papers: AdamW https://arxiv.org/abs/1711.05101, LARS https://arxiv.org/abs/1708.03888, layer decay (BEiT)
https://arxiv.org/abs/2106.08254.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grads_with_norm_, get_total_norm

from .. import ranks
from ..errors import unknown
from ..methods import Method, Optimisation

Optimiser = torch.optim.Optimizer


def build(method: Method, optimisation: Optimisation) -> Optimiser:
    """The optimiser of a method's trainable parameters.

    Raises:
        InputError: for an unknown optimiser.
    """
    groups, first = parameter_groups(method, optimisation), optimisation.lr
    # torch's default on a CPU moves one tensor after the other, with a dozen calls each: 3 to 6 times as slow.
    fused = all(parameter.device.type in ("cpu", "cuda") for group in groups for parameter in group["params"])
    if optimisation.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=first, betas=optimisation.betas, weight_decay=0.0, fused=fused)
    if optimisation.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=first, momentum=optimisation.momentum, weight_decay=0.0, fused=fused)
    if optimisation.optimizer == "lars":
        return LARS(groups, lr=first, momentum=optimisation.momentum, rule=optimisation.lars)
    raise unknown("optimizer", optimisation.optimizer, ("adamw", "sgd", "lars"))


def parameter_groups(method: Method, optimisation: Optimisation) -> list[dict[str, Any]]:
    """Parameters that share a decay rule and a rate.

    Biases and other weights with one dimension neither decay nor take part in LARS's adaptation, as in DINO, MAE,
    MoCo v3 and Barlow Twins; position embeddings and class tokens have three dimensions and decay, unless the method
    says otherwise (SimMIM, BEiT). SwAV's rule excludes nothing; with ``decay_vectors`` vectors decay unadapted.

    With ``layer_decay`` d, the encoder's layer i of n learns at d^(n - i) times the rate of the heads.

    Returns:
        One dict for each group: ``params``, ``decays`` and ``adapts`` (bool), ``rate`` (a factor of the learning rate)
        and ``constant`` (whether that stays at its highest).
    """
    groups: dict[tuple[bool, bool, float, bool], list[Tensor]] = {}
    everything = optimisation.optimizer == "lars" and optimisation.lars == "swav"
    places = set() if method.decays_places else {f"encoder.{name}" for name in method.encoder.undecayed}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            vector = parameter.ndim <= 1 or name.endswith(".bias") or name in places
            rate = _rate(method, name, optimisation) * (optimisation.vector_rate if vector else 1.0)
            constant = name.partition(".")[0] in optimisation.constant
            adapts = everything or not vector
            groups.setdefault((adapts or optimisation.decay_vectors, adapts, rate, constant), []).append(parameter)
    return [
        {"params": parameters, "decays": decays, "rate": rate, "adapts": adapts, "constant": constant}
        for (decays, adapts, rate, constant), parameters in groups.items()
    ]


def _rate(method: Method, name: str, optimisation: Optimisation) -> float:
    inside = name.removeprefix("encoder.")
    if inside == name:
        return 1.0
    rate = optimisation.patch_rate if inside.removeprefix("colour.").startswith("net.patch_embed.") else 1.0
    if optimisation.layer_decay == 1.0:
        return rate
    return rate * optimisation.layer_decay ** (method.encoder.layers - method.encoder.layer_of(inside))


def set_rates(optimizer: Optimiser, lr: float, weight_decay: float, highest: float | None = None) -> None:
    """Moves every group to this step's learning rate and weight decay; constant ones to the ``highest`` rate."""
    for group in optimizer.param_groups:
        group["lr"] = (highest if group["constant"] and highest is not None else lr) * group["rate"]
        group["weight_decay"] = weight_decay if group["decays"] else 0.0


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replaces each gradient by its mean over ranks: what one process would find for the whole batch.

    Not DistributedDataParallel: it regroups the gradients after its first step, so that with three or more processes
    a resumed run would add them in another order than an uninterrupted one. Here the order never changes.
    """
    if ranks.world() == 1:
        return
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            kinds.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in kinds.values():
        mean = ranks.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, mean.split([gradient.numel() for gradient in gradients])):
            gradient.copy_(part.view_as(gradient))


def clip(parameters: Sequence[Tensor], largest: float | None, each: bool) -> Tensor:
    """Scales gradients down to the norm ``largest``: all together, or each tensor by itself (DINO's way).

    Returns:
        The norm of all gradients before clipping, a scalar.
    """
    norm = get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if largest is not None and each:
        for parameter in parameters:
            clip_grad_norm_(parameter, largest)
    elif largest is not None:
        clip_grads_with_norm_(parameters, largest, norm)
    return norm


class LARS(torch.optim.Optimizer):
    """SGD whose rate is adapted to each weight tensor w by the ratio of its norm to its gradient's.

    The official codes hold three rules (g gradient, d weight decay, m momentum, e trust):

    * ``"mocov3"`` (also MAE, Barlow Twins, BYOL): ``g += d w; g *= e |w| / |g|; v = m v + g; w -= lr v``
    * ``"simclr"``: ``g += d w; v = m v + lr (e |w| / |g|) g; w -= v``: the rate is inside the momentum
    * ``"swav"`` (apex's LARC): ``g = (g + d w) e |w| / (|g| + d |w|); v = m v + g; w -= lr v``

    A group with ``adapts=False`` is plain SGD with momentum. Where |w| or |g| is zero the ratio is 1; apex's rule
    then also leaves the weight decay out.

    Args:
        params: parameters or groups.
        lr: learning rate.
        momentum: of the velocity, 0 to 1.
        weight_decay: L2.
        trust: the factor e, 0.001 in all official codes.
        rule: one of the three.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 0.1,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        rule: Literal["mocov3", "simclr", "swav"] = "mocov3",
    ):
        if rule not in ("mocov3", "simclr", "swav"):
            raise unknown("LARS rule", rule, ("mocov3", "simclr", "swav"))
        self.rule = rule
        shared = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adapts": True}
        super().__init__(params, shared)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)
        return loss

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        gradient = self._adapt(weight, gradient, group)
        inside = self.rule == "simclr"

        state = self.state[weight]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        velocity = state["velocity"]
        velocity.mul_(group["momentum"]).add_(gradient, alpha=group["lr"] if inside else 1.0)
        weight.sub_(velocity, alpha=1.0 if inside else group["lr"])

    def _adapt(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        decay, size = group["weight_decay"], weight.norm()
        if not group["adapts"]:
            return gradient.add(weight, alpha=decay)
        if self.rule == "swav":
            slope = gradient.norm()
            ratio = group["trust"] * size / (slope + decay * size + 1e-8)  # apex's eps
            return torch.where((size > 0) & (slope > 0), ratio * gradient.add(weight, alpha=decay), gradient)
        gradient = gradient.add(weight, alpha=decay)
        slope = gradient.norm()
        return gradient * torch.where((size > 0) & (slope > 0), group["trust"] * size / slope, 1.0)
