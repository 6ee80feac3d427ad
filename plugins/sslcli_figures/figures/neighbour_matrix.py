"""Which classes the nearest neighbours are of: RELICv2's figure of neighbours (arXiv:2201.05119), and its numbers.

M[c, d] = share of the k * |C_c| neighbours of class c that are of class d        euclidean, itself left out
purity  = mean of the diagonal
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sslcli.errors import UserError
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.neighbours import top
from sslcli.evaluation.samples import numbers_of
from sslcli.evaluation.style import AMOUNT, FAINT, HEAT, INK, canvas, style
from sslcli.evaluation.trial import Trial
from sslcli_figures.figures.vectors import Vectors, fewer, labelled, members, several
from sslcli_figures.options import NeighbourMatrixOptions

LEGIBLE = 40  # classes whose names stand beside the matrix
SPELT = 12  # classes whose shares stand in it
MOST = 600  # pictures of a grid of pictures
BLOCK = 1024


def draw(options: NeighbourMatrixOptions, trial: Trial) -> Drawing:
    """A matrix of classes, or of the pictures of a few."""
    rows, labels, classes = labelled(trial)
    numbers = several(labels, numbers_of(options.classes, classes), 2)
    found = Vectors(rows, labels, classes).take(members(labels, numbers, options.per_class, options.seed))
    found = found.unit() if options.distance == "cosine" else found
    if options.k >= len(found.rows):
        raise UserError(f"{options.k} neighbours are more than there are others", fewer(len(found.rows) - 1))
    distances, near = neighbours(found.rows, options.k)
    owners = places_of(found, numbers)
    matrix = confusion(owners, near, len(numbers))
    names = [classes[number] for number in numbers]
    if options.grid == "pictures":
        figure = grid_of_pictures(distances, near, owners, names)
    else:
        figure = grid_of_classes(matrix, names, options.k)
    purity = float(matrix.diagonal().mean())
    facts = {"k": options.k, "classes": names, "matrix": matrix.tolist(), "purity": purity}
    facts |= {"mean_distance": float(distances.mean()), "pictures": len(near)}
    return Drawing(
        "Classes of the nearest neighbours", figure, caption(options, len(near), purity, len(numbers)), facts
    )


def places_of(found: Vectors, numbers: Sequence[int]) -> Tensor:
    """For each picture the place of its class among `numbers`, `[N]`."""
    assert found.labels is not None
    return (found.labels[:, None] == torch.tensor(numbers)).int().argmax(dim=1)


def neighbours(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Euclidean distances and rows `[N, k]` of the nearest others, the earlier one of equals."""
    rows = rows.double()
    found = []
    for begin in range(0, len(rows), BLOCK):
        distances = torch.cdist(rows[begin : begin + BLOCK], rows, compute_mode="donot_use_mm_for_euclid_dist")
        here = torch.arange(len(distances))
        distances[here, here + begin] = torch.inf
        near, columns = top(-distances, k)
        found.append((-near, columns))
    distances, columns = (torch.cat(parts) for parts in zip(*found))
    return distances, columns


def confusion(owners: Tensor, near: Tensor, classes: int) -> Tensor:
    """Of classes `[N]` and neighbours `[N, k]`: shares `[classes, classes]`, each row summing to one."""
    links = owners[:, None].expand_as(near) * classes + owners[near]
    counts = torch.bincount(links.flatten(), minlength=classes**2).view(classes, classes).double()
    return counts / counts.sum(dim=1, keepdim=True)


def caption(options: NeighbourMatrixOptions, pictures: int, purity: float, classes: int) -> str:
    """What is seen."""
    how = "between vectors of unit length" if options.distance == "cosine" else "between the vectors as they are"
    among = f"the {options.k} nearest neighbours of {pictures} test pictures among themselves, by distance {how}"
    if options.grid == "pictures":
        seen = f"Pictures sorted by class: a mark in a row for each of {among}; the darker the nearer"
    else:
        seen = f"Rows sum to one: of which classes are {among}"
    return (
        f"{seen}. {purity:.1%} of the neighbours are of the own class (mean over classes; {1 / classes:.1%} by chance)."
    )


def grid_of_classes(matrix: Tensor, names: Sequence[str], k: int) -> Any:
    """A heat map, shares written into it where there is room."""
    count = len(names)
    with style():
        figure, axes = canvas(height=5.2 if count <= LEGIBLE else 4.6)
        image = axes.imshow(matrix.numpy(), cmap=AMOUNT, vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(f"classes of the {k} nearest neighbours")
        axes.set_ylabel("class")
        axes.set_xlabel("of its neighbours")
        named(axes, names)
        if count <= SPELT:
            for row, column in torch.nonzero(matrix >= 0.005).tolist():
                share = float(matrix[row, column])
                colour = "white" if share > 0.55 else INK
                axes.text(column, row, f"{share:.0%}".rstrip("%"), ha="center", va="center", fontsize=8, color=colour)
        bar = figure.colorbar(image, ax=axes, shrink=0.5, pad=0.02, format=lambda share, _: f"{share:.0%}")
        bar.outline.set_visible(False)
    return figure


def named(axes: Any, names: Sequence[str]) -> None:
    """Names of classes at both axes where there is room for them."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    places = range(len(names)) if len(names) <= LEGIBLE else []
    axes.set_yticks(places, labels=names if places else [])
    axes.set_xticks(places, labels=names if places else [], rotation=90)
    axes.tick_params(length=0)


def grid_of_pictures(distances: Tensor, near: Tensor, owners: Tensor, names: Sequence[str]) -> Any:
    """A row and a column for each picture, a mark for each neighbour. Raises UserError for very many."""
    if len(near) > MOST:
        raise UserError(
            f"{len(near)} pictures are too many for a grid of them", "choose a few classes: --classes cat,dog"
        )
    rows = torch.arange(len(near))[:, None].expand_as(near)
    ends = [0, *torch.bincount(owners, minlength=len(names)).cumsum(0).tolist()]
    middles = [(low + high) / 2 - 0.5 for low, high in pairwise(ends)]
    with style():
        figure, axes = canvas(height=5.0)
        marks = axes.scatter(
            near.flatten(),
            rows.flatten(),
            c=distances.flatten(),
            cmap=HEAT,
            s=5,
            marker="s",
            linewidths=0,
            rasterized=True,
        )
        for end in ends[1:-1]:
            axes.axhline(end - 0.5, color=FAINT, linewidth=0.8)
            axes.axvline(end - 0.5, color=FAINT, linewidth=0.8)
        axes.set(
            xlim=(-0.5, len(near) - 0.5), ylim=(len(near) - 0.5, -0.5), aspect="equal", xlabel="nearest neighbours"
        )
        axes.set_yticks(middles, labels=names)
        axes.set_xticks(middles, labels=names, rotation=90 if len(names) > 4 else 0)
        axes.tick_params(length=0)
        bar = figure.colorbar(marks, ax=axes, shrink=0.5, pad=0.02, label="distance")
        bar.outline.set_visible(False)
    return figure
