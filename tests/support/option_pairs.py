"""Two options on one command line: what a command says of them."""

import re
from collections.abc import Mapping

from commands import Command


def spelled(values: Mapping[str, str], *names: str) -> list[str]:
    """The names as options, with a value where they take one."""
    return [f"--{name}" + (f"={values[name]}" if name in values else "") for name in names]


def refusal(command: Command, values: Mapping[str, str], *names: str) -> str:
    """What a command says against options together; nothing if they may stand together."""
    done = command("--sysroot=/nonexistent", *spelled(values, *names))
    assert done.status
    said = done.stderr.splitlines()[0].partition(": ")[2]
    return said if re.search("means nothing to|cannot be combined", said) else ""
