"""What is said to a person."""

from sslcli.errors import did_you_mean


def test_the_close_name_is_the_hint() -> None:
    assert did_you_mean("lrr", ["lr", "clip"]) == "did you mean 'lr'?"


def test_all_names_are_the_hint_when_none_is_close() -> None:
    assert did_you_mean("x", ["lr", "clip"]) == "known: clip, lr"
    assert did_you_mean("x", []) == ""


def test_nobody_is_given_a_thousand_names_to_read() -> None:
    hint = did_you_mean("x", [f"model_{number:03d}" for number in range(1000)])
    assert hint.endswith("model_019 and 980 more")


def test_what_has_no_name_is_not_listed() -> None:
    assert did_you_mean("x", ["", "mae", "mugs"]) == "known: mae, mugs"
