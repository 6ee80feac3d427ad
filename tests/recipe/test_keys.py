"""Key paths and the lines that say them."""

import tomllib
from typing import Any

import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sslcli.recipe.keys import dotted, lines_of
from sslcli.recipe.layers import paths_below

TEXT = """\
# comment
a = 1

[table]
b = [
  1,
  2,
]
"odd key" = 3
c.d = 4
[[list]]
e = 1
[[list]]
f = \"\"\"
e = 7
\"\"\"
"""


def line(*path: str | int) -> int | None:
    return lines_of(TEXT, [path]).get(path)


def test_a_key_is_on_its_line() -> None:
    assert (line("a"), line("table"), line("table", "odd key"), line("table", "c", "d")) == (2, 4, 9, 10)


def test_a_value_of_several_lines_begins_on_its_first() -> None:
    assert (line("table", "b"), line("table", "b", 1), line("list", 1, "f")) == (5, 5, 14)


def test_entries_of_an_array_of_tables_are_told_apart() -> None:
    assert (line("list", 0), line("list", 0, "e"), line("list", 1)) == (11, 12, 13)


def test_a_key_within_a_text_is_no_key() -> None:
    assert line("list", 1, "e") is None


def test_a_missing_key_has_no_line() -> None:
    assert line("table", "z") is None


def test_a_dotted_path_quotes_what_needs_quotes() -> None:
    assert dotted(("loss", 0, "a.b", "c_d")) == 'loss.0."a.b".c_d'


values: Any = st.recursive(
    st.integers(-9, 9) | st.booleans() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc. ", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text("abc", min_size=1), values, max_size=4))
def test_every_key_of_a_text_has_the_line_on_which_it_first_exists(data: dict[str, Any]) -> None:
    text = tomli_w.dumps(data)
    paths = {path for path in paths_below((), tomllib.loads(text)) if path}
    found = lines_of(text, paths)
    assert set(found) == paths
    assert all(found[path[:-1]] <= found[path] for path in paths if len(path) > 1)
