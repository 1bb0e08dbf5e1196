"""Change a block in a transaction: all steps are done, or undone.

When a step fails, the block is brought back to what it was before. After each failure the block is
read again, because an error does not say what happened: the kernel refuses a write whose effect is
there already, and a signal can arrive just after the kernel has done its work.
"""

from __future__ import annotations

import errno
import time
from contextlib import AbstractContextManager, nullcontext

from memory_hotplug.block import MemoryBlock
from memory_hotplug.causes import Cause, cause_of
from memory_hotplug.change.guard import Guard
from memory_hotplug.change.lock import Held
from memory_hotplug.change.outcome import Outcome, Result, Write
from memory_hotplug.change.plan import Change, change_back
from memory_hotplug.change.steps import CONFIGURE, OFFLINE, Step
from memory_hotplug.checks import check_type, optional
from memory_hotplug.errors import BlockError, StoppedError, StuckError
from memory_hotplug.machine import Machine
from memory_hotplug.named_tuple import NamedTuple

__all__ = [
    "NOT_MOVED",
    "UNDOING",
    "WANTS_MEMORY",
    "Patience",
    "Site",
    "Terms",
    "Transaction",
    "Watch",
]


class Patience(NamedTuple):
    """How often a failed write is retried, after pauses that double each time."""

    busy: int = 0
    """How often after EBUSY."""
    again: int = 3
    """How often after EAGAIN, the error with which kernels before 5.0 gave up an offline
    (mm/memory_hotplug.c, __offline_pages)."""
    first_pause: float = 0.05
    """Seconds."""
    longest_pause: float = 2.0
    """Seconds."""

    def tries(self, error: int | None) -> int:
        return {errno.EBUSY: self.busy, errno.EAGAIN: self.again}.get(error or 0, 0)

    def pause(self, tried: int) -> float:
        """Seconds to wait after TRIED failures."""
        return min(self.first_pause * (1 << min(tried - 1, 30)), self.longest_pause)


UNDOING = Patience(busy=3)
"""The patience for steps that undo others: it matters more that they succeed."""


class Watch:
    """The base class of objects that stop the work. This class itself never stops it.

    ``stopping`` is read before each block. ``during`` is the context of each write and pause that
    may be interrupted. To interrupt it, raise StoppedError or InterruptedError within, for
    example from a signal handler.
    """

    stopping = False

    def begin(self, number: int) -> None:
        """Called when block NUMBER has its turn."""

    def during(self, step: str) -> AbstractContextManager[object]:
        return nullcontext()

    def limiting(self, step: str) -> AbstractContextManager[object]:
        """The context of a write that must not be stopped; an offline may have a time limit."""
        return nullcontext()


class Terms(NamedTuple):
    """How an order is carried out on many blocks."""

    enough: int | None = None
    """The number of blocks to change; after it no other block is begun. None changes all."""
    watch: Watch = Watch()
    patience: Patience = Patience()
    all_or_nothing: bool = False
    """Whether all changes are undone if not all blocks, or fewer than ENOUGH, can be changed."""
    observe: bool = True
    """Whether a block is read after a success as well."""
    held: Held | None = None
    """The journal of the machine, in case this process is killed; for `bring_back`."""
    guard: Guard | None = None
    """What some blocks are kept for."""

    def check(self) -> None:
        """Not public: raises TypeError for a field of a wrong type."""
        optional("enough", self.enough, int)
        check_type("watch", self.watch, Watch)
        check_type("patience", self.patience, Patience)
        check_type("all_or_nothing", self.all_or_nothing, bool)
        check_type("observe", self.observe, bool)
        optional("guard", self.guard, Guard)


class Site:
    """The machine to change, the terms for all blocks, and what was seen of its memory so far."""

    def __init__(self, machine: Machine, terms: Terms) -> None:
        self.machine = machine
        self.terms = terms
        self.without_memory = 0
        """The number of blocks, since the last one that was done, that the kernel could not
        configure for want of memory."""

    def forbids(self, change: Change) -> BlockError | None:
        """The reason not to try a change, to keep the machine alive.

        Where no memory is left for struct pages, the kernel might kill a process for each block
        before it fails (mm/oom_kill.c). One failure is not enough: the next block may have luck,
        and util-linux tries it.
        """
        if self.without_memory > 1 and _takes_struct_pages(change):
            return BlockError(change.number, CONFIGURE.name, Cause.NO_STRUCT_PAGES)
        guard = self.terms.guard
        return guard.refusal(change) if guard else None

    def cause(self, step: Step, code: int, block: MemoryBlock) -> Cause:
        """The cause why STEP failed with the error number CODE; BLOCK is as it is now."""
        cause = cause_of(step.name, code, block)
        if step.name == OFFLINE.name and code in NOT_MOVED and self._is_full():
            return Cause.NO_MEMORY
        if cause is Cause.STORAGE_REFUSED and self.without_memory:
            # The kernel says the same where it has no page left to ask the hypervisor with
            # (drivers/s390/char/sclp_mem.c, do_assign_storage).
            return Cause.NO_MEMORY
        return cause

    def _is_full(self) -> bool:
        """Whether less memory is available than a block holds, so that its pages fit nowhere."""
        from memory_hotplug.seen.in_use import usage

        now = usage(self.machine, by_node=False)
        return now is not None and now.available < self.machine.block_size

    def count(self, outcome: Outcome) -> None:
        error = outcome.error
        if self.terms.guard:
            self.terms.guard.count(outcome)
        if outcome.result is Result.DONE:
            self.without_memory = 0
        elif error and error.step == CONFIGURE.name and error.cause in WANTS_MEMORY:
            self.without_memory += 1


NOT_MOVED = (errno.EBUSY, errno.EAGAIN, errno.EINTR)
"""What the kernel says of a block that it could not empty: it does not say why."""

WANTS_MEMORY = (Cause.NO_STRUCT_PAGES, Cause.NO_MEMORY)
"""The causes of what may succeed once other memory is there."""


def _takes_struct_pages(change: Change) -> bool:
    """Whether memory that is online is taken for the struct pages of the block: it is configured,
    and does not hold its own."""
    return any(step is CONFIGURE and not after.memmap_on_memory for step, after in change.stages())


class Transaction:
    """The steps for one block, and what was written so far."""

    __slots__ = ("before", "block", "change", "plan", "site", "writes")

    def __init__(self, site: Site, change: Change) -> None:
        self.site = site
        self.change = change
        self.before = change.block
        self.plan = change.plan
        """The steps ahead; later those back."""
        self.block: MemoryBlock | None = self.before
        self.writes: list[Write] = []

    def known(self) -> MemoryBlock:
        """The present condition of the block; read again only if the last step left it open."""
        if self.block is None:
            self.block = self.site.machine.block_now(self.before.number)
        return self.block

    def run(self) -> Outcome:
        """Take the steps of the plan; if one fails, undo those before it."""
        keeps = self.plan.keeps
        try:
            self._take_all(self.site.terms.patience, undoing=False)
            # A write that a signal interrupted may have had its effect nevertheless.
            if self.writes and all(write.errno not in (None, errno.EINTR) for write in self.writes):
                # Another process changed the block as requested, after it was read.
                return self._outcome(Result.ALREADY)
        except BlockError as error:
            stopped = error.cause is Cause.STOPPED
            stuck, result = None, Result.INTERRUPTED if stopped else Result.FAILED
            # All or nothing undoes also the steps that `Plan.keeps` would keep.
            if self.site.terms.all_or_nothing or stopped or error.step != keeps:
                stuck = self.restore()
            elif self.plan.suffices:
                result = Result.DONE
            self.block = None
            return self._outcome(result, error, stuck)
        except BaseException:
            # Another exception was raised into a write, which may have had its effect or not.
            self.restore(anyway=True)
            raise
        if self.site.terms.observe or self.plan.target.returning:
            self.block = None
        return self._outcome(Result.DONE)

    def restore(self, *, anyway: bool = False) -> StuckError | None:
        """Bring the block back to what it was before; return the error if that fails.

        Without ANYWAY nothing is written if no write had an effect.
        """
        if not (anyway or any(write.happened for write in self.writes)):
            return None
        self.block = None
        self.plan = change_back(self.before, self.known()).plan
        try:
            self._take_all(UNDOING, undoing=True)
        except BlockError as error:
            return StuckError(error)
        return None

    def _outcome(
        self, result: Result, error: BlockError | None = None, stuck: StuckError | None = None
    ) -> Outcome:
        return Outcome(result, self.change, self.known(), tuple(self.writes), error, stuck)

    def _take_all(self, patience: Patience, *, undoing: bool) -> None:
        target = self.plan.target
        for step in self.plan.steps:
            if step.holds(self.known(), target):
                continue
            if step.refuse(self.known(), target):
                # Since the block was read, the zone may have become valid by another's change.
                self.block = None
                if refused := step.refuse(self.known(), target):
                    raise refused
            self._take(step, patience, undoing=undoing)

    def _take(self, step: Step, patience: Patience, *, undoing: bool) -> None:
        """Do the write of STEP, and retry it as PATIENCE says. Raises BlockError."""
        site, target, number = self.site, self.plan.target, self.before.number
        word, path = step.word(self.known(), target), step.path(number)
        watch = site.terms.watch
        # A step that leads back to the condition before must not be stopped: undoing would need it.
        steady = undoing or (not step.endless and step.holds(self.before, target))
        tries = 0
        while True:
            tries += 1
            try:
                with (watch.limiting if steady else watch.during)(step.name):
                    site.machine.tree.write(path, word)
            except (OSError, StoppedError) as error:
                failed: OSError | StoppedError = error
            else:
                leaves = step.leaves(self.known(), target)
                self._note(step, word, None, True, undoing, tries)
                self.block = leaves if step.certain else None
                return
            self.block = None
            happened = step.holds(self.known(), target)
            if not happened and self._worth_another(failed, tries, patience, undoing):
                try:
                    self._pause(patience.pause(tries), steady)
                    continue
                except StoppedError as error:
                    failed = error
            code = errno.EINTR if isinstance(failed, StoppedError) else failed.errno or errno.EIO
            self._note(step, word, code, happened, undoing, tries)
            if happened:
                return
            raise self._error(step, path, failed, code)

    def _note(
        self, step: Step, word: str, error: int | None, happened: bool, undoing: bool, tries: int
    ) -> None:
        path = step.path(self.before.number)
        self.writes.append(Write(step.name, path, word, error, happened, undoing, tries))

    def _error(
        self, step: Step, path: str, failed: OSError | StoppedError, code: int
    ) -> BlockError:
        number, machine = self.before.number, self.site.machine
        if isinstance(failed, StoppedError):
            return BlockError(number, step.name, Cause.STOPPED)
        block = self.known()
        return BlockError(
            number,
            step.name,
            self.site.cause(step, code, block),
            errno=code,
            zones=block.zones or (),
            where=f"{machine.tree.root.rstrip('/')}/{path}",
        )

    @staticmethod
    def _worth_another(
        failed: OSError | StoppedError, tries: int, patience: Patience, undoing: bool
    ) -> bool:
        if isinstance(failed, StoppedError):
            return False
        if undoing and failed.errno == errno.EINTR:
            return tries <= patience.again
        return tries <= patience.tries(failed.errno)

    def _pause(self, seconds: float, steady: bool) -> None:
        if steady:
            time.sleep(seconds)
            return
        with self.site.terms.watch.during("pause"):
            time.sleep(seconds)
