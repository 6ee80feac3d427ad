"""The numbers behind the figure of inter-instance similarity."""

import pytest
import torch

from sslcli.errors import UserError
from sslcli.evaluation.similarity import ROLES, draw_keys, similarity_figure

LABELS = torch.arange(6).repeat_interleave(5)  # five pictures of each of six classes


def test_each_key_has_its_role_and_none_is_there_twice() -> None:
    keys = draw_keys(LABELS, 7, {2, 3}, seed=0)
    roles = {1: "same", 2: "similar", 3: "similar"}
    assert tuple(roles.get(int(LABELS[key]), "other") for key in keys) == ROLES
    assert len({7, *keys}) == 10


def test_the_same_seed_draws_the_same_keys() -> None:
    drawn = [draw_keys(LABELS, 7, {2}, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_numbers_are_cosines_whatever_the_length() -> None:
    angle = torch.tensor([0.0, 0.3, 0.3, 1.5, 1.5, 1.5])[LABELS] + torch.arange(30) * 1e-4
    features = torch.stack([angle.cos(), angle.sin()], dim=1) * torch.arange(1, 31)[:, None]
    figure = similarity_figure(features, LABELS, 0, {1, 2})
    assert figure.similarities == pytest.approx([float((angle[0] - angle[key]).cos()) for key in figure.keys], abs=1e-5)
    assert figure.in_order()
    assert not similarity_figure(features, LABELS, 0, {4, 5}).in_order()


@pytest.mark.parametrize(("similar", "role"), [(set(), "similar"), ({0, 2, 3, 4, 5}, "other")])
def test_too_few_pictures_of_a_role_are_refused(similar: set[int], role: str) -> None:
    with pytest.raises(UserError, match=f"of the role '{role}'"):
        draw_keys(LABELS, 7, similar, seed=0)
