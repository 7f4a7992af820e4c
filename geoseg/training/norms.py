"""Batch normalisation over the chips of all ranks.

A network that is trained on a few chips a rank would otherwise learn from the statistics of a few
chips, and from others than one process that holds them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.distributed as dist
from timm.layers.norm_act import BatchNormAct2d, SyncBatchNormAct
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.autograd.function import FunctionCtx

    from geoseg.training.ranks import Ranks

__all__ = ["share_statistics"]

_OVER = (0, 2, 3)  # chips, rows, columns


def share_statistics(network: nn.Module, ranks: Ranks) -> None:
    """Let batch normalisation see the chips of all ranks; names and values of weights stay.

    On a GPU it is torch.nn.SyncBatchNorm, which knows no CPU; there the same sums in plain torch.

    Args:
        network: changed in place; its modules stay the same objects.
        ranks: that train it; for a single one nothing is changed.
    """
    if ranks.count == 1:
        return
    shared = _ON_GPU if ranks.device.type == "cuda" else _ON_CPU
    for module in network.modules():
        # No new modules in their place: a network knows those of its own that are to stay fixed.
        if type(module) in shared:
            module.__class__ = shared[type(module)]
            module.__dict__["process_group"] = None  # SyncBatchNorm's: all ranks


class _WholeBatchNorm(nn.BatchNorm2d):
    """Normalises by the mean and variance of what all ranks hold, as many values each."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
        return _normalised(input, self) if self.training else super().forward(input)


class _WholeBatchNormAct(BatchNormAct2d):
    """The same before an activation, as timm has it in one module."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return cast("Tensor", super().forward(x))  # type: ignore[no-untyped-call]
        return cast("Tensor", self.act(self.drop(_normalised(x, self))))


def _normalised(values: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Values (N, C, H, W) of this rank, normalised by those of all; keeps the running mean."""
    ranks = dist.get_world_size()
    mean = _summed(values.mean(dim=_OVER)) / ranks
    away = values - mean[:, None, None]
    # Not the mean of squares less the square of the mean, which loses digits where that is large.
    variance = _summed(away.square().mean(dim=_OVER)) / ranks
    _keep(norm, mean.detach(), variance.detach(), ranks * values[:, 0].numel())
    scaled = away * (variance + norm.eps).rsqrt()[:, None, None]
    if norm.weight is None:
        return scaled
    return scaled * norm.weight[:, None, None] + norm.bias[:, None, None]


def _keep(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    if norm.running_mean is None or norm.running_var is None:
        return
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share = norm.momentum
    if share is None:
        share = 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance * (count / max(count - 1, 1)), share)


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, own: Tensor) -> Tensor:  # noqa: ARG004  torch's signature
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, slope: Tensor) -> Tensor:  # noqa: ARG004
        # The loss of every rank is the loss of the whole batch by its own chips.
        total = slope.contiguous().clone()
        dist.all_reduce(total)
        return total


def _summed(own: Tensor) -> Tensor:
    """The sum over ranks, with the slopes of all ranks."""
    apply: Callable[[Tensor], Tensor] = _Summed.apply  # not every torch types it
    return apply(own)


_ON_CPU: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: _WholeBatchNorm,
    BatchNormAct2d: _WholeBatchNormAct,
}
_ON_GPU: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: nn.SyncBatchNorm,
    BatchNormAct2d: SyncBatchNormAct,
}
