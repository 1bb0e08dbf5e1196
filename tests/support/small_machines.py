"""Descriptions of small simulated machines, drawn at random; and of the built-in ones."""

from typing import Any

from lines import MIB, Draw
from memsim.profile import PROFILES
from simulated import s390, x86

BIG = {"ppc64-large", "huge"}
"""Thousands of blocks: each takes seconds."""
KINDS = [*["small"] * 40, *sorted(set(PROFILES) - BIG)]


def description(draw: Draw, big: bool = False) -> dict[str, Any] | str:
    """A description, or the name of a built-in machine; of a BIG one, if that is wanted."""
    kind = "ppc64-large" if big else draw.one_of(KINDS)
    return small(draw) if kind == "small" else kind


def small(draw: Draw) -> dict[str, Any]:
    """A machine of at most a dozen blocks."""
    configurable = draw.one_of([True, False])
    first, more = draw.number(2, 6), draw.one_of([1, 2, 3, 4, 5, 0])
    found = (s390 if configurable else x86)(first, more)
    blocks = found["blocks"]
    if draw.chance(10):
        # Nobody tells how much memory is in use; but for the first block, all could be taken.
        blocks[:1] = [{"range": [0, 0], "holes": True}, {"range": [1, first - 1]}]
    else:
        found["used"] = min(draw.one_of([64, 128, 256]) * MIB, first * 64 * MIB)
    if more and draw.chance(25):
        blocks[-1]["node"] = 1
    if draw.chance(20):
        blocks.append({"range": [first + more, first + more + 1], "zones": "Movable"})
    if draw.chance(10):
        blocks[0]["removable"] = False
    if not configurable and draw.chance(40):
        blocks.append({"range": [first + more + 2, first + more + 5], "config": False})
    found |= _zones(draw)
    return found | _firmware(draw, more) if configurable else found


def _zones(draw: Draw) -> dict[str, Any]:
    """How the kernel chooses zones, and what becomes of memory that is added."""
    found: dict[str, Any] = {}
    if draw.chance(70):
        dma = draw.number(1, 2) if draw.chance(30) else 0
        found["contiguous_zones"] = True
        found["zone_limits"] = {"DMA": dma * 128 * MIB} if dma else {}
    if draw.chance(35):
        words = ["online", "online_movable", "online_kernel"]
        found["auto_online_blocks"] = draw.one_of(words)
    if draw.chance(30):
        found["auto_movable_ratio"] = draw.one_of([100, 50, 1000])
    if draw.chance(15):
        found["online_policy"] = "auto-movable"
    return found


def _firmware(draw: Draw, standby: int) -> dict[str, Any]:
    """What machines whose memory is configured can be like; STANDBY is a number of blocks."""
    found: dict[str, Any] = {}
    if draw.chance(40):
        found["memmap_param"] = "N"
    if draw.chance(15):
        found["hypervisor"] = draw.number(0, standby) * 128 * MIB
    if draw.chance(10):
        found["large_pages"] = False
    return found
