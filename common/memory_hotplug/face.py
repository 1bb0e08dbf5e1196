"""The public face: a machine with all that can be asked of it.

What is needed to change a machine is imported when it is asked for, because lsmem must start fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

from memory_hotplug import machine as _machine
from memory_hotplug.checks import check_callable, check_type, optional, seconds, whole_number
from memory_hotplug.errors import BadOrderError, BrokenTreeError, NoUndoError
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
    from memory_hotplug.request.asked import Request
    from memory_hotplug.request.how import How, Manner, What
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
        self._holds: dict[tuple[int, int], Held] = {}
        """Thread -> what it holds the machine by."""

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

        Raises HeldError at once if this thread holds the machine already, by whatever object, and
        BadOrderError if this object is closed.
        """
        from memory_hotplug.change.lock import this_thread
        from memory_hotplug.change.transaction import Watch
        from memory_hotplug.request.mending import hold_and_mend

        seconds("timeout", timeout)
        check_callable("waiting", waiting)
        check_callable("unrecorded", unrecorded)
        optional("watch", watch, Watch)
        self._check_open()
        held = hold_and_mend(
            self,
            watch or Watch(),
            timeout=timeout,
            waiting=waiting or (lambda holder: None),
            unrecorded=unrecorded or (lambda error: None),
        )
        self._holds[this_thread()] = held
        return held

    def _check_open(self) -> None:
        if self.closed:
            raise BadOrderError("this machine is closed")

    def _own(self) -> Held | None:
        """The machine as this thread holds it by this object; None if it does not."""
        from memory_hotplug.change.lock import this_thread

        held = self._holds.get(this_thread())
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
        **what: Unpack[What],
    ) -> Work:
        """Carry out ORDER on `size` bytes of memory, on `blocks`, given by their numbers, or on all
        blocks of a `device` or a `node`. `What` has these arguments, and `How` those that say how
        it is done.

        Iterate over what is returned: that does it, and yields what became of each block. For a
        size blocks are chosen; where one fails, another one takes its place. What is already as
        asked is ALREADY, or is not chosen. `Work` says what is raised, and when.

        Raises BadOrderError for what has no meaning at once. A device, a node or a block that the
        machine does not have is an error before anything is written: UnknownNameError and
        NoSuchBlockError.
        """
        from memory_hotplug.request.how import parted
        from memory_hotplug.request.selection import requested

        memory, how = parted(what)
        request = requested(order, self.block_size, memory, how.get("text", ""))
        return self.carry_out(request, **how)

    def total(
        self,
        size: int,
        *,
        zone: Zone | None = None,
        node: int | None = None,
        memmap_on_memory: bool | None = None,
        absent_ok: bool = False,
        **how: Unpack[How],
    ) -> Work:
        """Set memory online or offline until SIZE bytes are online, of a ZONE or of a NODE if these
        are given. Memory that is set online is configured with MEMMAP_ON_MEMORY. ABSENT_OK is that
        of `What`. Otherwise as `change`."""
        from memory_hotplug.change.plan import Action, Order
        from memory_hotplug.request.how import What, parted
        from memory_hotplug.request.selection import requested

        order = Order(Action.ENABLE, zone, memmap_on_memory)
        memory, _ = parted(What(size=whole_number("size", size), node=node, absent_ok=absent_ok))
        request = requested(order, self.block_size, memory, how.get("text", ""))
        return self.carry_out(request._replace(total=True), **how)

    def carry_out(self, request: Request, **how: Unpack[How]) -> Work:
        """Not public: what `change` and `total` do, for the request that they make."""
        from memory_hotplug.request.how import manner_of

        manner = manner_of(how)

        def chosen(machine: _machine.Machine) -> Selection:
            if not request.total:
                from memory_hotplug.request.selection import select_request

                return select_request(request, machine)
            from memory_hotplug.request.wholes import select_total

            return select_total(request, machine, force=manner.force)

        return self._work(chosen, manner)

    def apply(self, layout: Layout, **how: Unpack[How]) -> Work:
        """Bring the machine to LAYOUT. What is so already is not written. Raises LayoutError in the
        iteration for what is impossible on this machine. Memory that the machine does not have is
        in `Work.absences`, unless its entry says that it is an error, or is ignored. Otherwise as
        `change`."""
        from memory_hotplug.layout.model import Layout
        from memory_hotplug.request.asked import Request
        from memory_hotplug.request.how import manner_of
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

        check_type("layout_too", layout_too, bool)
        manner = manner_of(how)

        def chosen(machine: _machine.Machine) -> Selection:
            found = select_undo(Request(manner.text), machine)
            if found.undoes and found.undoes.layout and not layout_too:
                raise NoUndoError("the last change is in the layout, too: chmem --undo undoes both")
            return found

        return self._work(chosen, manner)

    def _work(self, chosen: Callable[[_machine.Machine], Selection], manner: Manner) -> Work:
        from memory_hotplug.request.work import Work

        self._check_open()
        return Work(self, chosen, manner, self._holding)

    def forecast(self, what: Order | Layout | Work, **of: Unpack[What]) -> Forecast:
        """What `change` does for an order, `apply` for a layout, or the work that any method has
        returned, as in ``machine.forecast(machine.undo())``, as far as it is known before. Nothing
        is written and nobody is waited for. Work can be iterated over afterwards.

        Raises the errors that these raise, and BadOrderError for arguments that do not go with a
        layout or with work.
        """
        from memory_hotplug.layout.model import Layout
        from memory_hotplug.request.how import How, parted
        from memory_hotplug.request.outlook import forecast_of
        from memory_hotplug.request.work import Work

        if isinstance(what, Layout | Work):
            known = How.__annotations__ if isinstance(what, Layout) else {}
            if more := of.keys() - known:
                kind = "a layout" if isinstance(what, Layout) else "work that knows how"
                raise BadOrderError(f"{min(more)} means nothing to {kind}")
        if isinstance(what, Work):
            work = what.rehearsal(self)
        elif isinstance(what, Layout):
            work = self.apply(what, **parted(of)[1]).rehearsal(self)
        else:
            work = self.change(what, **of).rehearsal(self)
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
        from memory_hotplug.change.removal import not_offline
        from memory_hotplug.seen.owners import owners_of

        owners = owners_of(self, self.read(()).numbers)
        if not owners.devices:
            return []
        table = self.read(("state",))
        online = owners.parts(not_offline(table))
        return [
            Device(name, tuple(blocks), tuple(online[name]))
            for name, blocks in owners.parts(table.numbers).items()
            if blocks
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
