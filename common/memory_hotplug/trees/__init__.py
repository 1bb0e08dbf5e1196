"""Where a machine is read from: sysfs, an archive, a simulated machine; files below its root."""

import os

MARK = ".memsim"
"""The directory, beside the tree, for what only the simulated kernel knows."""


def is_simulated(root: str) -> bool:
    """Whether a directory is a simulated machine, even a damaged one. Costs one stat()."""
    return os.path.lexists(f"{root}/{MARK}")
