"""The exit statuses of the three commands."""

from enum import IntEnum


class Exit(IntEnum):
    """How a command ends, unless a signal ended it."""

    SUCCESS = 0
    FAILURE = 1
    DIFFERENT = 1
    """``lsmem --diff`` found a difference, as diff(1) says it."""
    TROUBLE = 2
    """``lsmem --diff`` could not compare."""
    PARTLY = 64
    """A part of what was asked of chmem was done."""


def by_signal(number: int) -> int:
    """The status that says which signal ended the work, as a shell gives it."""
    return 128 + number
