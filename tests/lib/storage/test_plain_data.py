"""Limits on plain data; tests/builders/hostile/folders.py tries the files."""

import math

import pytest
from builders import input_error

from nes2net.lib.storage.plain_data import check_plain, read_json

_REFUSED = "refused to save memory and time: it grows to "
_ITSELF: list = []
_ITSELF.append(_ITSELF)


def doubled(times: int):
    value = 1
    for _ in range(times + 1):
        value = [value, value]
    return value


def test_mappings_lists_numbers_text_and_none_are_accepted_as_plain_data():
    check_plain({"a": [1, -1.5, math.nan, True, None, "text", (2, 3)], 5: {}, "big": 2**64 - 1}, "this")


@pytest.mark.parametrize(
    "value, message",
    [
        (doubled(25), _REFUSED + "100,002 values"),
        (_ITSELF, "nested more than 32 deep"),
        (["x" * 500_000] * 3, _REFUSED + "1.5 MB of text"),
        ([10**5000], "the number <a number of 16610 bits>: expected numbers of at most 64 bits"),
        ([object()], "a value of type object"),
    ],
    ids=["many values", "deep", "long text", "long number", "not plain"],
)
def test_data_that_are_too_large_too_deep_or_not_plain_are_refused(value, message):
    with input_error(f"^this (has|is|was) {message}"):
        check_plain(value, "this")


def test_json_after_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": [1, 2.5, "x", null, true]}')
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, "x", None, True]}
