"""A running kernel: the transitions of a machine's blocks.

Facts: drivers/base/memory.c and drivers/base/core.c (online and offline), mm/memory_hotplug.c
(what keeps a block from either), drivers/s390/char/sclp_mem.c of Linux 6.19 (configure and
deconfigure) and sclp_cmd.c before (storage that is assigned when a block goes online).

Not modelled: the pages of processes. Set a fault for a block with a page that cannot be moved.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

from memsim.kernel.blocks import ABSENT, EARLY, MEMMAP, OFFLINE, Blocks
from memsim.kernel.parts import unplugged_online
from memsim.kernel.state import LOG_LENGTH, PAGE, KernelState
from memsim.kernel.storage import NO_PAGE_TABLES, Hypervisor, StructPages
from memsim.kernel.zones import MOVABLE, NONE, NOT_MOVABLE, Zones
from memsim.machine import ENDLESS, ONLINE_WORDS, TRANSITIONS, Fault, Machine
from safe_files.errno_names import EHWPOISON, error_of, number_of

__all__ = ["Kernel", "UeventAction"]

_FOREVER = 1e8
"""Seconds, some three years."""

UeventAction = Literal["add", "remove", "online", "offline"]


class Kernel:
    """A running kernel, its memory blocks, and the hypervisor.

    A transition is a method that takes the number of a block of the machine. It raises OSError with
    the errno of the write; then nothing has changed, except the count of a fault, the log and,
    where this is said, the hypervisor's storage. A transition with a delay calls `wait` before
    anything changes.
    """

    __slots__ = (
        "_changed",
        "blocks",
        "going_offline",
        "hypervisor",
        "listeners",
        "machine",
        "nodes",
        "state",
        "struct_pages",
        "wait",
        "zones",
    )

    def __init__(
        self, machine: Machine, blocks: Blocks | None = None, state: KernelState | None = None
    ) -> None:
        """Boot a machine, or go on with its blocks and its state."""
        self.machine = machine
        self.blocks = Blocks(machine) if blocks is None else blocks
        self.nodes = sorted({node for group in machine.groups for node in group.nodes})
        """The nodes that the kernel knows."""
        self._go_on(state or KernelState.at_boot(machine, self.blocks))
        self._changed = False
        self.going_offline: int | None = None
        """The block that is going offline, while `wait` is called."""
        self.listeners: list[Callable[[UeventAction, int], None]] = []
        """Functions to call for each uevent, with its action and its block."""
        self.wait: Callable[[float], None] | None = None
        """Called with the delay of a transition, in seconds. If it raises, the transition ends."""

    def _go_on(self, state: KernelState) -> None:
        """Take STATE, and count anew what follows from it and from the blocks."""
        self.state = state
        self.hypervisor = Hypervisor(self.machine, state)
        self.zones = Zones(self.machine, self.blocks, state)
        self.struct_pages = StructPages(self.machine, self.blocks)

    # Reading.

    def online_blocks(self) -> int:
        """The number of online blocks."""
        return sum(self.zones.online.values())

    def free_memory(self) -> int:
        """Bytes of online memory that is not in use, neither by struct pages nor by `used`."""
        online = self.online_blocks() * self.machine.block_size
        online -= unplugged_online(self.state, self.blocks)
        return online - self.struct_pages.in_use - self.machine.used

    def room_for_struct_pages(self) -> int:
        """Bytes of memory for struct pages and page tables of further blocks.

        The kernel allocates them with GFP_KERNEL (mm/sparse-vmemmap.c, vmemmap_alloc_block), so
        never from zone Movable. Memory in use is assumed to be in the other zones. Blocks there
        that hold their own struct pages, mostly 1/64 of their size, are counted in full.
        """
        online = self.zones.online.items()
        blocks = sum(count for (_, zone), count in online if zone != MOVABLE)
        room = blocks * self.machine.block_size - self.struct_pages.in_other_blocks
        room -= unplugged_online(self.state, self.blocks, NOT_MOVABLE)
        return min(self.free_memory(), room - self.machine.used)

    @property
    def unmovable(self) -> frozenset[int]:
        """The blocks whose pages a kernel sees that cannot be moved, if it judges removable."""
        if not self.machine.judges_removable:
            return frozenset()
        faults = self.state.faults.get("offline", {}).items()
        return frozenset(block for block, fault in faults if fault == Fault("EBUSY"))

    def removable(self, block: int) -> bool:
        """The attribute `removable` of a present block: what is described; of a kernel that judges
        it, whether an online block could go offline, and true of others."""
        described = self.blocks.group(block).removable
        if not self.machine.judges_removable:
            return described
        return not self.blocks.online(block) or (described and block not in self.unmovable)

    # Online and offline.

    def set_online_type(self, block: int, word: str) -> None:
        """Set the word for the next `online` of a block (online_type in state_store)."""
        self.state.online_types[block] = word
        self._changed = True

    def online(self, block: int) -> bool:
        """Set a present block online (device_online); return False if it is already online.

        Uses the word of `set_online_type`, which only the beginning of a transition clears
        (memory_subsys_online). So the word of a write to `state` that found the block online is
        used the next time (seen on Linux 6.1). EIO on an older s390 kernel if the hypervisor has no
        storage.
        """
        if self.blocks.online(block):
            return False
        word = self.state.online_types.pop(block, "online")
        self._pass_time("online", block)
        self._set_online(block, word)
        return True

    def poisoned_in(self, block: int) -> list[int]:
        """The page frames of a block that are poisoned."""
        size = self.machine.block_size // PAGE
        return [frame for frame in self.state.poisoned if frame // size == block]

    def _set_online(self, block: int, word: str) -> None:
        if self.machine.since(6, 2) and self.poisoned_in(block):
            # memory_block_online (drivers/base/memory.c)
            raise error_of(EHWPOISON)
        self._changed = True
        assigns = self.machine.assigned_by == "online"
        if assigns:
            self._assign(block)
        try:
            self._fail("online", block)
        except OSError:
            if assigns:
                self.hypervisor.unassign(block)
            raise
        self.zones.enter(block, self.zones.choose(block, word))
        self.struct_pages.add(own=self.blocks.flag(block, MEMMAP))
        self._emit("online", block)

    def offline(self, block: int) -> bool:
        """Set a present block offline (device_offline); return False if it is already offline.

        EINVAL for a block in several zones or nodes or with holes, EBUSY for a block in use, EPERM
        for one that the architecture keeps, EINTR when a signal comes (offline_pages).
        """
        if not self.blocks.online(block):
            return False
        group = self.blocks.group(block)
        if self.blocks.at(block) == NONE or group.holes or group.more_nodes:
            raise error_of(errno.EINVAL)
        has_own = self.blocks.flag(block, MEMMAP)
        if group.stays or (has_own and self.machine.memmap_stays):
            self._fail("offline", block)
            raise error_of(errno.EPERM)
        self.going_offline = block
        try:
            self._pass_time("offline", block)
            self._fail("offline", block)
        finally:
            self.going_offline = None
        if self.machine.judges_removable and not self.removable(block):
            raise error_of(errno.EBUSY)
        size = self.machine.block_size - self.state.unplugged.get(block, 0)
        # Linux would try to move the block's pages until a signal comes.
        moved = size - self.struct_pages.size if has_own else size
        if self.machine.used and self.free_memory() < moved:
            raise error_of(errno.EBUSY)
        self._changed = True
        self.zones.leave(block, OFFLINE)
        self.struct_pages.add(own=-has_own)
        if self.machine.assigned_by == "online":
            self.hypervisor.unassign(block)
        self._emit("offline", block)
        return True

    def add(self, blocks: Sequence[int]) -> None:
        """Add blocks (add_memory_resource). One that cannot be set online then stays offline."""
        self._changed = True
        for block in blocks:
            self.struct_pages.add(outside=not self.blocks.flag(block, MEMMAP), added=1)
            self.blocks.put(block, OFFLINE)
            self._emit("add", block)
        if self.state.auto_online_blocks in ONLINE_WORDS:
            for block in blocks:
                with suppress(OSError):
                    self._set_online(block, str(self.state.auto_online_blocks))

    def remove(self, block: int) -> None:
        """Remove an offline block (try_remove_memory)."""
        self._changed = True
        self.state.online_types.pop(block, None)
        self.state.unplugged.pop(block, None)
        if gone := self.poisoned_in(block):
            self.state.poisoned = tuple(one for one in self.state.poisoned if one not in gone)
        early = self.blocks.flag(block, EARLY)
        self.struct_pages.add(outside=self.blocks.flag(block, MEMMAP) - 1, added=early - 1)
        self.blocks.put(block, ABSENT)
        self.blocks.mark(block, EARLY, False)
        self._emit("remove", block)

    # Configure and deconfigure: s390 since Linux 6.19 (sclp_mem.c, config_mem_store).

    def configure(self, block: int) -> bool:
        """Assign a block's storage and add the block; return False if it is already present.

        EIO if the hypervisor has too little storage, or refuses an increment, as it does for a
        fault EIO; the other increments then stay assigned. ENOMEM if there is no memory for struct
        pages or page tables.
        """
        if self.blocks.present(block):
            return False
        auto_online = self.state.auto_online_blocks in ONLINE_WORDS
        self._pass_time("config", block, then="online" if auto_online else None)
        fault = self._take_fault("config", block)
        self._assign(block, refused=fault == "EIO")
        has_own = self.blocks.flag(block, MEMMAP)
        needed = self.struct_pages.page_tables + (0 if has_own else self.struct_pages.size)
        if needed and self.room_for_struct_pages() < needed:
            fault = fault or "ENOMEM"
        if fault:
            self.hypervisor.unassign(block)
            if fault == "ENOMEM" and has_own:
                self.report(f"memory{block}: {NO_PAGE_TABLES}")
            raise error_of(number_of(fault) or errno.EIO)
        self.add([block])
        return True

    def deconfigure(self, block: int) -> bool:
        """Remove a block and unassign its storage; return False if it is not present.

        EBUSY if it is online. If the hypervisor refuses to take an increment back, as it does for a
        fault EIO, this succeeds, and the increment stays assigned.
        """
        if not self.blocks.present(block):
            return False
        if self.blocks.online(block):
            raise error_of(errno.EBUSY)
        self._pass_time("deconfig", block)
        fault = self._take_fault("deconfig", block)
        if fault not in (None, "EIO"):
            raise error_of(number_of(fault) or errno.EIO)
        self.remove(block)
        self.hypervisor.unassign(block, refused=fault == "EIO")
        if fault:
            self.report(self.hypervisor.refusal(block, kept=True))
        return True

    def set_memmap_on_memory(self, block: int, wanted: bool) -> None:
        """Set memmap_on_memory for the next `configure` of a block; EBUSY while it is configured.

        EOPNOTSUPP for True if the kernel does not support it; this is checked first.
        """
        if wanted and not self.machine.memmap_supported:
            raise error_of(errno.EOPNOTSUPP)
        if self.blocks.present(block):
            raise error_of(errno.EBUSY)
        self.blocks.mark(block, MEMMAP, wanted)
        self._changed = True

    # Settings of the machine.

    def set(self, name: str, value: object) -> None:
        """Set a field of the state."""
        setattr(self.state, name, value)
        self._changed = True

    def become(self, other: Kernel) -> None:
        """All is as in another kernel of the same machine."""
        self.blocks.become(other.blocks)
        self._go_on(other.state)
        self._changed = True

    def reboot(self) -> None:
        """Boot again: blocks and parameters are as at the first boot.

        Faults and delays stay, because they are not the kernel's.
        """
        blocks = Blocks(self.machine)
        self.become(
            Kernel(self.machine, blocks, KernelState.at_boot(self.machine, blocks, self.state))
        )

    # Faults and delays.

    def set_fault(self, transition: str, block: int, fault: Fault | None) -> None:
        """Set the fault of a transition of a block, or remove it (None).

        Raises KeyError for a block that the machine does not have.
        """
        self._set_by_block(self.state.faults, transition, block, fault)

    def set_delay(self, transition: str, block: int, seconds: float | None) -> None:
        """Set the delay of a transition of a block, in seconds, or remove it (None).

        Raises KeyError for a block that the machine does not have.
        """
        self._set_by_block(self.state.delays, transition, block, seconds)

    def clear_faults(self) -> None:
        """Remove all faults and delays."""
        self.state.faults, self.state.delays = {}, {}
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
        seconds = self.state.delays.get(transition, {}).get(block, 0.0)
        if then:
            seconds += self.state.delays.get(then, {}).get(block, 0.0)
        if seconds and self.wait:
            self.wait(seconds)

    def _assign(self, block: int, *, refused: bool = False) -> None:
        try:
            self.hypervisor.assign(block, refused=refused)
        except OSError:
            self.report(self.hypervisor.refusal(block))
            raise

    def report(self, line: str) -> None:
        """Write a line to the kernel log."""
        self._changed = True
        self.state.log = [*self.state.log, line][-LOG_LENGTH:]

    def _fail(self, transition: str, block: int) -> None:
        fault = self._take_fault(transition, block)
        if fault:
            raise error_of(number_of(fault) or errno.EIO)

    def _take_fault(self, transition: str, block: int) -> str | None:
        """The errno name of a transition's fault, or None; counts the fault. Waits for a signal
        if the fault is that."""
        faults = self.state.faults.get(transition, {})
        fault = faults.get(block)
        if fault is None:
            return None
        if fault.times is not None:
            self._changed = True
            if fault.times > 1:
                faults[block] = Fault(fault.errno, fault.times - 1)
            else:
                del faults[block]
        if fault.errno != ENDLESS:
            return fault.errno
        if self.wait:
            self.wait(_FOREVER)
        return "EINTR"

    def _emit(self, uevent: UeventAction, block: int) -> None:
        for listener in self.listeners:
            listener(uevent, block)

    def take_changed(self) -> bool:
        """Whether anything has changed since the last call, blocks included."""
        changed, self._changed = self._changed, False
        return changed
