"""Options by flags alone."""

from typing import Annotated

import pytest
from pydantic import Field

from sslcli.api import Importer, Options
from sslcli.errors import UserError
from sslcli.recipe.flags import options_from_flags


class Sizes(Options):
    """Options of an importer."""

    heads: Annotated[int, Field(ge=1)]
    share: float = 0.5


OFFER = Importer("old", Sizes, "a:b")


def refused(*flags: str) -> UserError:
    """What is said of wrong flags."""
    with pytest.raises(UserError) as told:
        options_from_flags(OFFER, flags)
    return told.value


def test_flags_are_toml_and_give_checked_options() -> None:
    assert options_from_flags(OFFER, ["heads=3", "share=0.25"]) == Sizes(heads=3, share=0.25)


def test_the_last_word_counts() -> None:
    assert options_from_flags(OFFER, ["heads=3", "heads=4"]) == Sizes(heads=4)


def test_an_unknown_option_is_told_with_what_may_be_meant() -> None:
    told = refused("heads=3", "shape=0.5")
    assert (told.message, told.hint) == ("--set shape=0.5: shape unknown option", "did you mean 'share'?")


def test_an_option_that_is_missing_is_told_on_account_of_the_plugin() -> None:
    told = refused()
    assert (told.message, told.hint) == ("importer old: heads is missing", "its options: sslcli plugins show old")


def test_all_mistakes_are_told_at_once() -> None:
    lines = refused("heads=0", "nothing", "share=[").message.splitlines()
    assert [line.split(":")[0] for line in lines] == ["--set heads=0", "--set nothing", "--set share=["]
