"""Figures of any backbone: where it looks, what its tokens and vectors are like, and how its training went."""

from collections.abc import Iterator
from typing import Literal

from sslcli.api import Figure, FigureOptions, Offers, hookimpl
from sslcli_figures import options as of

CODE = "sslcli_figures.figures"


@hookimpl
def sslcli_figures() -> Offers:
    """Figures of maps, of vectors and of training."""
    yield from figures_of_tokens()
    yield from figures_of_vectors()
    yield offer(
        "curves", of.CurvesOptions, "loss, rate, health and probe accuracy while a run was trained", needs="notes"
    )


def figures_of_tokens() -> Iterator[Figure]:
    """What needs patch tokens."""
    yield offer("attention", of.AttentionOptions, "where CLS looks in the last block, head by head", needs="tokens")
    yield offer(
        "pca", of.PcaOptions, "patch tokens of several pictures in the colours of three components", needs="tokens"
    )


def figures_of_vectors() -> Iterator[Figure]:
    """What anything can give that makes vectors of pictures."""
    yield offer("embedding", of.EmbeddingOptions, "the vectors of pictures on a plane, by t-SNE, UMAP or PCA")
    yield offer("neighbours", of.NeighboursOptions, "pictures and those whose vectors lie nearest")
    yield offer("neighbour-matrix", of.NeighbourMatrixOptions, "which classes the nearest neighbours of each are of")
    yield offer("class-distances", of.ClassDistancesOptions, "how much farther other classes are than the own one")
    yield offer("discriminant-ratio", of.DiscriminantRatioOptions, "how well each two classes can be told apart")


def offer(
    name: str, options: type[FigureOptions], summary: str, *, needs: Literal["notes", "vectors", "tokens"] = "vectors"
) -> Figure:
    """A figure whose code has its name: `draw` in `figures/<name>.py`."""
    return Figure(name, options, f"{CODE}.{name.replace('-', '_')}:draw", summary=summary, needs=needs)
