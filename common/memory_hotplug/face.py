"""The public face: a machine with all that can be asked of it.

What is needed to change a machine is imported when it is asked for, because lsmem must start fast.
"""

from __future__ import annotations

import os
from _thread import get_ident
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from memory_hotplug import machine as _machine
from memory_hotplug.errors import BadOrderError, BrokenTreeError, HeldError, NoUndoError
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.trees.files import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Unpack

    from memory_hotplug.block import Zone
    from memory_hotplug.change.lock import Held, Holder
    from memory_hotplug.change.plan import Order
    from memory_hotplug.change.transaction import Watch
    from memory_hotplug.layout.added_policy import AddedPolicy
    from memory_hotplug.layout.model import Layout
    from memory_hotplug.request.how import How, Manner
    from memory_hotplug.request.outlook import Forecast
    from memory_hotplug.request.selection import Selection
    from memory_hotplug.request.work import Work
    from memory_hotplug.seen.findings import Finding
    from memory_hotplug.seen.in_use import Usage

__all__ = ["Device", "Machine"]


class Device(NamedTuple):
    """A device that brought memory."""

    name: str
    """Such as PNP0C80:00, virtio0 or dax0.0."""
    blocks: tuple[int, ...]
    """The numbers of its blocks."""
    online: tuple[int, ...]
    """Those that are not offline; without any the device can be removed."""


class Machine(_machine.Machine):
    """A machine, read from a tree, and changed.

    The tree is open until the machine is closed; `with Machine.at(...) as machine` closes it.

    Several threads may use one object: a thread that changes the machine waits until no other
    thread and no other process does so.
    """

    def __init__(self, tree: Tree) -> None:
        """Raises NoMemoryTreeError if there are no memory blocks, and BrokenTreeError if their size
        cannot be read."""
        super().__init__(tree)
        self._holds: dict[int, Held] = {}

    # Hold it

    def hold(
        self,
        *,
        timeout: float | None = None,
        waiting: Callable[[Holder], None] | None = None,
        unrecorded: Callable[[OSError], None] | None = None,
        watch: Watch | None = None,
    ) -> Held:
        """Hold the machine, so that no other process changes it by this library or by chmem; a
        context manager. What a killed process left half done is restored; `Held.mended` tells.

        Another process is waited for, TIMEOUT seconds at most; then HeldError is raised, which says
        who it is. After half a second WAITING is called once with the holder. UNRECORDED is called
        once if it cannot be recorded what can be undone. WATCH can stop the waiting.

        Raises HeldError at once if this thread holds the machine already, by this object.
        """
        from memory_hotplug.change.transaction import Watch
        from memory_hotplug.request.mending import hold_and_mend

        if self._own():
            raise HeldError(os.getpid(), None)
        held = hold_and_mend(
            self,
            watch or Watch(),
            timeout=timeout,
            waiting=waiting or (lambda holder: None),
            unrecorded=unrecorded or (lambda error: None),
        )
        self._holds[get_ident()] = held
        return held

    def _own(self) -> Held | None:
        """The machine as this thread holds it by this object; None if it does not."""
        held = self._holds.get(get_ident())
        return None if held is None or held.closed else held

    def _holding(self, manner: Manner) -> AbstractContextManager[Held | None]:
        if manner.dry_run:
            return nullcontext()
        if manner.held and not manner.held.holds(self.tree.place):
            raise BadOrderError("held does not hold this machine, or not any more")
        if held := manner.held or self._own():
            return nullcontext(held)
        return self.hold(timeout=manner.wait, watch=manner.watch)

    # Change it

    def change(
        self,
        order: Order,
        *,
        size: int | None = None,
        blocks: Iterable[int] | None = None,
        device: str | None = None,
        node: int | None = None,
        **how: Unpack[How],
    ) -> Work:
        """Carry out ORDER on SIZE bytes of memory, on BLOCKS, given by their numbers, or on all
        blocks of DEVICE or NODE; with DEVICE or NODE, SIZE and BLOCKS are only of these.

        Iterate over what is returned: that does it, and yields what became of each block. For a
        size blocks are chosen; where one fails, another one takes its place. What is already as
        asked is ALREADY, or is not chosen. `How` says what can be given besides, and `Work` what is
        raised, and when.

        Raises BadOrderError for what has no meaning, and TypeError for what is of a wrong type, at
        once.
        """
        from memory_hotplug.request.how import manner_of
        from memory_hotplug.request.selection import requested, select_request

        manner = manner_of(how)
        request = requested(order, self.block_size, size, blocks, device, node, manner.text)

        def chosen(machine: _machine.Machine) -> Selection:
            return select_request(request, machine)

        return self._work(chosen, manner)

    def total(
        self,
        size: int,
        *,
        zone: Zone | None = None,
        node: int | None = None,
        memmap_on_memory: bool | None = None,
        **how: Unpack[How],
    ) -> Work:
        """Set memory online or offline until SIZE bytes are online, of a ZONE or of a NODE if these
        are given. Memory that is set online is configured with MEMMAP_ON_MEMORY. Otherwise as
        `change`."""
        from memory_hotplug.change.plan import Action, Order
        from memory_hotplug.request.how import manner_of
        from memory_hotplug.request.selection import requested
        from memory_hotplug.request.wholes import select_total

        manner = manner_of(how)
        order = Order(Action.ENABLE, zone, memmap_on_memory)
        request = requested(order, self.block_size, size, None, None, node, manner.text)

        def chosen(machine: _machine.Machine) -> Selection:
            return select_total(request, machine, force=manner.force)

        return self._work(chosen, manner)

    def apply(self, layout: Layout, **how: Unpack[How]) -> Work:
        """Bring the machine to LAYOUT. What is so already is not written. Raises LayoutError in the
        iteration for what is impossible on this machine. Otherwise as `change`."""
        from memory_hotplug.layout.model import Layout
        from memory_hotplug.request.asked import Request
        from memory_hotplug.request.how import check_type, manner_of
        from memory_hotplug.request.wholes import select_layout

        check_type("layout", layout, Layout)
        manner = manner_of(how)

        def chosen(machine: _machine.Machine) -> Selection:
            return select_layout(Request(manner.text), machine, layout, force=manner.force)

        return self._work(chosen, manner)

    def undo(self, *, layout_too: bool = False, **how: Unpack[How]) -> Work:
        """Undo the last change of blocks and settings, whoever made it; an undoing can be undone
        likewise. What is left of a change that could not be undone as a whole can be undone later.

        Raises NoUndoError in the iteration if there is none, and for a change that chmem has made
        to stay, so that it is in the layout, too: `chmem --undo` undoes both. LAYOUT_TOO says that
        the caller brings the layout back itself. Otherwise as `change`.
        """
        from memory_hotplug.request.asked import Request
        from memory_hotplug.request.how import manner_of
        from memory_hotplug.request.wholes import select_undo

        manner = manner_of(how)

        def chosen(machine: _machine.Machine) -> Selection:
            found = select_undo(Request(manner.text), machine)
            if found.undoes and found.undoes.layout and not layout_too:
                raise NoUndoError("the last change is in the layout, too: chmem --undo undoes both")
            return found

        return self._work(chosen, manner)

    def _work(self, chosen: Callable[[_machine.Machine], Selection], manner: Manner) -> Work:
        from memory_hotplug.request.work import Work

        return Work(self, chosen, manner, partial(self._holding, manner))

    def forecast(
        self,
        what: Order | Layout,
        *,
        size: int | None = None,
        blocks: Iterable[int] | None = None,
        device: str | None = None,
        node: int | None = None,
        **how: Unpack[How],
    ) -> Forecast:
        """What `change` does for an order, or `apply` for a layout, as far as it is known before.
        Nothing is written and nobody is waited for. Raises the errors that these raise."""
        from memory_hotplug.layout.model import Layout
        from memory_hotplug.request.outlook import forecast_of

        how["dry_run"] = True
        if isinstance(what, Layout):
            work = self.apply(what, **how)
        else:
            work = self.change(what, size=size, blocks=blocks, device=device, node=node, **how)
        for _ in work:
            pass
        return forecast_of(work)

    # Look at it

    def usage(self) -> Usage | None:
        """How much memory is in use, now; None if the machine does not tell it."""
        from memory_hotplug.seen.in_use import usage

        return usage(self)

    def devices(self) -> list[Device]:
        """The devices that brought memory, by name, as far as the machine tells this user; see
        DEVICE in lsmem(1)."""
        from memory_hotplug.change.removal import removal_of

        removal = removal_of(self)
        found: dict[str, list[int]] = {}
        for number, name in sorted(removal.devices.items()):
            found.setdefault(name, []).append(number)
        return [
            Device(name, tuple(numbers), tuple(sorted(removal.online[name])))
            for name, numbers in sorted(found.items())
        ]

    def why(self, numbers: Iterable[int] | None = None) -> list[Finding]:
        """What is known of whether blocks can be set offline, and what keeps them online; of all
        blocks without NUMBERS. Only root is told what pages hold, and of a simulated machine
        nobody."""
        from memory_hotplug.seen.findings import look_into

        return look_into(self, numbers)

    @property
    def policy(self) -> AddedPolicy:
        """What says what becomes of memory that is added: the kernel, and udev rules. Raises
        BrokenTreeError."""
        from memory_hotplug.layout.added_policy import policy_on

        try:
            return policy_on(self)
        except OSError as error:
            raise BrokenTreeError(str(error.filename), error.strerror or str(error)) from None
