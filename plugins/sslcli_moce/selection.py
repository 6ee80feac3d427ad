"""Which experts the pictures of a task ask for: each votes for the nearest cluster, and so for that cluster's experts.

    largest    the experts of the cluster with most votes (arXiv 2402.05382)
    heaviest   clusters with the same experts in all layers put their votes together; the most wins, and of its clusters
               the one with most votes gives the gates

Equal votes go to the lowest number. Clusters are not balanced here: that would make all votes equal.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from sslcli.errors import UserError
from sslcli_moce.clusters import nearest
from sslcli_moce.extraction import ExpertPath

Vote = Literal["largest", "heaviest"]
Key = TypeVar("Key", int, ExpertPath)
BLOCK = 65_536  # features at a time, so that memory does not grow with their number
RESAMPLES = 1000

SURE = 0.95  # of the resamples, below which the choice hangs on which pictures there are
HALF = 0.5  # of the pictures
FEW = 30  # pictures
FAR = 2.0  # times as far from their centroids as the training pictures, by 1 - cosine


def count_votes(features: Tensor, centroids: Tensor) -> tuple[Tensor, float]:
    """Pictures nearest to each centroid, int64 `[m]`, and the mean cosine with it, of features `[N, D]`."""
    counts, cosines = torch.zeros(len(centroids), dtype=torch.int64), 0.0
    for begin in range(0, len(features), BLOCK):
        block = features[begin : begin + BLOCK]
        ids = nearest(block, centroids)
        counts += ids.bincount(minlength=len(centroids))
        cosines += float((normalize(block.float(), dim=-1) * centroids.to(block)[ids]).sum())
    if not len(features):
        raise UserError("there is no picture to vote", "name a data set with pictures that can be read")
    return counts, cosines / len(features)


@dataclass(frozen=True)
class Ballot:
    """The votes of a task: for each of m clusters the number of pictures, `[m]`, and the experts it is sent to."""

    counts: Tensor
    paths: Sequence[ExpertPath]

    @property
    def pictures(self) -> int:
        """How many voted."""
        return int(self.counts.sum())

    @cached_property
    def by_cluster(self) -> dict[int, int]:
        """Votes of every cluster that has some, the most first."""
        return ordered(Counter(dict(enumerate(self.counts.tolist()))))

    @cached_property
    def by_path(self) -> dict[ExpertPath, int]:
        """Votes of all clusters that take the same experts, the most first."""
        votes: Counter[ExpertPath] = Counter()
        for path, count in zip(self.paths, self.counts.tolist()):
            votes[path] += count
        return ordered(votes)

    @cached_property
    def by_layer(self) -> list[dict[int, int]]:
        """Votes of each expert in every layer, the most first."""
        layers: list[Counter[int]] = [Counter() for _ in self.paths[0]]
        for path, count in self.by_path.items():
            for votes, expert in zip(layers, path):
                votes[expert] += count
        return [ordered(votes) for votes in layers]


def ordered(votes: Counter[Key]) -> dict[Key, int]:
    """What has votes, the most first; of equals the lowest number first."""
    return dict(sorted(((key, count) for key, count in votes.items() if count), key=lambda pair: (-pair[1], pair[0])))


@dataclass(frozen=True)
class Choice:
    """The experts of a task, and how sure they are."""

    vote: Vote
    experts: ExpertPath  # of each layer
    cluster: int  # whose gates are folded in
    share: float  # of the pictures that vote for these experts
    second: ExpertPath | None  # the experts with most votes among the others
    margin: float  # by which their share is less; below 0 where `largest` passed over more votes
    stability: float  # the share of resamples of the pictures in which the same experts win
    ties: tuple[str, ...] = ()


def choose(ballot: Ballot, vote: Vote = "largest", *, seed: int = 0) -> Choice:
    """The experts that a ballot elects."""
    winner = int(winners(ballot.counts.numpy()[None], ballot.paths, vote)[0])
    experts = sorted(set(ballot.paths))[winner]
    votes = ballot.by_path
    second = next((path for path in votes if path != experts), None)
    behind = votes[second] if second is not None else 0
    return Choice(
        vote,
        experts,
        next(cluster for cluster in ballot.by_cluster if ballot.paths[cluster] == experts),
        votes[experts] / ballot.pictures,
        second,
        (votes[experts] - behind) / ballot.pictures,
        stability(ballot, vote, winner, seed),
        ties_of(ballot, vote, experts),
    )


def winners(counts: NDArray[np.int64], paths: Sequence[ExpertPath], vote: Vote) -> NDArray[np.int64]:
    """Which of the sorted paths wins by each row of counts `[R, m]`, `[R]`."""
    known = sorted(set(paths))
    places = np.array([known.index(path) for path in paths])
    if vote == "heaviest":
        counts = counts @ (places[:, None] == np.arange(len(known))).astype(np.int64)
        places = np.arange(len(known))
    first: NDArray[np.int64] = places[counts.argmax(axis=1)]
    return first


def stability(ballot: Ballot, vote: Vote, winner: int, seed: int) -> float:
    """The share of 1000 resamples of the pictures, with replacement, in which the same experts win."""
    shares = ballot.counts.double().numpy() / ballot.pictures
    drawn = np.random.default_rng(seed).multinomial(ballot.pictures, shares, size=RESAMPLES)
    return float((winners(drawn, ballot.paths, vote) == winner).mean())


def ties_of(ballot: Ballot, vote: Vote, experts: ExpertPath) -> tuple[str, ...]:
    """In words, which equal votes were decided by the lowest number."""
    said = []
    equal = [path for path, votes in ballot.by_path.items() if votes == ballot.by_path[experts]]
    if vote == "heaviest" and len(equal) > 1:
        said.append(f"experts {' and '.join(map(named, equal))} have equally many votes: the lowest number was taken")
    own = {c: n for c, n in ballot.by_cluster.items() if vote == "largest" or ballot.paths[c] == experts}
    level = [cluster for cluster, votes in own.items() if votes == max(own.values())]
    if len(level) > 1:
        said.append(f"clusters {' and '.join(map(str, level))} have equally many votes: the lowest number was taken")
    return tuple(said)


def named(experts: ExpertPath) -> str:
    """`3-5`: the expert of each layer, from the first to the last."""
    return "-".join(map(str, experts))


def doubts(ballot: Ballot, choice: Choice, cosine: float, usual: float | None = None) -> tuple[str, ...]:
    """In words, why a choice may be a weak one; nothing where it is not.

    `cosine` is the mean of the pictures with their centroids, `usual` that of the pictures that were clustered.
    """
    said = list(choice.ties)
    if ballot.pictures < FEW:
        said.append(f"only {ballot.pictures} pictures vote")
    if choice.margin < 0:
        said.append(f"the experts {named(choice.second or ())} have more votes in all: see --vote heaviest")
    if choice.share < HALF:
        said.append(f"only {choice.share:.0%} of the pictures ask for these experts")
    if choice.stability < SURE:
        said.append(f"other experts win in {1 - choice.stability:.0%} of {RESAMPLES} resamples of the pictures")
    if usual is not None and 1 - cosine > FAR * (1 - usual):
        said.append(f"the pictures are far from all clusters: mean cosine {cosine:.3f}, of those clustered {usual:.3f}")
    return tuple(said)
