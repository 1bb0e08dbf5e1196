"""Blocks of which a device has plugged a part only."""

from __future__ import annotations

from memsim.kernel.blocks import ONLINE, Blocks
from memsim.kernel.state import KernelState

__all__ = ["unplugged_online"]


def unplugged_online(
    state: KernelState, blocks: Blocks, zones: bytes = ONLINE, within: range | None = None
) -> int:
    """The bytes of online blocks, in ZONES and WITHIN these blocks, that are not plugged."""
    return sum(
        size
        for block, size in state.unplugged.items()
        if blocks.at(block) in zones and (within is None or block in within)
    )
