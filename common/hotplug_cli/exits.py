"""The exit statuses of the three commands."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit status of a command that was not ended by a signal."""

    SUCCESS = 0
    FAILURE = 1
    DIFFERENT = 1
    """``lsmem --diff`` found a difference; diff(1) has the same status."""
    TROUBLE = 2
    """``lsmem --diff`` could not compare; diff(1) has the same status."""
    PARTLY = 64
    """chmem carried out a part of the request."""


def by_signal(number: int) -> int:
    """The status after a signal ended the work, as a shell reports it: 128 + NUMBER."""
    return 128 + number
