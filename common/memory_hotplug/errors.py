"""Every error a caller can meet, each with the sentence a person reads."""

import os


def printable(text: str) -> str:
    r"""TEXT with control characters and undecodable bytes as ``\xNN``, safe for a terminal."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
        for character in text
    )


class MemoryHotplugError(Exception):
    """Base of all errors of this library; str() of it is one sentence for a person."""


class NoMemoryTreeError(MemoryHotplugError):
    """Below the root there is no /sys/devices/system/memory that could be listed."""

    def __init__(self, root: str, reason: str) -> None:
        self.root = root
        where = "" if root == "/" else f" below {printable(root)}"
        super().__init__(
            f"cannot open /sys/devices/system/memory{where}: {reason}"
            " (a kernel without memory hotplug or a container can be the cause;"
            " try --sysroot with a captured tree, or a simulated machine made by memsim)"
        )


class BrokenTreeError(MemoryHotplugError):
    """The tree exists, but holds something no kernel writes and no listing can do without."""


class UnknownNameError(MemoryHotplugError, LookupError):
    """A name (of a column, a zone, a profile, ...) that is not among the known ones."""

    def __init__(self, kind: str, name: str, known: list[str] | None = None) -> None:
        self.name = name
        hint = f" (known: {', '.join(known)})" if known else ""
        super().__init__(f"unknown {kind}: {printable(name)}{hint}")
