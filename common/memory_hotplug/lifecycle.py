"""What is done to memory blocks: sequences of steps, each a transaction per block.

>>> from memory_hotplug import Machine, Zone, lifecycle
>>> machine = Machine.at("/")
>>> order = lifecycle.Order(lifecycle.Action.ENABLE, zone=Zone.MOVABLE)
>>> for outcome in lifecycle.carry_out(machine, order, machine.blocks()):
...     print(outcome.number, outcome.result, outcome.error)

A block that fails is brought back to what it was before; after every failure it is read again,
because only the machine knows: a write can be refused for having become needless, and a signal
can arrive just after the kernel has done its work.
"""

import errno
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from memory_hotplug.block import MemoryBlock, State, Zone
from memory_hotplug.errors import (
    BlockError,
    InterruptedStepError,
    NotDeconfiguredError,
    NotOfflineError,
    StepError,
    StoppedError,
    StuckError,
    ZoneMismatchError,
)
from memory_hotplug.hints import hint
from memory_hotplug.machine import FIRMWARE, MEMORY, Machine


class Action(Enum):
    """What can be done to a block."""

    ENABLE = "enable"
    DISABLE = "disable"
    CONFIGURE = "configure"
    DECONFIGURE = "deconfigure"
    RECONFIGURE = "reconfigure"


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
class Order:
    """What is asked for; the same for all blocks."""

    action: Action
    zone: Zone | None = None
    """Enable into this zone, or disable only what is in it."""
    memmap_on_memory: bool | None = None
    """None leaves it as it is; needed to reconfigure."""
    movable: bool = True
    """Without a zone, enable into Movable where that is valid; else the kernel chooses."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a write that failed is tried again, after a pause that doubles each time."""

    busy: int = 0
    """Times after EBUSY."""
    again: int = 3
    """Times after EAGAIN, with which old kernels gave up an offline."""
    first_pause: float = 0.05
    """Seconds."""
    longest_pause: float = 2.0

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
    """One write that was tried.

    A named tuple, as are the other records made for each block: on thousands of blocks frozen
    dataclasses cost as much as the writes.
    """

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
        inverse = {"online": "offline", "offline": "online"}
        inverse |= {"configure": "deconfigure", "deconfigure": "configure"}
        return tuple(
            inverse.get(write.step, write.step)
            for write in self.writes
            if write.undoing and write.happened
        )


def zone_of(block: MemoryBlock) -> Zone | None:
    """The zone an online block is in, where that is known."""
    return block.zones[0] if block.state is State.ONLINE and block.zones else None


# Steps


class Target(NamedTuple):
    """What a block is to become."""

    online: bool = False
    zone: Zone | None = None
    memmap_on_memory: bool | None = None
    movable: bool = False
    returning: bool = False
    """The zone is the one the block had, whatever word leads there."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A write to one attribute, and how to tell that its effect is there."""

    name: str
    directory: str
    attribute: str
    word: Callable[[MemoryBlock, Target], str]
    holds: Callable[[MemoryBlock, Target], bool]
    leaves: Callable[[MemoryBlock, Target], MemoryBlock | None]
    """The block after the step, or None where only reading tells."""


def _online_word(block: MemoryBlock, target: Target) -> str:
    """Movable where that is valid; `online` where that alone leads into the zone."""
    zones = block.zones
    if target.zone is None:
        movable = target.movable and zones and Zone.MOVABLE in zones
        return "online_movable" if movable else "online"
    if target.returning and zones and zones[0] is target.zone:
        return "online"
    if target.zone is Zone.MOVABLE:
        return "online_movable"
    return "online" if target.zone in (Zone.NONE, Zone.UNKNOWN) else "online_kernel"


def _is_online(block: MemoryBlock, target: Target) -> bool:
    if block.state is not State.ONLINE:
        return False
    if target.zone in (None, Zone.NONE, Zone.UNKNOWN):
        return True
    return zone_of(block) in (None, target.zone)


def _after_online(block: MemoryBlock, target: Target) -> MemoryBlock:
    movable = _online_word(block, target) == "online_movable"
    return MemoryBlock(
        block.number,
        State.ONLINE,
        zones=(Zone.MOVABLE,) if movable else None,
        configured=block.configured,
        memmap_on_memory=block.memmap_on_memory,
    )


def _memmap_word(_: MemoryBlock, target: Target) -> str:
    return "1" if target.memmap_on_memory else "0"


MEMMAP = _Step(
    "memmap-on-memory",
    FIRMWARE,
    "memmap_on_memory",
    _memmap_word,
    lambda block, target: block.memmap_on_memory is target.memmap_on_memory,
    lambda block, target: replace(block, memmap_on_memory=target.memmap_on_memory),
)
CONFIGURE = _Step(
    "configure",
    FIRMWARE,
    "config",
    lambda block, target: "1",
    lambda block, target: block.configured is True,
    lambda block, target: None,
)
ONLINE = _Step("online", MEMORY, "state", _online_word, _is_online, _after_online)
OFFLINE = _Step(
    "offline",
    MEMORY,
    "state",
    lambda block, target: "offline",
    lambda block, target: block.state is State.OFFLINE,
    lambda block, target: replace(block, state=State.OFFLINE, zones=None),
)
DECONFIGURE = _Step(
    "deconfigure",
    FIRMWARE,
    "config",
    lambda block, target: "0",
    lambda block, target: block.configured is False,
    lambda block, target: replace(block, configured=False, state=State.OFFLINE, zones=None),
)


def _refuse_nothing(block: MemoryBlock, order: Order) -> BlockError | None:
    return None


def _refuse_disable(block: MemoryBlock, order: Order) -> BlockError | None:
    if order.zone and block.state is not State.OFFLINE:
        return _mismatch(block, order.zone, "offline")
    return None


def _refuse_memmap(block: MemoryBlock, order: Order) -> BlockError | None:
    if order.memmap_on_memory in (None, block.memmap_on_memory) or not block.configured:
        return None
    return NotDeconfiguredError(block.number)


def _refuse_deconfigure(block: MemoryBlock, order: Order) -> BlockError | None:
    if block.configured and block.state is not State.OFFLINE:
        return NotOfflineError(block.number)
    return None


def _mismatch(block: MemoryBlock, zone: Zone, step: str) -> ZoneMismatchError | None:
    zones = block.zones or ()
    if zone in zones:
        return None
    return ZoneMismatchError(block.number, step, zone.value, ", ".join(z.value for z in zones))


@dataclass(frozen=True, slots=True)
class Sequence:
    """The steps of an action, each done unless its effect is there already."""

    steps: tuple[_Step, ...]
    target: Callable[[MemoryBlock, Order], Target]
    already: Callable[[MemoryBlock, Order], bool]
    """Whether a block is as asked, whatever the steps would say."""
    refuse: Callable[[MemoryBlock, Order], BlockError | None] = _refuse_nothing
    """Why nothing should even be tried."""
    keeps: tuple[str, ...] = ()
    """Steps whose failure leaves those before it in place."""


def _enabled(block: MemoryBlock, order: Order) -> Target:
    return Target(True, order.zone, order.memmap_on_memory, order.movable)


def _reconfigured(block: MemoryBlock, order: Order) -> Target:
    online = block.state is State.ONLINE
    return Target(online, zone_of(block), order.memmap_on_memory, returning=True)


def _disabled(block: MemoryBlock, order: Order) -> bool:
    return block.state is State.OFFLINE


SEQUENCES = {
    Action.ENABLE: Sequence(
        (MEMMAP, CONFIGURE, ONLINE),
        _enabled,
        lambda block, order: block.state is State.ONLINE,
        _refuse_memmap,
    ),
    Action.DISABLE: Sequence(
        (OFFLINE, DECONFIGURE),
        lambda block, order: Target(),
        _disabled,
        _refuse_disable,
        keeps=("deconfigure",),
    ),
    Action.CONFIGURE: Sequence(
        (MEMMAP, CONFIGURE),
        lambda block, order: Target(memmap_on_memory=order.memmap_on_memory),
        lambda block, order: bool(block.configured),
        _refuse_memmap,
    ),
    Action.DECONFIGURE: Sequence(
        (DECONFIGURE,),
        lambda block, order: Target(),
        lambda block, order: block.configured is False,
        _refuse_deconfigure,
    ),
    Action.RECONFIGURE: Sequence(
        # The last for a block that was offline, where the kernel's auto_online_blocks is quick.
        (OFFLINE, DECONFIGURE, MEMMAP, CONFIGURE, ONLINE, OFFLINE),
        _reconfigured,
        lambda block, order: block.memmap_on_memory is order.memmap_on_memory,
    ),
}


# Blocks


@dataclass(frozen=True, slots=True)
class Site:
    """Where the work is done, and under which rules."""

    machine: Machine
    order: Order
    watch: Watch
    patience: Patience
    atomic: bool = False
    """Undo also what a sequence would leave in place."""
    observe: bool = True


class _Transaction:
    """The work on one block."""

    __slots__ = ("before", "block", "site", "target", "writes")

    def __init__(self, site: Site, before: MemoryBlock, target: Target) -> None:
        self.site = site
        self.before = before
        self.target = target
        self.block: MemoryBlock | None = before
        self.writes: list[Write] = []

    def known(self) -> MemoryBlock:
        """The block as it is, read again only where a step left that open."""
        if self.block is None:
            self.block = self.site.machine.block(self.before.number)
        return self.block

    def run(self, sequence: Sequence) -> Outcome:
        try:
            for step in sequence.steps:
                if self._needs(step):
                    self._prepare(step, undoing=False)
                    self._take(step, self.site.patience, undoing=False)
        except BlockError as error:
            stuck = None
            kept = error.step in sequence.keeps and not isinstance(error, InterruptedStepError)
            if self.site.atomic or not kept:
                stuck = self.restore()
            self.block = None
            stopped = isinstance(error, InterruptedStepError)
            result = Result.INTERRUPTED if stopped else Result.FAILED
            return self._outcome(result, error, stuck)
        except BaseException:
            # Whatever else was raised into a write: it may have happened or not.
            self.restore(anyway=True)
            raise
        if self.site.observe or self.target.returning:
            self.block = None
        return self._outcome(Result.DONE)

    def _outcome(
        self, result: Result, error: BlockError | None = None, stuck: StuckError | None = None
    ) -> Outcome:
        after = self.block or self.site.machine.block(self.before.number)
        return Outcome(result, self.before, after, tuple(self.writes), error, stuck)

    def _needs(self, step: _Step) -> bool:
        """Whether a step of the sequence has anything to do for this block."""
        block, target = self.known(), self.target
        if step is ONLINE:
            return target.online and not ONLINE.holds(block, target)
        if step is OFFLINE and target.online and self.writes:
            return False
        if block.configured is None:
            return step is OFFLINE and not OFFLINE.holds(block, target)
        if step is MEMMAP and target.memmap_on_memory is None:
            return False
        if step is CONFIGURE and self.site.order.action is Action.RECONFIGURE:
            return bool(self.before.configured)
        return not step.holds(block, target)

    def _prepare(self, step: _Step, *, undoing: bool) -> None:
        """Before a block is set online: see to its zone, which only a configured block tells."""
        target = self.target
        if step is not ONLINE or not target.zone:
            return
        if self.known().state is State.ONLINE:
            # The kernel's auto_online_blocks was quicker, and chose another zone.
            self._take(OFFLINE, UNDOING if undoing else self.site.patience, undoing=undoing)
            self.block = None
        block = self.known()
        if not target.returning:
            mismatch = _mismatch(block, target.zone, "online")
            if mismatch:
                raise mismatch

    def _take(self, step: _Step, patience: Patience, *, undoing: bool) -> None:
        site, number = self.site, self.before.number
        block = self.known()
        word = step.word(block, self.target)
        path = f"{step.directory}/memory{number}/{step.attribute}"
        # A step back to what the block was would only have to be done again to undo the rest.
        steady = undoing or (step is not OFFLINE and step.holds(self.before, self.target))
        tries = 0
        while True:
            tries += 1
            failed: OSError | StoppedError
            try:
                guard = site.watch.limiting if steady else site.watch.during
                with guard(step.name):
                    site.machine.tree.write(path, word)
            except (OSError, StoppedError) as error:
                failed = error
            else:
                self.block = step.leaves(block, self.target)
                self.writes.append(Write(step.name, path, word, None, True, undoing, tries))
                return
            number_of_error = failed.errno if isinstance(failed, OSError) else errno.EINTR
            self.block = None
            happened = step.holds(self.known(), self.target)
            if not happened and isinstance(failed, OSError):
                retrying = undoing and failed.errno == errno.EINTR and tries <= patience.again
                if retrying or tries <= patience.tries(failed.errno):
                    try:
                        self._pause(patience.pause(tries), steady)
                    except StoppedError as error:
                        failed = error
                    else:
                        continue
            self.writes.append(
                Write(step.name, path, word, number_of_error, happened, undoing, tries)
            )
            if happened:
                return
            if isinstance(failed, StoppedError):
                raise InterruptedStepError(number, step.name)
            error_number = failed.errno or errno.EIO
            where = f"{site.machine.tree.root.rstrip('/')}/{path}"
            said = hint(step.name, error_number, where, self.known(), site.machine.block_size)
            raise StepError(number, step.name, error_number, said)

    def _pause(self, seconds: float, steady: bool) -> None:
        if steady:
            time.sleep(seconds)
            return
        with self.site.watch.during("pause"):
            time.sleep(seconds)

    def restore(self, *, anyway: bool = False) -> StuckError | None:
        """Bring the block back to what it was; the error where that does not succeed.

        Nothing is written where no write had an effect, unless ANYWAY.
        """
        if not (anyway or any(write.happened for write in self.writes)):
            return None
        before = self.before
        self.target = Target(
            before.state is State.ONLINE, zone_of(before), before.memmap_on_memory, returning=True
        )
        self.block = None
        try:
            for step in self._way_back(self.known()):
                if not step.holds(self.known(), self.target):
                    self._prepare(step, undoing=True)
                    self._take(step, UNDOING, undoing=True)
        except BlockError as error:
            return StuckError(before.number, error)
        return None

    def _way_back(self, now: MemoryBlock) -> list[_Step]:
        before = self.before
        steps: list[_Step] = []
        memmap = before.configured is not None and now.memmap_on_memory != before.memmap_on_memory
        if before.configured is not None and (memmap or not before.configured):
            steps += [OFFLINE, DECONFIGURE]
        if memmap:
            steps.append(MEMMAP)
        if before.configured:
            steps.append(CONFIGURE)
        if before.state is State.ONLINE:
            steps.append(ONLINE)
        elif before.configured is not False:
            # Also after CONFIGURE, which auto_online_blocks may have followed up.
            steps.append(OFFLINE)
        return steps


def carry_out(
    machine: Machine,
    order: Order,
    blocks: Iterable[MemoryBlock],
    *,
    enough: int | None = None,
    watch: Watch | None = None,
    patience: Patience | None = None,
    all_or_nothing: bool = False,
    observe: bool = True,
) -> Iterator[Outcome]:
    """Do what ORDER says to BLOCKS, one after another, and tell what became of each.

    The blocks must have been read with the attributes of `reads`. ENOUGH is the number of blocks
    to be changed, after which no further one is begun; without it every block counts, and one
    that is as asked already is told of. With ALL_OR_NOTHING the first failure (or, with ENOUGH,
    too few successes) takes back what was done before; the blocks taken back are told of again,
    with the result TAKEN_BACK, or FAILED where they could not be. Without OBSERVE the condition
    after a success is not read from the machine.
    """
    watch = watch or Watch()
    site = Site(machine, order, watch, patience or Patience(), all_or_nothing, observe)
    done: deque[Outcome] = deque(maxlen=None if all_or_nothing else 0)
    changed, complete = 0, True
    for block in blocks:
        if enough is not None and changed >= enough:
            break
        if watch.stopping:
            complete = False
            break
        outcome = _carry_out_one(site, block)
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


def reads(machine: Machine) -> tuple[str, ...]:
    """The attributes that `carry_out` needs of each block."""
    attributes = ("state", "zones")
    return (*attributes, "configured", "memmap_on_memory") if machine.configurable else attributes


def _carry_out_one(site: Site, block: MemoryBlock) -> Outcome:
    sequence, order = SEQUENCES[site.order.action], site.order
    refused = sequence.refuse(block, order)
    if refused:
        return Outcome(Result.FAILED, block, block, error=refused)
    if sequence.already(block, order):
        return Outcome(Result.ALREADY, block, block)
    return _Transaction(site, block, sequence.target(block, order)).run(sequence)


def _take_back(site: Site, outcome: Outcome) -> Outcome:
    work = _Transaction(site, outcome.before, Target())
    work.writes = list(outcome.writes)
    stuck = work.restore()
    after = site.machine.block(outcome.number)
    result = Result.FAILED if stuck else Result.TAKEN_BACK
    return Outcome(result, outcome.before, after, tuple(work.writes), stuck, stuck)
