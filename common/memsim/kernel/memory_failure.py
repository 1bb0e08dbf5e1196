"""Memory that fails: the kernel takes the page out of use.

Facts: memory_failure (mm/memory-failure.c) of Linux 6.18, for a page that is free.
"""

from __future__ import annotations

import errno
import os

from memsim.kernel.state import MOST_POISONED, PAGE
from memsim.kernel.transitions import Kernel
from safe_files.errno_names import EHWPOISON

__all__ = ["poison"]


def poison(kernel: Kernel, address: int) -> int:
    """Poison the page at an address; return the number of its block.

    ENXIO for memory that is not online, EHWPOISON for a page that is poisoned already, and ENOSPC
    for more pages than are kept.
    """
    block, frame = address // kernel.machine.block_size, address // PAGE
    if not (block in kernel.blocks and kernel.blocks.online(block)):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
    before = kernel.state.poisoned
    if frame in before:
        raise OSError(EHWPOISON, os.strerror(EHWPOISON))
    if len(before) == MOST_POISONED:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    kernel.set("poisoned", tuple(sorted((*before, frame))))
    kernel.report(f"Memory failure: {frame:#x}: recovery action for free buddy page: Recovered")
    return block
