"""Whether a command writes advice: what to do about a failure, besides what util-linux says."""

import os
import sys
from collections.abc import Sequence

__all__ = ["WHEN", "wanted"]

WHEN = ("auto", "always", "never")
"""The arguments of --advice. With auto, a terminal shows advice and nothing else does."""


def wanted(given: Sequence[str], variable: str) -> bool:
    """Whether to write advice, by the options GIVEN and a variable of the environment.

    GIVEN has the options up to an error, as ``--name=VALUE``. The last --advice counts; an argument
    that is not in WHEN is ignored.
    """
    options = (word.partition("=")[2] for word in given if word.startswith("--advice="))
    words = [os.environ.get(variable), *options]
    when = next((word for word in reversed(words) if word in WHEN), "auto")
    if when != "auto":
        return when == "always"
    return sys.stderr is not None and sys.stderr.isatty()
