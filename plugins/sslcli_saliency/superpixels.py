"""A picture as some 250 superpixels: patches of about one colour, and how they lie to each other."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import shortest_path

from sslcli_saliency.maps import Map, Values

Pairs = NDArray[np.float64]  # one number for each two superpixels, [N, N]
COMPACTNESS = 25.0  # of SLIC: how much nearness counts beside likeness, in CIELAB
ROUNDS = 3  # of SLIC's k-means
LEAST_PIXELS = 9  # in a superpixel
DIFFERENT = 15.0  # CIELAB: colours farther apart than this are little more than just different
FREE = 1e-9  # what a step costs that costs nothing: scipy takes 0 for no step at all


@dataclass(frozen=True)
class Superpixels:
    """N patches that cover a picture."""

    labels: NDArray[np.int64]  # [H, W], which patch a pixel belongs to, 0 … N - 1
    sizes: Values  # [N], pixels
    colours: NDArray[np.float64]  # [N, 3], mean CIELAB
    centres: NDArray[np.float64]  # [N, 2], mean row and column, as shares of the longer side
    neighbours: NDArray[np.bool_]  # [N, N], have pixels beside each other; none is its own neighbour
    border: NDArray[np.bool_]  # [N], touch the picture's border

    @cached_property
    def contrasts(self) -> Pairs:
        """How much the colours of two patches differ: as CIELAB says, but never by more than `DIFFERENT`.

        Else black on white would outshine all that is grey, though the grey too is clearly no white.
        """
        return np.asarray(DIFFERENT * (1.0 - np.exp(-distances(self.colours) / DIFFERENT)))

    @cached_property
    def ways(self) -> Pairs:
        """Lengths of the shortest ways from patch to patch, over neighbours; patches on the border are joined.

        A step costs the contrast, less what is usual between a patch and its most similar neighbour: else the many
        small steps of a soft gradient would count as a wall.
        """
        joined = self.neighbours | np.outer(self.border, self.border)
        costs = np.maximum(self.contrasts - self.usual_step, 0.0) + FREE
        np.fill_diagonal(costs, 0.0)
        return np.asarray(shortest_path(csr_matrix(np.where(joined, costs, 0.0)), method="FW", directed=False))

    @property
    def usual_step(self) -> float:
        """The mean, over patches, of the contrast with the most similar neighbour."""
        if len(self.sizes) == 1:
            return 0.0
        return float(np.where(self.neighbours, self.contrasts, np.inf).min(axis=1).mean())

    def paint(self, values: Values) -> Map:
        """A number a patch as a map `[H, W]`."""
        return values.astype(np.float32)[self.labels]

    def average(self, found: NDArray[np.floating]) -> Values:
        """The mean of a map `[H, W]` over each patch."""
        return np.bincount(self.labels.ravel(), found.ravel(), len(self.sizes)) / self.sizes


def distances(points: NDArray[np.float64]) -> Pairs:
    """Euclidean distances between all rows of `[N, D]`."""
    apart = points[:, None] - points
    return np.asarray(np.sqrt(np.einsum("ijk,ijk->ij", apart, apart)))


def superpixels_of(lab: NDArray[np.float32], number: int) -> Superpixels:
    """About as many superpixels of a picture in CIELAB `[H, W, 3]`, by SLIC (Achanta et al., TPAMI 2012)."""
    from skimage.segmentation import slic

    number = max(min(number, lab.shape[0] * lab.shape[1] // LEAST_PIXELS), 1)
    compactness = COMPACTNESS / max(float(np.ptp(lab)), 1.0)  # slic squeezes what it is given into 0 to 1
    labels = slic(lab, number, compactness, max_num_iter=ROUNDS, convert2lab=False, start_label=0)
    return described(np.asarray(labels), lab)


def described(labels: NDArray[np.int64], lab: NDArray[np.floating]) -> Superpixels:
    """The superpixels of labels `[H, W]` on a picture in CIELAB `[H, W, 3]`."""
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)  # none is missing
    flat = labels.ravel()
    sizes = np.bincount(flat).astype(np.float64)
    colours = np.stack([np.bincount(flat, channel.ravel()) for channel in np.moveaxis(lab, -1, 0)], axis=1)
    centres = np.stack([np.bincount(flat, place.ravel()) for place in np.indices(labels.shape)], axis=1)
    return Superpixels(
        labels,
        sizes,
        colours / sizes[:, None],
        centres / sizes[:, None] / max(labels.shape),
        beside(labels, len(sizes)),
        on_border(labels, len(sizes)),
    )


def beside(labels: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Which patches have pixels beside each other, `[N, N]`."""
    found = np.zeros((count, count), bool)
    found[labels[:, :-1], labels[:, 1:]] = True
    found[labels[:-1], labels[1:]] = True
    found |= found.T
    np.fill_diagonal(found, False)
    return found


def on_border(labels: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Which patches have pixels on the border of the picture, `[N]`."""
    found = np.zeros(count, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        found[side] = True
    return found
