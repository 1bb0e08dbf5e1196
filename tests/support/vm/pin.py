"""Runs in the guest: keeps a page of one memory block pinned, so that the block cannot go offline.

`python3 pin.py BLOCK BLOCK_SIZE` takes anonymous memory until a page of it lies in the block, gives
that page to a pipe with vmsplice(2), prints a line and waits to be killed. The pipe holds a
reference to the page itself, which migration can neither move nor wait for: the kernel goes on
trying (mm/memory_hotplug.c, offline_pages) until the writer gets a signal.
"""

import ctypes
import mmap
import os
import signal
import struct
import sys

PRESENT = 1 << 63
"""The bit of a /proc/pid/pagemap entry that says the page is in memory."""

FRAME = (1 << 55) - 1
"""The bits of it that hold the page's frame number (Documentation/admin-guide/mm/pagemap.rst)."""

CHUNK = 1 << 20


class Iovec(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def physical_address(address: int) -> int:
    """Where a page of this process lies; only root is told."""
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        pagemap.seek(address // mmap.PAGESIZE * 8)
        (entry,) = struct.unpack("=Q", pagemap.read(8))
    return int(entry & FRAME) * mmap.PAGESIZE if entry & PRESENT else -1


def page_in(block: int, size: int) -> tuple[mmap.mmap, int]:
    """Some memory with a page in a memory block, and the address of that page.

    What else was taken on the way is given back: a guest short of memory would kill this process,
    and the page would be free.
    """
    kept: list[mmap.mmap] = []
    while True:
        chunk = mmap.mmap(-1, CHUNK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        start = ctypes.addressof(ctypes.c_char.from_buffer(chunk))
        for offset in range(0, CHUNK, mmap.PAGESIZE):
            chunk[offset] = 1
            if physical_address(start + offset) // size == block:
                for other in kept:
                    other.close()
                return chunk, start + offset
        kept.append(chunk)


def main() -> None:
    """Pin a page and wait."""
    block, size = int(sys.argv[1]), int(sys.argv[2])
    library = ctypes.CDLL(None, use_errno=True)
    while True:
        chunk, address = page_in(block, size)
        pipe = os.pipe()
        vector = Iovec(address, mmap.PAGESIZE)
        if library.vmsplice(pipe[1], ctypes.byref(vector), 1, 0) < 0:
            raise OSError(ctypes.get_errno(), "vmsplice")
        if physical_address(address) // size == block:
            break
        # The kernel has moved the page meanwhile, to make room for a huge one.
        for end in pipe:
            os.close(end)
        chunk.close()
    print(f"pinned {physical_address(address):#x}, in block {block}", flush=True)
    signal.pause()
    chunk.close()


if __name__ == "__main__":
    main()
