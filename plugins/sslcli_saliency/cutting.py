"""Object and background told apart on superpixels, by what they look like and by where they hang together.

A cheap stand-in for GrabCut (Rother et al., SIGGRAPH 2004): the colours of both are estimated anew from the map, and
the cheapest cut (Boykov & Jolly, ICCV 2001) between them is the mask.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from sslcli_saliency.maps import Values
from sslcli_saliency.superpixels import Superpixels

COLOUR_SPREAD = 5.0  # CIELAB, of the kernel that estimates densities of colours
CERTAIN = 0.98  # no patch is more surely of the object, or of the background, than this
SMOOTHNESS = 2.0  # what a cut between like neighbours costs, beside the logarithms of their probabilities
FLOOR = 0.1  # of that, for neighbours that are not alike at all
SHARPNESS = 0.35  # differences count as such above this share of what neighbours usually differ by
GRAIN = 1000  # of the whole numbers that scipy's flow wants


def object_patches(patches: Superpixels, values: Values, threshold: float) -> NDArray[np.bool_]:
    """Which patches are of the object, `[N]`, by values from 0 to 1 of which `threshold` is the middle."""
    prior = around_half(values, threshold)
    seen = colour_posterior(patches, prior)
    return cheapest_cut(patches, joint(prior, seen))


def around_half(values: Values, threshold: float) -> Values:
    """The values so bent that the threshold comes to lie at 1/2, and ends are less than certain."""
    threshold = min(max(threshold, 1e-6), 1.0 - 1e-6)
    bent = np.where(values < threshold, 0.5 * values / threshold, 1.0 - 0.5 * (1.0 - values) / (1.0 - threshold))
    return np.asarray(bent.clip(1.0 - CERTAIN, CERTAIN))


def colour_posterior(patches: Superpixels, prior: Values) -> Values:
    """How likely a patch's colour is the object's rather than the background's, at even odds before, `[N]`.

    Both densities are sums of Gaussians over all patches, weighted by their sizes and the prior.
    """
    kernel = np.exp(-(patches.contrasts**2) / (2 * COLOUR_SPREAD**2))
    inside, outside = patches.sizes * prior, patches.sizes * (1.0 - prior)
    of_object, of_background = kernel @ inside / inside.sum(), kernel @ outside / outside.sum()
    posterior: Values = of_object / (of_object + of_background)
    return posterior.clip(1.0 - CERTAIN, CERTAIN)


def joint(one: Values, other: Values) -> Values:
    """The geometric mean of two opinions."""
    yes, no = np.sqrt(one * other), np.sqrt((1.0 - one) * (1.0 - other))
    both: Values = yes / (yes + no)
    return both


def cheapest_cut(patches: Superpixels, probability: Values) -> NDArray[np.bool_]:
    """The patches on the object's side, `[N]`, where opinions overruled and neighbours parted cost least together."""
    count = len(probability)
    weights = patches.sizes / patches.sizes.mean()
    costs = np.zeros((count + 2, count + 2))  # the last two are the object and the background themselves
    costs[:count, :count] = SMOOTHNESS * likeness(patches)
    costs[count, :count] = -weights * np.log(1.0 - probability)
    costs[:count, count + 1] = -weights * np.log(probability)
    capacity = csr_matrix(np.rint(GRAIN * costs).astype(np.int32))
    left = capacity - maximum_flow(capacity, count, count + 1).flow
    left.eliminate_zeros()
    side = np.zeros(count + 2, bool)
    side[breadth_first_order(left, count, return_predecessors=False)] = True
    return side[:count]


def likeness(patches: Superpixels) -> NDArray[np.float64]:
    """How alike neighbours are, `[N, N]`, in the measure of this picture (Boykov & Jolly); 0 for others."""
    squared = patches.contrasts**2
    usual = squared[patches.neighbours].mean() if patches.neighbours.any() else 1.0
    alike = np.exp(-squared / (2 * SHARPNESS**2 * max(usual, 1e-9))) + FLOOR
    return np.where(patches.neighbours, alike, 0.0)
