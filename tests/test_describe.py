"""The options of a plugin in words."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from sslcli.api import LossOptions, Options, Pair, Seed, Share, Value
from sslcli.describe import Option, describe


class Inner(Options):
    """A table in the table."""

    size: int = 1


class Example(LossOptions):
    """One option of every sort."""

    count: Annotated[int, Field(ge=1)] = 3  # how many # of them
    share: Share = 0.5
    rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    seed: Seed = 0
    way: Literal["up", "down"] = "up"
    pair: Pair = (0.0, 1.0)
    inner: Inner | None = None
    names: tuple[str, ...] = ()
    moving: Value = 1.0
    path: str = Field(description="where it is")


def option(name: str) -> Option:
    """One option of the example."""
    return next(option for option in describe(Example) if option.name == name)


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("count", "whole number, at least 1"),
        ("share", "number from 0 to 1"),
        ("rate", "number, more than 0, less than 1"),
        ("seed", "whole number from 0 to 2147483647"),
        ("way", '"up" or "down"'),
        ("pair", "array of 2: number"),
        ("inner", "table"),
        ("names", "array of string"),
        ("moving", "number or table"),
        ("path", "string"),
    ],
)
def test_what_an_option_takes_is_said_in_words(name: str, takes: str) -> None:
    assert option(name).takes == takes


def test_an_option_is_explained_by_its_description_or_the_comment_at_its_line() -> None:
    assert option("path").about == "where it is"
    assert option("count").about == "how many # of them"
    assert option("weight").about == "in the total; 0 leaves the loss out"  # of the base
    assert option("share").about == ""


def test_defaults_are_plain_data_and_what_has_none_is_required() -> None:
    assert option("pair").default == [0.0, 1.0]
    assert (option("path").required, option("path").default) == (True, None)
    assert (option("inner").required, option("inner").default) == (False, None)


def test_options_stand_in_the_order_of_their_definition_the_base_first() -> None:
    assert [option.name for option in describe(Example)][:4] == ["weight", "views", "count", "share"]
