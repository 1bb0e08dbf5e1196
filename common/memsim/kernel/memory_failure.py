"""Memory that fails: the kernel takes the page out of use.

Facts: memory_failure and soft_offline_page (mm/memory-failure.c) of Linux 6.18, for a page that is
free: either poisons it. The answers and the log are those of a real Linux 7.2.
"""

from __future__ import annotations

import errno
from typing import Final

from memsim.kernel.state import MOST_POISONED, PAGE
from memsim.kernel.transitions import Kernel
from safe_files.errno_names import EHWPOISON, error_of

__all__ = ["hard_offline", "poison", "soft_offline"]

_OUTSIDE: Final = "memory outside kernel control"


def poison(kernel: Kernel, address: int) -> int:
    """The page at an address fails; return the number of its block.

    ENXIO for memory that is not online, EHWPOISON for a page that is poisoned already, and ENOSPC
    for more pages than are kept.
    """
    frame, refused = address // PAGE, 0
    if not _online(kernel, address):
        refused, why = errno.ENXIO, _OUTSIDE
    elif frame in kernel.state.poisoned:
        refused, why = EHWPOISON, "recovery action for already poisoned page: Failed"
    else:
        _add(kernel, frame)
        why = "recovery action for free buddy page: Recovered"
    kernel.report(f"Memory failure: {frame:#x}: {why}")
    if refused:
        raise error_of(refused)
    return _block(kernel, address)


def hard_offline(kernel: Kernel, address: int) -> None:
    """What a write to hard_offline_page does: the same, but EBUSY without memory there, since
    Linux 6.19."""
    if kernel.machine.since(6, 19) and not _present(kernel, address):
        why = "recovery action for non struct page pfn: Ignored"
        kernel.report(f"Memory failure: {address // PAGE:#x}: {why}")
        raise error_of(errno.EBUSY)
    poison(kernel, address)


def soft_offline(kernel: Kernel, address: int) -> None:
    """Take the page at an address out of use before it fails (soft_offline_page).

    The log tells of a page only if it is poisoned already, which is no error. ENXIO without memory
    there, EIO where it is not online, and ENOSPC as above.
    """
    frame = address // PAGE
    if not _present(kernel, address):
        raise error_of(errno.ENXIO)
    if not _online(kernel, address):
        raise error_of(errno.EIO)
    if frame in kernel.state.poisoned:
        kernel.report(f"Soft offline: {frame:#x}: page already poisoned")
    else:
        _add(kernel, frame)


def _add(kernel: Kernel, frame: int) -> None:
    before = kernel.state.poisoned
    if len(before) == MOST_POISONED:
        raise error_of(errno.ENOSPC)
    kernel.set("poisoned", tuple(sorted((*before, frame))))


def _block(kernel: Kernel, address: int) -> int:
    return address // kernel.machine.block_size


def _present(kernel: Kernel, address: int) -> bool:
    return kernel.blocks.present(_block(kernel, address))


def _online(kernel: Kernel, address: int) -> bool:
    return kernel.blocks.online(_block(kernel, address))
