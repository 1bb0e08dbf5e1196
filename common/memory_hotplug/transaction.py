"""Carry out an order: each block a transaction, which is done, or undone.

>>> from memory_hotplug import Action, Machine, Order, Zone, carry_out
>>> machine = Machine.simulated("s390-lpar")
>>> for outcome in carry_out(machine, Order(Action.ENABLE, zone=Zone.MOVABLE), [16, 17]):
...     print(outcome.number, outcome.result.value)
16 done
17 done

A block that fails is brought back to what it was before. After every failure it is read again,
because only the machine knows: a write can be refused for having become needless, and a signal
can arrive just after the kernel has done its work.
"""

import errno
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from memory_hotplug.block import NOT_READ, MemoryBlock, State
from memory_hotplug.causes import Cause, cause_of
from memory_hotplug.errors import BlockError, NoSuchBlockError, StoppedError, StuckError
from memory_hotplug.machine import Machine
from memory_hotplug.plan import Order, Plan, Step, Target, plan, way_back, zone_of

__all__ = ["UNDOING", "Outcome", "Patience", "Result", "Watch", "Write", "carry_out"]


class Result(Enum):
    """What became of a block."""

    DONE = "done"
    ALREADY = "already"
    """It was as asked before anything was done."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    TAKEN_BACK = "taken back"
    """It was done, and undone because of another block."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a write that failed is tried again, after a pause that doubles each time."""

    busy: int = 0
    """Times after EBUSY."""
    again: int = 3
    """Times after EAGAIN, with which kernels before 5.0 gave up an offline
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
"""What is undone deserves some more effort."""


class Watch:
    """Who may stop the work; this one never does. A command line brings its own.

    ``stopping`` is asked before each block. ``during`` surrounds each write and pause that may be
    cut short, which is done by raising StoppedError or an InterruptedError into it.
    """

    stopping = False

    def during(self, step: str) -> AbstractContextManager[object]:
        return nullcontext()

    def limiting(self, step: str) -> AbstractContextManager[object]:
        """Surrounds a write that nobody may stop, but that may take too long: an offline."""
        return nullcontext()


class Write(NamedTuple):
    """One write that was tried."""

    step: str
    path: str
    """Below the root, without a leading slash."""
    word: str
    errno: int | None
    """Of the last try; None where it was accepted."""
    happened: bool
    """Whether the block is as the step should leave it; true also where the kernel was quicker."""
    undoing: bool
    tries: int = 1


_INVERSE = {
    "online": "offline",
    "offline": "online",
    "configure": "deconfigure",
    "deconfigure": "configure",
}


class Outcome(NamedTuple):
    """What was done to a block."""

    result: Result
    before: MemoryBlock
    after: MemoryBlock
    """Read from the machine, but for a block that went well and that nobody wanted to observe."""
    writes: tuple[Write, ...] = ()
    error: BlockError | None = None
    stuck: StuckError | None = None
    """Why it could not be brought back."""

    @property
    def number(self) -> int:
        return self.before.number

    @property
    def moved(self) -> bool:
        """Whether the block came back in another zone: at the edge of a zone's span the kernel
        may leave no way back."""
        zones = zone_of(self.before), zone_of(self.after)
        return None not in zones and zones[0] is not zones[1]

    @property
    def undone(self) -> tuple[str, ...]:
        """The steps that were undone, in the order in which this happened."""
        return tuple(
            _INVERSE.get(write.step, write.step)
            for write in self.writes
            if write.undoing and write.happened
        )


@dataclass(frozen=True, slots=True)
class _Site:
    """Where the work is done, and under which rules."""

    machine: Machine
    watch: Watch
    patience: Patience
    atomic: bool = False
    """Undo also what a plan would leave in place."""
    observe: bool = True


class _Transaction:
    """The work on one block."""

    __slots__ = ("before", "block", "plan", "site", "writes")

    def __init__(self, site: _Site, before: MemoryBlock, planned: Plan) -> None:
        self.site = site
        self.before = before
        self.plan = planned
        self.block: MemoryBlock | None = before
        self.writes: list[Write] = []

    def known(self) -> MemoryBlock:
        """The block as it is, read again only where a step left that open."""
        if self.block is None:
            self.block = self.site.machine.block_now(self.before.number)
        return self.block

    def run(self) -> Outcome:
        """Take the steps of the plan; where one fails, undo those before it."""
        keeps = self.plan.keeps
        try:
            self._take_all(self.site.patience, undoing=False)
        except BlockError as error:
            stopped = error.cause is Cause.STOPPED
            stuck = None
            if self.site.atomic or stopped or error.step != keeps:
                stuck = self.restore()
            self.block = None
            return self._outcome(Result.INTERRUPTED if stopped else Result.FAILED, error, stuck)
        except BaseException:
            # Whatever else was raised into a write: it may have happened or not.
            self.restore(anyway=True)
            raise
        if self.site.observe or self.plan.target.returning:
            self.block = None
        return self._outcome(Result.DONE)

    def restore(self, *, anyway: bool = False) -> StuckError | None:
        """Bring the block back to what it was; the error where that does not succeed.

        Nothing is written where no write had an effect, unless ANYWAY.
        """
        if not (anyway or any(write.happened for write in self.writes)):
            return None
        self.block = None
        self.plan = way_back(self.before, self.known())
        try:
            self._take_all(UNDOING, undoing=True)
        except BlockError as error:
            return StuckError(error)
        return None

    def _outcome(
        self, result: Result, error: BlockError | None = None, stuck: StuckError | None = None
    ) -> Outcome:
        return Outcome(result, self.before, self.known(), tuple(self.writes), error, stuck)

    def _take_all(self, patience: Patience, *, undoing: bool) -> None:
        target = self.plan.target
        for step in self.plan.steps:
            if step.holds(self.known(), target):
                continue
            refused = step.refuse(self.known(), target)
            if refused:
                raise refused
            self._take(step, patience, undoing=undoing)

    def _take(self, step: Step, patience: Patience, *, undoing: bool) -> None:
        """Write, and write again while that makes sense; raises BlockError."""
        site, target, number = self.site, self.plan.target, self.before.number
        word, path = step.word(self.known(), target), step.path(number)
        # A step back to what the block was would only have to be done again to undo the rest.
        steady = undoing or (not step.endless and step.holds(self.before, target))
        tries = 0
        while True:
            tries += 1
            try:
                with (site.watch.limiting if steady else site.watch.during)(step.name):
                    site.machine.tree.write(path, word)
            except (OSError, StoppedError) as error:
                failed: OSError | StoppedError = error
            else:
                leaves = step.leaves(self.known(), target)
                self._note(step, word, None, True, undoing, tries)
                self.block = leaves
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
            cause_of(step.name, code, block),
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
        with self.site.watch.during("pause"):
            time.sleep(seconds)


def carry_out(
    machine: Machine,
    order: Order,
    blocks: Iterable[int | MemoryBlock],
    *,
    enough: int | None = None,
    watch: Watch | None = None,
    patience: Patience | None = None,
    all_or_nothing: bool = False,
    observe: bool = True,
) -> Iterator[Outcome]:
    """Do what ORDER says to BLOCKS, one after another, and tell what became of each.

    A number is read from the machine when its turn comes; so is a block of which not all was
    read that is needed. Any other block is taken to be as it says. A number that is no block of
    this machine FAILED. ENOUGH is the number of blocks to be changed, after which no further one
    is begun; without it every block counts, and one that is as asked already is told of. With
    ALL_OR_NOTHING the first failure (or, with ENOUGH, too few successes) takes back what was done
    before; the blocks taken back are told of again, with the result TAKEN_BACK, or FAILED where
    they could not be. Without OBSERVE the condition after a success is not read from the machine.

    Raises what WATCH raises into a write, after the block at work was brought back.
    """
    watch = watch or Watch()
    site = _Site(machine, watch, patience or Patience(), all_or_nothing, observe)
    done: deque[Outcome] = deque(maxlen=None if all_or_nothing else 0)
    changed, complete = 0, True
    for block in blocks:
        if enough is not None and changed >= enough:
            break
        if watch.stopping:
            complete = False
            break
        outcome = _carry_out_one(site, order, block)
        yield outcome
        if outcome.result is Result.DONE:
            changed += 1
            done.append(outcome)
        elif outcome.result is not Result.ALREADY and enough is None:
            complete = False
            if all_or_nothing:
                break
    if all_or_nothing and (not complete or (enough is not None and changed < enough)):
        for outcome in reversed(done):
            yield _take_back(site, outcome)


def _carry_out_one(site: _Site, order: Order, named: int | MemoryBlock) -> Outcome:
    try:
        block = _known(site.machine, named)
    except NoSuchBlockError as error:
        block = MemoryBlock(
            error.number, State.UNKNOWN, zones=None, configured=None, memmap_on_memory=None
        )
        missing = BlockError(error.number, order.action.value, Cause.NO_SUCH_BLOCK)
        return Outcome(Result.FAILED, block, block, error=missing)
    planned = plan(block, order)
    if planned.refused:
        return Outcome(Result.FAILED, block, block, error=planned.refused)
    if planned.already:
        return Outcome(Result.ALREADY, block, block)
    return _Transaction(site, block, planned).run()


def _known(machine: Machine, named: int | MemoryBlock) -> MemoryBlock:
    """The block with all that a plan needs; raises NoSuchBlockError."""
    if isinstance(named, int):
        return machine.block(named)
    if NOT_READ in (named.state, named.zones, named.configured, named.memmap_on_memory):
        return machine.block(named.number)
    return named


def _take_back(site: _Site, outcome: Outcome) -> Outcome:
    work = _Transaction(site, outcome.before, Plan(Target()))
    work.writes = list(outcome.writes)
    stuck = work.restore()
    after = site.machine.block_now(outcome.number)
    result = Result.FAILED if stuck else Result.TAKEN_BACK
    return Outcome(result, outcome.before, after, tuple(work.writes), stuck, stuck)
