"""Labels carried from frame to frame by the likeness of patches, as DINO (arXiv:2104.14294) judges videos.

sources          the first frame, and the last n before the target
neighbours       for each patch of the target: the k most alike of all sources, no further away than a radius
label            sum over them of softmax(cosine / T) x their label
"""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, normalize, one_hot

from sslcli_dense.options import VideoOptions

CELLS = 1 << 24  # cosines at a time: 64 MiB


def propagate(maps: Iterable[Tensor], first: Tensor, options: VideoOptions) -> Iterator[Tensor]:
    """Shares of labels `[K, rows, columns]` in every frame after the first, from its own `first`.

    `maps` are features `[D, rows, columns]` of all frames, in order; as many as sources are held at a time.
    """
    frames = iter(maps)
    features: deque[Tensor] = deque(maxlen=options.last_frames)
    shares: deque[Tensor] = deque(maxlen=options.last_frames)
    origin = normalize(next(frames), dim=0)
    for frame in frames:
        target = normalize(frame, dim=0)
        sources, labels = torch.stack([origin, *features]), torch.stack([first, *shares])
        carried_here = carried(
            target, sources, labels, radius=options.radius, topk=options.topk, temperature=options.temperature
        )
        features.append(target)
        shares.append(carried_here)
        yield carried_here


def carried(target: Tensor, sources: Tensor, labels: Tensor, *, radius: int, topk: int, temperature: float) -> Tensor:
    """Labels `[K, rows, columns]` of a frame, from those of its sources, `[F, K, rows, columns]`.

    `target [D, rows, columns]` and `sources [F, D, rows, columns]` are of unit length. Some rows at a time.
    """
    frames, _, rows, columns = sources.shape
    reach = min(radius or rows, rows)
    high = max(CELLS // (columns * frames * min(2 * reach + 1, rows) * columns), 1)
    parts = []
    for top in range(0, rows, high):
        seen = slice(max(top - reach, 0), min(top + high + reach, rows))
        here = target[:, top : top + high].flatten(1).T  # [T, D]
        keys = sources[:, :, seen].transpose(0, 1).flatten(1)  # [D, S]
        near = within(range(rows)[top : top + high], range(rows)[seen], columns, radius, target.device)
        likeness = (here @ keys).masked_fill(~near.repeat(1, frames), -torch.inf)
        best, places = likeness.topk(min(topk, likeness.shape[1]), dim=1)  # [T, k]
        votes = labels[:, :, seen].transpose(0, 1).flatten(1)[:, places]  # [K, T, k]
        parts.append((votes * (best / temperature).softmax(dim=1)).sum(dim=-1))
    return torch.cat(parts, dim=1).view(-1, rows, columns)


def within(here: range, there: range, columns: int, radius: int, device: torch.device) -> Tensor:
    """Which places of some rows lie within `radius` of those of other rows, down and across; all where it is 0.

    Bool `[rows here * columns, rows there * columns]`.
    """
    down = (numbers(here, device)[:, None] - numbers(there, device)).abs()
    across = (numbers(range(columns), device)[:, None] - numbers(range(columns), device)).abs()
    far = radius or max(len(there) + here.start + there.start, columns)
    near = (down <= far)[:, None, :, None] & (across <= far)[None, :, None, :]
    return near.flatten(2).flatten(0, 1)


def numbers(span: range, device: torch.device) -> Tensor:
    """A range as a tensor."""
    return torch.arange(span.start, span.stop, device=device)


def first_labels(label: NDArray[np.int64], objects: list[int], grid: tuple[int, int]) -> Tensor:
    """Background and objects of the first frame on the grid of patches, 1 where they are, `[1 + objects, h, w]`.

    A patch has the label of the pixel in its middle.
    """
    places = [((np.arange(count) + 0.5) * side / count).astype(int) for side, count in zip(label.shape, grid)]
    small = label[np.ix_(*places)]
    classes = sum((number + 1) * (small == name) for number, name in enumerate(objects))
    return one_hot(torch.from_numpy(np.asarray(classes, dtype=np.int64)), len(objects) + 1).permute(2, 0, 1).float()


def objects_of(shares: Tensor, size: tuple[int, int]) -> NDArray[np.int64]:
    """Which object every pixel belongs to, 0 for none, `[H, W]`, from shares `[K, rows, columns]`.

    Every object's shares are stretched from 0 to 1 over the frame first, as DINO does: a faint one is not lost.
    """
    large = interpolate(shares[None], size=size, mode="bilinear", align_corners=False)[0]
    low, high = large.amin(dim=(1, 2), keepdim=True), large.amax(dim=(1, 2), keepdim=True)
    stretched = torch.where(high > low, (large - low) / (high - low).clamp(min=1e-12), (large > 0).float())
    return stretched.argmax(dim=0).cpu().numpy()
