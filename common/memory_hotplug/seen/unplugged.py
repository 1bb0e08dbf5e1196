"""Memory within online blocks that a driver keeps from the kernel, or takes from it.

virtio-mem adds whole blocks and plugs parts of them (drivers/virtio/virtio_mem.c, sub-block mode).
Hyper-V backs a part of a block that it adds (drivers/hv/hv_balloon.c, hv_page_online_one), Xen adds
blocks that are empty (drivers/xen/balloon.c, reserve_additional_memory), and both have balloons. In
/proc/iomem all of it is System RAM, and MemTotal has none of it. The drivers mark these pages as
offline, which /proc/kpageflags tells root.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from memory_hotplug.machine import Machine
from memory_hotplug.seen.owners import owners_of
from memory_hotplug.seen.pages import Pages
from memory_hotplug.trees.files import ABOUT, Tree

__all__ = ["Keepers", "Kept", "keepers_of", "kept_from"]

_BALLOONS = (
    "sys/bus/virtio/drivers/virtio_balloon",
    "sys/bus/vmbus/drivers/hv_balloon",
    "sys/devices/system/xen_memory",
)
"""Drivers of balloons. The directory has a link to each device, or the device itself."""
_BALLOON = re.compile(r"virtio\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|xen_memory\d+")
_VIRTIO = re.compile(r"virtio\d+")
_DEFLATES = 2
"""With this feature, VIRTIO_BALLOON_F_DEFLATE_ON_OOM, what a balloon of virtio takes stays in
MemTotal and is in use (drivers/virtio/virtio_balloon.c, fill_balloon)."""


class Kept(NamedTuple):
    """Memory in online blocks that a driver keeps."""

    device: str | None
    """Such as virtio1; None for a balloon whose name is not known."""
    size: int
    """Bytes."""
    balloon: bool
    """Whether the device is a balloon: then the kernel may have had this memory before."""


class Keepers(NamedTuple):
    """The devices that can keep memory in online blocks."""

    owners: Mapping[int, str]
    """Block -> its device of virtio-mem."""
    balloon: str | None

    @property
    def names(self) -> list[str]:
        """The devices of virtio-mem."""
        return sorted(set(self.owners.values()))

    def among(self, online: Sequence[int]) -> Sequence[int]:
        """The blocks in which these devices can keep memory; a balloon takes it anywhere."""
        return online if self.balloon else [one for one in online if one in self.owners]


def keepers_of(machine: Machine, online: Sequence[int]) -> Keepers:
    """The devices that can keep memory in the blocks ONLINE."""
    owners = owners_of(machine, online).devices.items()
    mine = {number: name for number, name in owners if _VIRTIO.fullmatch(name)}
    return Keepers(mine, next(_balloons(machine.tree), None))


def kept_from(
    machine: Machine,
    online: Sequence[int],
    keepers: Keepers,
    began: Callable[[int, int], None] = lambda *_: None,
) -> Sequence[Kept] | None:
    """The memory in the blocks ONLINE that is kept, by device; None if nobody tells.

    `began` is called before a block is read, with the number of those that are done and its own.
    """
    recorded = _recorded(machine.tree)
    if recorded is not None:
        return _by_device(((block, recorded.get(block, 0)) for block in online), keepers)
    wanted = keepers.among(online)
    if not wanted:
        return ()
    pages = Pages.of(machine.tree, machine.block_size)
    if pages is None:
        return None
    sizes = []
    with pages:
        for done, number in enumerate(wanted):
            began(done, number)
            size = pages.offline(number)
            if size is None:
                return None
            sizes.append((number, size))
    return _by_device(sizes, keepers)


def _by_device(sizes: Iterable[tuple[int, int]], keepers: Keepers) -> Sequence[Kept]:
    found: dict[str | None, int] = {}
    for number, size in sizes:
        device = keepers.owners.get(number)
        found[device] = found.get(device, 0) + size
    return [
        Kept(device or keepers.balloon, size, balloon=device is None)
        for device, size in found.items()
        if size
    ]


def _recorded(tree: Tree) -> Mapping[int, int] | None:
    """Block -> bytes, as a captured tree or a simulated machine tells it; None for others."""
    try:
        told = json.loads(tree.read(ABOUT))["offline_bytes"]
        return {int(block): size for block, size in told.items() if size >= 0}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _balloons(tree: Tree) -> Iterator[str]:
    """The balloons that take memory out of MemTotal."""
    for driver in _BALLOONS:
        try:
            names = sorted(filter(_BALLOON.fullmatch, tree.names(driver)))
        except OSError:
            continue
        yield from (name for name in names if not _deflates(tree, name))


def _deflates(tree: Tree, name: str) -> bool:
    try:
        features = tree.read(f"sys/bus/virtio/devices/{name}/features")
    except OSError:
        return False
    return features[_DEFLATES : _DEFLATES + 1] == b"1"
