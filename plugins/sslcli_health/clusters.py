"""Cluster learnability: how soon nearest neighbours learn what k-means found (Lu et al. 2023, the CL of CLID).

labels      the clusters of all unit features
learnt      the pictures come one after another; of each, the nearest of those before it guesses the cluster
"""

import warnings

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sslcli.nn.health import BLOCK, unit


def cluster(features: Tensor, clusters: int, seed: int) -> Tensor:
    """The cluster of each of the unit features `[N, D]`, int64 `[N]`; fewer where fewer differ."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters
        found = KMeans(clusters, n_init=1, random_state=seed).fit_predict(unit(features).numpy())
    return torch.from_numpy(found.astype(np.int64))


def learnt(features: Tensor, labels: Tensor, seed: int) -> Tensor:
    """Whether the nearest of the pictures before it has the same label, bool `[N - 1]`: prequential, in a drawn order.

    `features [N, D]`, `labels [N]`. Distances are those of unit features; of equal ones the earlier picture counts.
    """
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(features)))
    rows, labels = unit(features)[order], labels[order]
    right = []
    for first in range(0, len(rows), BLOCK):
        near = rows[first : first + BLOCK] @ rows.T
        places = torch.arange(first, first + len(near))
        near[torch.arange(len(rows)) >= places[:, None]] = -torch.inf
        right.append(labels[near.argmax(dim=1)] == labels[places])
    return torch.cat(right)[1:]
