"""Carry out an order. Each block is a transaction: all its steps are done, or undone.

>>> from memory_hotplug import Action, Machine, Order, Zone, carry_out
>>> machine = Machine.simulated("s390-lpar")
>>> for outcome in carry_out(machine, Order(Action.ENABLE, zone=Zone.MOVABLE), [16, 17]):
...     print(outcome.number, outcome.result.value)
16 done
17 done

When a step fails, the block is brought back to what it was before. After each failure the block is
read again, because an error does not say what happened: the kernel refuses a write whose effect is
there already, and a signal can arrive just after the kernel has done its work.
"""

import errno
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from memory_hotplug.block import NOT_READ, MemoryBlock, State, same_condition
from memory_hotplug.causes import Cause, cause_of
from memory_hotplug.errors import BlockError, NoSuchBlockError, StoppedError, StuckError
from memory_hotplug.hold import Held
from memory_hotplug.machine import Machine
from memory_hotplug.outcome import Outcome, Result, Write
from memory_hotplug.plan import NEEDED, Order, Plan, Step, plan, way_back

__all__ = ["UNDOING", "Patience", "Watch", "bring_back", "carry_out"]


@dataclass(frozen=True, slots=True)
class Patience:
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

    def during(self, step: str) -> AbstractContextManager[object]:
        return nullcontext()

    def limiting(self, step: str) -> AbstractContextManager[object]:
        """The context of an offline that must not be stopped, but may have a time limit."""
        return nullcontext()


@dataclass(frozen=True, slots=True)
class _Site:
    """The machine to change, and the rules for all blocks."""

    machine: Machine
    watch: Watch
    patience: Patience
    held: Held | None = None
    """The record of the block that is being changed, in case this process is killed."""
    atomic: bool = False
    """Undo also the steps that `Plan.keeps` would keep."""
    observe: bool = True


_UNPLANNED = Plan()
"""Of a block that is only brought back: its plan is made then."""


class _Transaction:
    """The steps for one block, and what was written so far."""

    __slots__ = ("before", "block", "plan", "site", "writes")

    def __init__(self, site: _Site, before: MemoryBlock, planned: Plan) -> None:
        self.site = site
        self.before = before
        self.plan = planned
        self.block: MemoryBlock | None = before
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
            self._take_all(self.site.patience, undoing=False)
            # A write that a signal interrupted may have had its effect nevertheless.
            if self.writes and all(write.errno not in (None, errno.EINTR) for write in self.writes):
                # Another process changed the block as requested, after it was read.
                return self._outcome(Result.ALREADY)
        except BlockError as error:
            stopped = error.cause is Cause.STOPPED
            stuck = None
            if self.site.atomic or stopped or error.step != keeps:
                stuck = self.restore()
            self.block = None
            return self._outcome(Result.INTERRUPTED if stopped else Result.FAILED, error, stuck)
        except BaseException:
            # Another exception was raised into a write, which may have had its effect or not.
            self.restore(anyway=True)
            raise
        if self.site.observe or self.plan.target.returning:
            self.block = None
        return self._outcome(Result.DONE)

    def restore(self, *, anyway: bool = False) -> StuckError | None:
        """Bring the block back to what it was before; return the error if that fails.

        Without ANYWAY nothing is written if no write had an effect.
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
        """Do the write of STEP, and retry it as PATIENCE says. Raises BlockError."""
        site, target, number = self.site, self.plan.target, self.before.number
        word, path = step.word(self.known(), target), step.path(number)
        # A step that leads back to the condition before must not be stopped: undoing would need it.
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
    order: Order | Mapping[int, Order],
    blocks: Iterable[int | MemoryBlock],
    *,
    enough: int | None = None,
    watch: Watch | None = None,
    patience: Patience | None = None,
    all_or_nothing: bool = False,
    observe: bool = True,
    held: Held | None = None,
) -> Iterator[Outcome]:
    """Carry out ORDER on BLOCKS, one after another; yield what became of each.

    ORDER may also map the number of each block to an order of its own.

    A block given by its number is read when its turn comes. So is a block that lacks an attribute
    on which the steps depend. Other blocks are taken to be as given. For a number that the
    machine does not have, the result is FAILED.

    ENOUGH is the number of blocks to change; after it no other block is begun. Without ENOUGH all
    blocks are to be changed. With ALL_OR_NOTHING the first failure, or fewer successes than
    ENOUGH, undoes all changes. An undone block is yielded again, with the result TAKEN_BACK, or
    FAILED if it could not be undone. Without OBSERVE a block is not read after a success. HELD
    records a block that takes several writes, for `bring_back`.

    If WATCH raises an exception other than StoppedError and OSError during a write, the block is
    restored, and the exception is raised again.
    """
    watch = watch or Watch()
    site = _Site(machine, watch, patience or Patience(), held, all_or_nothing, observe)
    done: deque[Outcome] = deque(maxlen=None if all_or_nothing else 0)
    changed, complete = 0, True
    for block in blocks:
        if enough is not None and changed >= enough:
            break
        if watch.stopping:
            complete = False
            break
        number = block if isinstance(block, int) else block.number
        one = order if isinstance(order, Order) else order[number]
        outcome = _carry_out_one(site, one, block)
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
    work = _Transaction(site, block, planned)
    ahead = [step for step in planned.steps if not step.holds(block, planned.target)]
    if site.held is None or len(ahead) < 2:
        # A single write is done or not, even if this process is killed.
        return work.run()
    site.held.note(block, order.action.value)
    outcome = work.run()
    site.held.clear()
    return outcome


def _known(machine: Machine, named: int | MemoryBlock) -> MemoryBlock:
    """The block with all attributes that a plan needs. Raises NoSuchBlockError."""
    if isinstance(named, int):
        return machine.block(named, NEEDED)
    if NOT_READ in (named.state, named.zones, named.configured, named.memmap_on_memory):
        return machine.block(named.number, NEEDED)
    return named


def _take_back(site: _Site, outcome: Outcome) -> Outcome:
    work = _Transaction(site, outcome.before, _UNPLANNED)
    work.writes = list(outcome.writes)
    stuck = work.restore()
    after = site.machine.block_now(outcome.number)
    result = Result.FAILED if stuck else Result.TAKEN_BACK
    if stuck and same_condition(after, outcome.after):
        # It could not even be begun: the block is as it was asked to be.
        result = Result.DONE
    return Outcome(result, outcome.before, after, tuple(work.writes), stuck, stuck)


def bring_back(machine: Machine, held: Held) -> Outcome | None:
    """Bring the block that a killed process left back to the condition in the record of HELD.

    Returns None if there is no such block, or it has that condition already. Otherwise the result
    is TAKEN_BACK and the record is cleared, or the kernel refused: then the result is FAILED and
    the record is kept, for the next time. A block that was online and is online again is left
    alone: somebody has restored it.
    """
    left = held.left
    if left is None:
        return None
    number = left.before.number
    try:
        now = machine.block(number)
    except NoSuchBlockError:
        held.clear()
        return None
    if left.before.state is State.ONLINE is now.state:
        held.clear()
        return None
    work = _Transaction(_Site(machine, Watch(), UNDOING), left.before, _UNPLANNED)
    stuck = work.restore(anyway=True)
    if stuck:
        held.keep()
    else:
        held.clear()
    if not (stuck or any(write.happened for write in work.writes)):
        return None
    result = Result.FAILED if stuck else Result.TAKEN_BACK
    after = machine.block_now(number)
    return Outcome(result, left.before, after, tuple(work.writes), stuck, stuck)
