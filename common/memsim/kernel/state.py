"""A running kernel: what it makes of a machine's blocks, one transition after the other.

Facts: drivers/base/memory.c and drivers/base/core.c (online and offline), mm/memory_hotplug.c
(what keeps a block from either), drivers/s390/char/sclp_mem.c of Linux 6.19 (configure and
deconfigure) and sclp_cmd.c before (storage that is assigned when a block goes online).

Not modelled: the pages of single processes. Which block has a page that cannot be moved, a fault
says.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, Literal

from memsim.kernel.blocks import ABSENT, EARLY, MEMMAP, OFFLINE, Blocks
from memsim.kernel.storage import STRUCT_PAGE_SHARE, Hypervisor, StructPages
from memsim.kernel.zones import MOVABLE, NONE, Policy, Zones
from memsim.machine import ONLINE_WORDS, TRANSITIONS, Fault, Machine

__all__ = ["Kernel", "Uevent"]

Uevent = Literal["add", "remove", "online", "offline"]

Faults = dict[str, dict[int, Fault]]
Delays = dict[str, dict[int, float]]


class Kernel:
    """A running kernel, its memory blocks and the hypervisor below it.

    A transition is a method that takes the number of a block which the machine has. It raises
    OSError with the errno that a write for it ends with; then nothing has changed but the count
    of a fault. Transitions that take time call `wait` before anything changes.
    """

    __slots__ = (
        "_changed",
        "auto_online_blocks",
        "blocks",
        "delays",
        "faults",
        "going_offline",
        "hypervisor",
        "listeners",
        "machine",
        "nodes",
        "online_types",
        "struct_pages",
        "wait",
        "zones",
    )

    def __init__(self, machine: Machine) -> None:
        """Boot a machine."""
        blocks = Blocks(machine)
        self._start(machine, blocks, Hypervisor.at_boot(machine, blocks), Policy.at_boot(machine))
        self.faults = {name: dict(of) for name, of in machine.faults.items()}
        self.delays = {name: dict(of) for name, of in machine.delays.items()}
        self._forget()

    @classmethod
    def restored(
        cls,
        machine: Machine,
        blocks: Blocks,
        hypervisor: Hypervisor,
        policy: Policy,
        *,
        auto_online_blocks: str | None,
        online_types: dict[int, str],
        faults: Faults,
        delays: Delays,
    ) -> Kernel:
        """The kernel of which these are the parts."""
        kernel = cls.__new__(cls)
        kernel._start(machine, blocks, hypervisor, policy)
        kernel.auto_online_blocks, kernel.online_types = auto_online_blocks, online_types
        kernel.faults, kernel.delays = faults, delays
        kernel._forget()
        return kernel

    def _start(
        self, machine: Machine, blocks: Blocks, hypervisor: Hypervisor, policy: Policy
    ) -> None:
        self.machine, self.blocks, self.hypervisor = machine, blocks, hypervisor
        self.zones = Zones(machine, blocks, policy)
        self.struct_pages = StructPages(machine, blocks)
        self.nodes = sorted({group.node for group in machine.groups if group.has_node})
        """The nodes that the kernel knows."""
        self.auto_online_blocks = machine.auto_online_blocks
        self.online_types: dict[int, str] = {}
        """By block: the word of a write to `state` that found the block online already."""

    def _forget(self) -> None:
        self._changed = False
        self.going_offline: int | None = None
        """The block whose memory is being moved away, while `wait` is called for that."""
        self.listeners: list[Callable[[Uevent, int], None]] = []
        """Called with every uevent and the block that it is about."""
        self.wait: Callable[[float], None] | None = None
        """Called with the seconds that a transition takes; what it raises ends the transition."""

    # What is asked.

    def online_blocks(self) -> int:
        """The number of online blocks."""
        return sum(self.zones.online.values())

    def free_memory(self) -> int:
        """Bytes of online memory that neither struct pages nor `used` take."""
        struct_pages = (self.struct_pages.own + self.struct_pages.outside) * self.struct_pages.size
        return self.online_blocks() * self.machine.block_size - struct_pages - self.machine.used

    def room_for_struct_pages(self) -> int:
        """Bytes that struct pages of further blocks can take outside of them.

        The kernel allocates these with GFP_KERNEL (mm/sparse-vmemmap.c, vmemmap_alloc_block), so
        never from zone Movable. What is in use is taken to be in the other zones; struct pages
        inside of blocks there, 1/64 of them, are not taken into account.
        """
        online = self.zones.online.items()
        blocks = sum(count for (_, zone), count in online if zone != MOVABLE)
        struct_pages = self.struct_pages.outside * self.struct_pages.size
        room = blocks * self.machine.block_size - struct_pages - self.machine.used
        return min(self.free_memory(), room)

    # Online and offline.

    def set_online_type(self, block: int, word: str) -> None:
        """The next `online` of a block is by this word (state_store notes it as online_type)."""
        self.online_types[block] = word
        self._changed = True

    def online(self, block: int) -> bool:
        """Set a present block online (device_online); False when it is online already.

        By the word that `set_online_type` has left, which only a transition that is begun clears
        (memory_subsys_online): the word of a write to `state` that came too late decides the next
        time (seen on Linux 6.1). EIO when an older s390 kernel's hypervisor has no storage.
        """
        if self.blocks.online(block):
            return False
        self._pass_time("online", block)
        self._set_online(block)
        return True

    def _set_online(self, block: int) -> None:
        word = self.online_types.pop(block, "online")
        self._changed = True
        assigns = self.machine.assigned_by == "online"
        if assigns:
            self.hypervisor.assign()
        try:
            self._fail("online", block)
        except OSError:
            if assigns:
                self.hypervisor.unassign()
            raise
        self.zones.enter(block, self.zones.choose(block, word))
        self.struct_pages.add(own=self.blocks.flag(block, MEMMAP))
        self._emit("online", block)

    def offline(self, block: int) -> bool:
        """Set a present block offline (device_offline); False when it is offline already.

        EINVAL for a block in several zones or with holes, EBUSY for one in use (offline_pages).
        """
        if not self.blocks.online(block):
            return False
        if self.blocks.at(block) == NONE or self.blocks.group(block).holes:
            raise _error(errno.EINVAL)
        self.going_offline = block
        try:
            self._pass_time("offline", block)
        finally:
            self.going_offline = None
        self._fail("offline", block)
        has_own = self.blocks.flag(block, MEMMAP)
        size = self.machine.block_size
        # Linux would look for a place for the block's pages until a signal comes.
        moved = size - size // STRUCT_PAGE_SHARE if has_own else size
        if self.machine.used and self.free_memory() < moved:
            raise _error(errno.EBUSY)
        self._changed = True
        self.zones.leave(block, OFFLINE)
        self.struct_pages.add(own=-has_own)
        if self.machine.assigned_by == "online":
            self.hypervisor.unassign()
        self._emit("offline", block)
        return True

    # Configure and deconfigure: s390 since Linux 6.19 (sclp_mem.c, config_mem_store).

    def configure(self, block: int) -> bool:
        """Take a block's storage and add the block; False when it is there already.

        EIO without storage from the hypervisor, ENOMEM without struct pages. A block that
        auto_online_blocks cannot set online stays offline, and adding it succeeds all the same.
        """
        if self.blocks.present(block):
            return False
        auto_online = self.auto_online_blocks in ONLINE_WORDS
        self._pass_time("config", block, then="online" if auto_online else None)
        self.hypervisor.assign()
        has_own = self.blocks.flag(block, MEMMAP)
        try:
            self._fail("config", block)
            if not has_own and self.room_for_struct_pages() < self.struct_pages.size:
                raise _error(errno.ENOMEM)
        except OSError:
            self.hypervisor.unassign()
            raise
        self._changed = True
        self.struct_pages.add(outside=not has_own)
        self.blocks.put(block, OFFLINE)
        self._emit("add", block)
        if auto_online:
            self.online_types[block] = str(self.auto_online_blocks)
            try:
                self._set_online(block)
            except OSError:
                return True
        return True

    def deconfigure(self, block: int) -> bool:
        """Remove a block and give its storage back; False when it is not there. EBUSY: online."""
        if not self.blocks.present(block):
            return False
        if self.blocks.online(block):
            raise _error(errno.EBUSY)
        self._pass_time("deconfig", block)
        self._fail("deconfig", block)
        self._changed = True
        self.online_types.pop(block, None)
        self.struct_pages.add(outside=self.blocks.flag(block, MEMMAP) - 1)
        self.blocks.put(block, ABSENT)
        self.blocks.mark(block, EARLY, False)
        self.hypervisor.unassign()
        self._emit("remove", block)
        return True

    def set_memmap_on_memory(self, block: int, wanted: bool) -> None:
        """What the next `configure` of a block does; EBUSY while it is configured.

        EOPNOTSUPP, before that, for True where the kernel does not support it.
        """
        if wanted and not self.machine.memmap_supported:
            raise _error(errno.EOPNOTSUPP)
        if self.blocks.present(block):
            raise _error(errno.EBUSY)
        self.blocks.mark(block, MEMMAP, wanted)
        self._changed = True

    # What holds for all blocks.

    def set_auto_online_blocks(self, word: str) -> None:
        """What becomes of blocks that are added: offline, or one of ONLINE_WORDS."""
        self.auto_online_blocks = word
        self._changed = True

    def set_policy(self, policy: Policy) -> None:
        """How plain `online` chooses a zone from now on."""
        self.zones.policy = policy
        self._changed = True

    def reboot(self) -> None:
        """Start again: memory that was hot-added is standby again, parameters as booted.

        Faults and delays stay: they are the experiment's, not the kernel's.
        """
        blocks = Blocks(self.machine)
        hypervisor = Hypervisor.at_boot(self.machine, blocks)
        self.blocks.become(blocks)
        self._start(self.machine, self.blocks, hypervisor, Policy.at_boot(self.machine))
        self._changed = True

    # The experiment.

    def set_fault(self, transition: str, block: int, fault: Fault | None) -> None:
        """From now on a transition of a block fails so; None: no more. KeyError: no such block."""
        self._set_by_block(self.faults, transition, block, fault)

    def set_delay(self, transition: str, block: int, seconds: float | None) -> None:
        """From now on a transition of a block takes so long. KeyError: no such block."""
        self._set_by_block(self.delays, transition, block, seconds)

    def clear_faults(self) -> None:
        """From now on no transition fails or takes time unless asked to again."""
        self.faults, self.delays = {}, {}
        self._changed = True

    def _set_by_block(
        self, table: dict[str, dict[int, Any]], transition: str, block: int, value: object
    ) -> None:
        if transition not in TRANSITIONS:
            raise KeyError(transition)
        if block not in self.blocks:
            raise KeyError(block)
        if value is None:
            table.get(transition, {}).pop(block, None)
        else:
            table.setdefault(transition, {})[block] = value
        self._changed = True

    def _pass_time(self, transition: str, block: int, then: str | None = None) -> None:
        seconds = self.delays.get(transition, {}).get(block, 0.0)
        if then:
            seconds += self.delays.get(then, {}).get(block, 0.0)
        if seconds and self.wait:
            self.wait(seconds)

    def _fail(self, transition: str, block: int) -> None:
        faults = self.faults.get(transition, {})
        fault = faults.get(block)
        if fault is None:
            return
        if fault.times is not None:
            self._changed = True
            if fault.times > 1:
                faults[block] = Fault(fault.errno, fault.times - 1)
            else:
                del faults[block]
        raise _error(getattr(errno, fault.errno))

    def _emit(self, uevent: Uevent, block: int) -> None:
        for listener in self.listeners:
            listener(uevent, block)

    def take_changed(self) -> bool:
        """Whether anything at all has changed since this was last asked, blocks included."""
        changed, self._changed = self._changed, False
        return changed


def _error(number: int) -> OSError:
    """The error that a system call ends with."""
    return OSError(number, os.strerror(number))
