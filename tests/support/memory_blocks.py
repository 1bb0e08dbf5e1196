"""Memory blocks as the library has them, in few words."""

from memory_hotplug.block import MemoryBlock, State, Zone


def block(
    number: int,
    state: State = State.ONLINE,
    zones: str | None = "Normal",
    configured: bool | None = True,
    memmap: bool | None = False,
) -> MemoryBlock:
    of = None if zones is None else tuple(map(Zone.named, zones.split()))
    return MemoryBlock(number, state, zones=of, configured=configured, memmap_on_memory=memmap)
