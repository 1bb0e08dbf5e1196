"""Sizes as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_hotplug.size import SUFFIXES, human


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
def test_a_size_has_one_decimal_at_most(size: int, text: str) -> None:
    assert human(size) == text


@given(st.integers(min_value=1, max_value=2**64 - 1))
def test_a_size_is_off_by_a_twentieth_of_its_unit_at_most(size: int) -> None:
    text = human(size)
    unit = 1024 ** SUFFIXES.index(text[-1])
    assert unit <= size
    assert abs(float(text[:-1]) - size / unit) <= 0.0511
