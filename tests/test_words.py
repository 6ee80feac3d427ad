"""Numbers of things as one would say them."""

import pytest

from sslcli.words import counted


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 sets"), (1, "1 set"), (1.0, "1 set"), (0.5, "0.5 sets"), (3, "3 sets"), (1281167, "1281167 sets")],
)
def test_one_thing_is_no_plural(number: float, said: str) -> None:
    assert counted(number, "set") == said
