"""Sizes as people read and write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_hotplug.errors import BadSizeError, SizeSyntaxError, SizeTooLargeError
from memory_hotplug.size import SUFFIXES, human, parse_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1K"),
        (1024**2 - 1, "1024K"),
        (128 << 20, "128M"),
        (1792 << 20, "1.8G"),
        (1280 << 20, "1.3G"),
        (2 << 40, "2T"),
        (2**64 - 1, "16E"),
        # 1.05 is cut to 1.049 and so rounded down; 1.0508 is rounded up.
        (1101004, "1M"),
        (1101860, "1.1M"),
    ],
)
def test_human_writes_a_size_with_one_decimal_at_most(size: int, text: str) -> None:
    assert human(size) == text


@given(st.integers(min_value=1, max_value=2**64 - 1))
def test_human_is_off_by_a_twentieth_of_the_unit_at_most(size: int) -> None:
    text = human(size)
    unit = 1024 ** SUFFIXES.index(text[-1])
    assert unit <= size
    assert abs(float(text[:-1]) - size / unit) <= 0.0511


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1 << 20), ("0x10k", 1 << 14), ("010m", 1 << 23), ("1.5g", 3 << 29), ("1kb", 1000)],
)
def test_parse_size_reads_bases_fractions_and_suffixes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_parse_size_takes_a_plus_sign_only_where_it_is_asked_to() -> None:
    assert parse_size("+1g", plus=True) == 1 << 30


@pytest.mark.parametrize("size", [1 << 10 * exponent for exponent in range(1, 7)])
def test_parse_size_reads_what_human_writes(size: int) -> None:
    assert parse_size(human(size)) == size


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", SizeSyntaxError),
        ("1.5", SizeSyntaxError),
        ("+1g", SizeSyntaxError),
        ("-1g", SizeSyntaxError),
        ("08m", SizeSyntaxError),
        ("16e", SizeTooLargeError),
        ("1z", SizeTooLargeError),
        ("1" * 9999, SizeTooLargeError),
    ],
)
def test_parse_size_refuses_what_is_no_size(text: str, error: type[BadSizeError]) -> None:
    with pytest.raises(error):
        parse_size(text)
