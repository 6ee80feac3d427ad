"""What the identity of data covers, and what it does not."""

import pytest

from sslcli.data.fingerprint import PART, ends_of, fingerprint, fingerprint_of_files, spread


def test_parts_do_not_run_into_each_other():
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])
    assert fingerprint(["ab", "c"]) == fingerprint([b"ab", "c"])


@pytest.mark.parametrize("count", [0, 1, 5, 64, 65, 1000, 1281167])
def test_samples_are_spread_over_all(count):
    sampled = spread(count)
    assert len(set(sampled)) == min(count, 64)
    assert all(0 <= number < count for number in sampled)
    assert sampled[:1] == [0][:count]
    assert not sampled or sampled[-1] >= count * 63 // 64


def test_both_ends_of_a_file_count_and_its_place_does_not(tmp_path):
    for folder, first, last in (("a", b"1", b"1"), ("b", b"1", b"1"), ("c", b"2", b"1"), ("d", b"1", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.tar").write_bytes(first + bytes(3 * PART) + last)
    a, b, c, d = (fingerprint_of_files([tmp_path / folder / "x.tar"]) for folder in "abcd")
    assert a == b
    assert len({a, c, d}) == 3


def test_a_file_that_cannot_be_read_has_no_ends(tmp_path):
    assert ends_of(tmp_path / "gone") == b""
