"""The vectors of pictures on a plane: t-SNE (van der Maaten and Hinton 2008), UMAP (arXiv:1802.03426) or PCA."""

from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from sslcli.errors import UserError
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.samples import evenly, numbers_of
from sslcli.evaluation.style import COLOURS, INK, bare, canvas, looks, style
from sslcli.evaluation.trial import Trial
from sslcli_figures.figures.vectors import Vectors, vectors
from sslcli_figures.options import EmbeddingOptions

Plane = NDArray[np.float64]
NARROW = 50  # components that are left before neighbours are sought
LEGIBLE = 24  # classes that a legend can hold
NAMES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}
FEWEST = 5


def draw(options: EmbeddingOptions, trial: Trial) -> Drawing:
    """A point a picture."""
    found = chosen(vectors(trial).unit(), options)
    plane = placed(found.rows.double().numpy(), options)
    how = NAMES[options.method]
    figure = drawn(plane, found, f"{how} of {len(plane)} pictures")
    return Drawing(f"Pictures on a plane, by {how}", figure, caption(options, found), numbers_in(options, found, plane))


def chosen(found: Vectors, options: EmbeddingOptions) -> Vectors:
    """The classes that were named, or as many as a legend can hold, and so many pictures of them. Raises UserError."""
    if found.labels is None:
        if options.classes:
            raise UserError("these pictures have no classes", "leave --classes out, or name labelled pictures")
        places = list(range(len(found.rows)))
    else:
        numbers = numbers_of(options.classes, found.classes)
        if not options.classes and len(numbers) > LEGIBLE:
            numbers = [numbers[place] for place in evenly(len(numbers), LEGIBLE, options.seed)]
        places = torch.nonzero(torch.isin(found.labels, torch.tensor(numbers)))[:, 0].tolist()
    some = found.take([places[place] for place in evenly(len(places), options.points, options.seed)])
    if len(some.rows) < FEWEST:
        raise UserError(f"{len(some.rows)} pictures are too few to draw a plane of", "name more pictures: --data SPEC")
    return some


def placed(rows: Plane, options: EmbeddingOptions) -> Plane:
    """Unit vectors `[N, D]` on a plane, `[N, 2]`; the seed fixes it. Raises UserError where UMAP is missing."""
    if options.method == "pca":
        return filled(PCA(min(2, *rows.shape), svd_solver="full").fit_transform(rows))
    narrow = PCA(min(NARROW, *rows.shape), svd_solver="full").fit_transform(rows)
    if options.method == "umap":
        count = min(options.neighbours, len(rows) - 1)
        made: Plane = umap().UMAP(n_neighbors=count, random_state=options.seed, n_jobs=1).fit_transform(narrow)
        return made
    wanted = perplexity(options, len(rows))
    plane: Plane = TSNE(perplexity=wanted, init="pca", random_state=options.seed).fit_transform(narrow)
    return plane


def filled(plane: Plane) -> Plane:
    """Two columns, also where the vectors have one."""
    return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))


def umap() -> Any:
    """The package, which is not installed with sslcli."""
    try:
        return import_module("umap")
    except ImportError:
        raise UserError("UMAP is not installed", "pip install umap-learn, or take '--method tsne'") from None


def drawn(plane: Plane, found: Vectors, title: str) -> Any:
    """Points, and a legend of the classes below them."""
    present = [] if found.labels is None else sorted(set(found.labels.tolist()))
    columns = legend_columns([found.classes[number] for number in present])
    rows = -(-len(present) // columns)
    with style():
        figure, axes = canvas(height=4.2 + 0.2 * rows)
        bare(axes)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(title)
        how = {"s": 12, "linewidths": 0, "rasterized": True}
        if found.labels is None:
            axes.scatter(*plane.T, color=COLOURS[0], alpha=0.7, **how)
        for place, number in enumerate(present):
            own = plane[found.labels.numpy() == number] if found.labels is not None else plane
            axes.scatter(*own.T, label=found.classes[number], alpha=0.8, **looks(place), **how)
        if present:
            figure.legend(loc="outside lower center", ncols=columns, labelcolor=INK, handletextpad=0.1, markerscale=1.5)
    return figure


def legend_columns(names: list[str]) -> int:
    """How many names stand beside each other."""
    longest = max(map(len, names), default=0)
    return 4 if longest <= 10 else 3 if longest <= 18 else 2


def caption(options: EmbeddingOptions, found: Vectors) -> str:
    """What is seen."""
    count, width = found.rows.shape
    left = min(NARROW, count, width)
    narrow = f"first brought to {left} components, " if width > left and options.method != "pca" else ""
    cut = found.labels is not None and not options.classes and len(found.classes) > LEGIBLE
    which = f" {LEGIBLE} of {len(found.classes)} classes are shown." if cut else ""
    return f"Vectors of {count} pictures, of unit length, {narrow}put on a plane {way(options, count)}.{which}"


def way(options: EmbeddingOptions, count: int) -> str:
    """How they came onto the plane."""
    if options.method == "pca":
        return "by their first two principal components"
    alike = f"(seed {options.seed}): near pictures are alike; distances between groups, and their sizes, mean little"
    if options.method == "umap":
        return f"by UMAP of {min(options.neighbours, count - 1)} neighbours {alike}"
    return f"by t-SNE of perplexity {perplexity(options, count):.3g} {alike}"


def perplexity(options: EmbeddingOptions, count: int) -> float:
    """What is wanted, or a third of the pictures."""
    return min(options.perplexity, (count - 1) / 3)


def numbers_in(options: EmbeddingOptions, found: Vectors, plane: Plane) -> dict[str, Any]:
    """The points, and the class of each."""
    names = None if found.labels is None else [found.classes[number] for number in found.labels.tolist()]
    return {"method": options.method, "points": plane.round(4).tolist(), "classes": names}
