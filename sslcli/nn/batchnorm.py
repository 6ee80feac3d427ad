"""Batch norm over the batches of all processes, on any device; PyTorch's own refuses the CPU."""

import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslcli.errors import UserError
from sslcli.nn.gather import sum_with_gradient, world
from sslcli.nn.precision import in_full_precision

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class SynchronisedBatchNorm(_BatchNorm):
    """Batch norm whose statistics are those of the joined batch; same parameters, buffers and names as batch norm.

    No kind of PyTorch's SyncBatchNorm, which data parallelism refuses on a CPU.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes will do."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or world() == 1:
            return self.alone(input)
        normed, mean, variance, count = normalise_jointly(input, self.eps)
        self.remember(mean, variance * count / (count - 1))
        shape = [1, -1] + [1] * (input.dim() - 2)
        if self.affine:
            normed = normed * self.weight.view(shape) + self.bias.view(shape)
        return normed.to(input.dtype)

    def alone(self, input: Tensor) -> Tensor:
        """Ordinary batch norm: of one process, or with the statistics remembered."""
        by_batch = self.training or self.running_mean is None
        factor = self.count_batch() if self.training and self.track_running_stats else 0.0
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, by_batch, factor, self.eps
        )

    @torch.no_grad()
    def remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of the batch, `[C]`."""
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            factor = self.count_batch()
            self.running_mean.lerp_(mean.to(self.running_mean), factor)
            self.running_var.lerp_(variance.to(self.running_var), factor)

    def count_batch(self) -> float:
        """One more batch seen; the weight it has in the running statistics."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum


class SynchronisedBatchNormAct(SynchronisedBatchNorm):
    """The same with the dropping and the activation that timm keeps inside some of its batch norms."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        activated: Tensor = self.act(self.drop(super().forward(input)))
        return activated


@in_full_precision
def normalise_jointly(input: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`[B, C, ...]` normalised over the rows of all ranks; mean and biased variance `[C]`, and how many rows."""
    axes = [axis for axis in range(input.dim()) if axis != 1]
    shape = [1, -1] + [1] * (input.dim() - 2)
    local = input.new_tensor([input.numel() / input.shape[1]])
    sums = sum_with_gradient(torch.cat([input.sum(axes), local]))
    mean, count = sums[:-1] / sums[-1].detach(), sums[-1].detach()
    centred = input - mean.view(shape)
    variance = sum_with_gradient(centred.square().sum(axes)) / count
    return centred * (variance + eps).rsqrt().view(shape), mean.detach(), variance.detach(), count


def synchronise_batch_norm(module: nn.Module) -> nn.Module:
    """The module with every batch norm in it made synchronised, when more than one process trains.

    On a GPU by PyTorch's kernel, elsewhere by sums over ranks that have a gradient. Changes the module in place and
    returns it; a module that is itself a batch norm is replaced.
    """
    if world() == 1:
        return module
    if torch.accelerator.is_available():
        converted: nn.Module = convert_sync_batchnorm(module)
        return converted
    if isinstance(module, _BatchNorm):
        return synchronised(module)
    for name, child in module.named_children():
        setattr(module, name, synchronise_batch_norm(child))
    return module


def synchronised(norm: _BatchNorm) -> SynchronisedBatchNorm:
    """The synchronised twin of one batch norm, sharing its parameters and buffers."""
    if isinstance(norm, SynchronisedBatchNorm):
        return norm
    kind = twin_of(norm)
    twin = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    twin.weight, twin.bias = norm.weight, norm.bias
    twin.running_mean, twin.running_var = norm.running_mean, norm.running_var
    twin.num_batches_tracked = norm.num_batches_tracked
    twin.training = norm.training
    if isinstance(twin, SynchronisedBatchNormAct):
        twin.drop, twin.act = norm.drop, norm.act  # type: ignore[assignment]
    return twin


def twin_of(norm: _BatchNorm) -> type[SynchronisedBatchNorm]:
    """Which twin a batch norm needs; refuses one with a forward of its own, which would be lost."""
    if isinstance(norm, BatchNormAct2d):
        return SynchronisedBatchNormAct
    if type(norm) in PLAIN:
        return SynchronisedBatchNorm
    raise UserError(
        f"batch norm of type {type(norm).__name__} cannot be synchronised over processes",
        "train it with one process, or build the network from torch's own batch norms",
    )
