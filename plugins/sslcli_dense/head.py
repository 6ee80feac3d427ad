"""A linear head on maps of tokens: batch norm and a 1x1 convolution, as DINOv2 (arXiv:2304.07193) has it.

logits     1x1 convolution of normed maps, enlarged bilinearly to the pixels
loss       cross entropy over the pixels that have a class
"""

from collections.abc import Iterator
from math import cos, pi

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torch.nn.utils import skip_init

from sslcli.errors import RunError
from sslcli_dense.keeping import NO_CLASS, Kept
from sslcli_dense.options import SegmentOptions

AT_ONCE = 16  # classes that are enlarged at a time


class Head(nn.Module):
    """Maps `[B, D, rows, columns]` to logits `[B, K, rows, columns]`."""

    def __init__(self, width: int, classes: int, chance: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.classify: nn.Conv2d = skip_init(nn.Conv2d, width, classes, kernel_size=1)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.classify.weight.normal_(0.0, 0.01, generator=chance)
            self.classify.bias.zero_()

    def forward(self, maps: Tensor) -> Tensor:
        """Logits of every patch."""
        logits: Tensor = self.classify(self.norm(maps))
        return logits


def learn(kept: Kept, classes: int, options: SegmentOptions, device: torch.device) -> Head:
    """A head that has learnt the labels of kept maps. Raises RunError where the loss is not finite."""
    chance = torch.Generator().manual_seed(options.seed)
    head = Head(kept.width, classes, chance).to(device).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    steps = options.epochs * -(-len(kept) // options.batch)
    for step, picked in enumerate(batches(len(kept), options, chance)):
        optimizer.param_groups[0]["lr"] = options.lr * (1 + cos(pi * step / steps)) / 2
        maps, labels = (tensor.to(device) for tensor in kept.batch(picked))
        loss = pixel_loss(head(maps), labels)
        if not loss.isfinite():
            raise RunError("the head's loss is not finite", "use a smaller --lr, or judge an earlier checkpoint")
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return head


def batches(count: int, options: SegmentOptions, chance: torch.Generator) -> Iterator[Tensor]:
    """Which pictures each step sees: all of them once an epoch, in an order of its own."""
    for _ in range(options.epochs):
        order = torch.randperm(count, generator=chance)
        yield from (order[begin : begin + options.batch] for begin in range(0, count, options.batch))


def pixel_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of logits `[B, K, rows, columns]` over labels `[B, S, S]`; 0 where no pixel has a class."""
    large = interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    total = cross_entropy(large, labels, ignore_index=NO_CLASS, reduction="sum")
    return total / (labels != NO_CLASS).sum().clamp(min=1)


def classes_at(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The likeliest class of every pixel of one picture, int64 `[H, W]`, from logits `[K, rows, columns]`.

    A few classes are enlarged at a time, so that memory does not grow with their number.
    """
    best = torch.full(size, -torch.inf, device=logits.device)
    chosen = torch.zeros(size, dtype=torch.int64, device=logits.device)
    for begin in range(0, len(logits), AT_ONCE):
        few = logits[None, begin : begin + AT_ONCE]
        values, classes = interpolate(few, size=size, mode="bilinear", align_corners=False)[0].max(dim=0)
        better = values > best
        best, chosen = torch.where(better, values, best), torch.where(better, classes + begin, chosen)
    return chosen
