"""Counting pictures that cannot be read."""

import pytest

from sslcli.data.broken import BrokenCount
from sslcli.errors import RunError


def count(samples: int, limit: float = 0.01, policy="skip") -> tuple[BrokenCount, list[str]]:
    said: list[str] = []
    return BrokenCount(samples, limit=limit, policy=policy, warn=said.append), said


def test_a_broken_picture_is_told_once_with_path_and_reason():
    broken, said = count(1000)
    broken.add([("a.jpg", "truncated"), ("a.jpg", "truncated")])
    broken.add([("a.jpg", "truncated")])
    assert said == ["skipped a picture that cannot be read: a.jpg: truncated"]


def test_more_than_the_limit_stops_the_run_with_the_count():
    broken, _ = count(300)
    broken.add([(f"{i}.jpg", "empty") for i in range(3)])
    with pytest.raises(RunError, match="4 of 300 pictures cannot be read") as caught:
        broken.add([("last.jpg", "empty")])
    assert "data.broken_limit = 0.01 allows 3" in caught.value.hint


def test_the_hint_names_what_the_user_turns_to_change_the_limit():
    broken = BrokenCount(1, limit=0.0, warn=print, knob="--broken-limit")
    with pytest.raises(RunError) as caught:
        broken.add([("a.jpg", "empty")])
    assert caught.value.hint.startswith("--broken-limit = 0 allows 0")


def test_one_broken_picture_never_stops_a_small_set():
    broken, _ = count(20)
    broken.add([("a.jpg", "empty")])
    with pytest.raises(RunError, match="2 of 20"):
        broken.add([("b.jpg", "empty")])


def test_a_limit_of_zero_allows_none():
    broken, _ = count(1000, limit=0.0)
    with pytest.raises(RunError, match="1 of 1000"):
        broken.add([("a.jpg", "empty")])


def test_the_policy_stop_stops_at_the_first():
    broken, _ = count(1000, policy="stop")
    with pytest.raises(RunError, match=r"cannot read a\.jpg: empty"):
        broken.add([("a.jpg", "empty")])
