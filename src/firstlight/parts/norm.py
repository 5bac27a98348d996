"""Batch norm whose statistics are those of the whole batch over all ranks, on any device.

Ioffe & Szegedy, ICML 2015. https://arxiv.org/abs/1502.03167
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .. import ranks


class BatchNorm(_BatchNorm):
    """Takes the place of one batch norm layer: the same parameters, buffers and names, the whole batch's statistics.

    torch's ``SyncBatchNorm`` does the same for CUDA and refuses CPU. Every rank must hold equally many samples.

    Args:
        norm: the layer to replace, timm's variants with an activation included. Its tensors are shared, not copied.
    """

    def __init__(self, norm: _BatchNorm):
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        for name, child in norm.named_children():  # what timm's variants do next: drop, act
            self.add_module(name, child)
        self.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """Normalises ``[B, C]`` or ``[B, C, ...]``; the gradient is that of one process with all samples."""
        if self.training:
            out = self._normalised(input)
        else:
            mean, var = self.running_mean, self.running_var
            out = F.batch_norm(input, mean, var, self.weight, self.bias, training=mean is None, eps=self.eps)
        for child in self.children():
            out = child(out)
        return out

    def _normalised(self, input: Tensor) -> Tensor:
        x = input if input.dtype == torch.float64 else input.float()
        dims, shape = [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]

        # Two passes: the mean of squares less the square of the mean would cancel where the mean is large.
        mean = ranks.total(x.mean(dims)) / ranks.world()
        centred = x - mean.view(shape)
        var = ranks.total(centred.square().mean(dims)) / ranks.world()

        self._remember(mean.detach(), var.detach(), count=ranks.world() * x.numel() // x.shape[1])
        out = centred * (var + self.eps).rsqrt().view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, var: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((var * count / max(count - 1, 1)).to(self.running_var.dtype), share)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""


def synchronised(module: nn.Module) -> nn.Module:
    """Replaces every batch norm inside ``module`` by one that spans all ranks; one process needs no change.

    Call it once the ranks have joined and before the module is wrapped for distributed training. Parameters keep
    their identity and their names, so optimisers, momentum copies and checkpoints are not affected.
    """
    if ranks.world() == 1 or isinstance(module, BatchNorm):
        return module
    if isinstance(module, _BatchNorm):
        return BatchNorm(module)
    for name, child in module.named_children():
        setattr(module, name, synchronised(child))
    return module
