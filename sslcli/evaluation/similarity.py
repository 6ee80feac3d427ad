"""How alike a picture is to nine others: the figure of inter-instance similarity of PatchMix (arXiv:2306.12243).

    other    other   other        the middle one is of the query's class, those beside it are of classes that resemble
    similar  same    similar      it, the six around are of any others; a number is the cosine of two features
    other    other   other

Good features put `same` above `similar` above `other`. The paper's figure does not say which features it compares, nor
on what scale, so only this order may be compared with it, not the numbers.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslcli.errors import UserError

ROLES = ("other", "other", "other", "similar", "same", "similar", "other", "other", "other")  # row by row


@dataclass(frozen=True)
class SimilarityFigure:
    """One row of the figure: pictures by their rows in the features, and cosines, both in the order of `ROLES`."""

    query: int
    keys: tuple[int, ...]
    similarities: tuple[float, ...]

    def of(self, role: str) -> tuple[float, ...]:
        """The similarities of the keys with a role."""
        return tuple(value for value, own in zip(self.similarities, ROLES) if own == role)

    def in_order(self) -> bool:
        """Whether the query's class is nearest, then those that resemble it, then the others."""
        return min(self.of("same")) > max(self.of("similar")) and min(self.of("similar")) > max(self.of("other"))


def similarity_figure(
    features: Tensor, labels: Tensor, query: int, similar: Collection[int], *, seed: int = 0
) -> SimilarityFigure:
    """The figure of one query among `features [N, D]`, the keys drawn by their `labels [N]`.

    `similar` are the classes that resemble the query's. Raises UserError where there are too few pictures of a role.
    """
    keys = draw_keys(labels, query, similar, seed)
    units = normalize(features[[query, *keys]].float(), dim=1)
    return SimilarityFigure(query, keys, tuple((units[1:] @ units[0]).tolist()))


def draw_keys(labels: Tensor, query: int, similar: Collection[int], seed: int) -> tuple[int, ...]:
    """Nine rows, each of its role, none twice and never the query."""
    same = labels == labels[query]
    alike = torch.isin(labels, torch.tensor(sorted(similar), device=labels.device, dtype=labels.dtype)) & ~same
    candidates = {"same": same.clone().index_fill_(0, torch.tensor(query, device=labels.device), False)}
    candidates |= {"similar": alike, "other": ~same & ~alike}
    generator = torch.Generator().manual_seed(seed)
    drawn = {role: shuffled(candidates[role], generator) for role in dict.fromkeys(ROLES)}
    for role, rows in drawn.items():
        if len(rows) < ROLES.count(role):
            message = f"the figure needs {ROLES.count(role)} pictures of the role {role!r}, and there are {len(rows)}"
            raise UserError(message, "name more classes that resemble the query's, or take more pictures")
    return tuple(drawn[role].pop() for role in ROLES)


def shuffled(chosen: Tensor, generator: torch.Generator) -> list[int]:
    """The rows where `chosen [N]` is true, in a random order."""
    rows = chosen.nonzero()[:, 0].tolist()
    return [rows[place] for place in torch.randperm(len(rows), generator=generator)]
