"""Carry out an order on many blocks, one after another.

>>> from memory_hotplug import Action, Machine, Order, Zone, carry_out
>>> machine = Machine.simulated("s390-lpar")
>>> for outcome in carry_out(machine, Order(Action.ENABLE, zone=Zone.MOVABLE), [16, 17]):
...     print(outcome.number, outcome.result.value)
16 done
17 done
"""

from collections.abc import Iterable, Iterator, Reversible
from itertools import chain

from memory_hotplug.block import NOT_READ, MemoryBlock, State, same_condition
from memory_hotplug.causes import Cause
from memory_hotplug.change.guard import GUARDED
from memory_hotplug.change.journal import Left
from memory_hotplug.change.lock import Held
from memory_hotplug.change.outcome import Outcome, Result
from memory_hotplug.change.plan import NEEDED, Change, Order, Plan, change_to, order_to
from memory_hotplug.change.transaction import UNDOING, WANTS_MEMORY, Site, Terms, Transaction
from memory_hotplug.checks import check_type, refuse, whole_number
from memory_hotplug.errors import BlockError, NoSuchBlockError
from memory_hotplug.machine import Machine

__all__ = ["bring_back", "carry_out", "carry_out_each", "restored", "take_back"]


def carry_out(
    machine: Machine,
    order: Order,
    blocks: Iterable[int | MemoryBlock],
    terms: Terms = Terms(),  # noqa: B008  # frozen
) -> Iterator[Outcome]:
    """Carry out ORDER on BLOCKS, one after another; yield what became of each.

    A block given by its number is read when its turn comes. So is a block that lacks an attribute
    on which the steps depend. Other blocks are taken to be as given. For a number that the
    machine does not have, the result is FAILED.

    With `Terms.all_or_nothing` the first failure for which no spare stands in, or fewer successes
    than `Terms.enough` asks for, undoes all changes. An undone block is yielded again, with the
    result TAKEN_BACK, or FAILED if it could not be undone.

    Once two blocks in a row had no memory for their struct pages, others that need some are
    NOT_TRIED. So are blocks that `Terms.guard` does not let go.

    If `Terms.watch` raises an exception other than StoppedError and OSError during a write, the
    block is restored, and the exception is raised again.
    """
    check_type("machine", machine, Machine)
    check_type("order", order, Order)
    check_type("terms", terms, Terms)
    terms.check()
    if isinstance(blocks, str) or not isinstance(blocks, Iterable):
        raise refuse("blocks", "several blocks", blocks)
    return carry_out_each(machine, (_change_of(machine, order, named) for named in blocks), terms)


def carry_out_each(
    machine: Machine,
    changes: Iterable[Change],
    terms: Terms = Terms(),  # noqa: B008  # frozen
) -> Iterator[Outcome]:
    """Carry out CHANGES, one after another, as `carry_out` does. Where one fails, its spares are
    tried, each only once. A block that is changed once more is yielded once more, with all that
    was done to it."""
    site = Site(machine, terms)
    enough, watch, all_or_nothing = terms.enough, terms.watch, terms.all_or_nothing
    done: dict[int, Outcome] = {}
    changed, complete = 0, True
    taken: set[int] = set()
    # What comes after enough is not even asked for: to choose it may take long.
    for change in changes if enough is None or enough > 0 else ():
        if watch.stopping:
            complete = False
            break
        for outcome in _with_spares(site, change, taken):  # the last one counts
            outcome = _joined(done.get(outcome.number), outcome)
            if outcome.result is Result.DONE or outcome.number in done:
                done[outcome.number] = outcome
            yield outcome
        if outcome.result is Result.DONE:
            changed += 1
            if changed == enough:
                break
        elif all_or_nothing and outcome.stuck:
            # It can be all no more. Others instead might be left in between as well.
            complete = False
            break
        elif outcome.result is not Result.ALREADY and enough is None:
            complete = False
            if all_or_nothing:
                break
        elif outcome.error and outcome.error.cause in GUARDED:
            # Another block instead would be refused as well.
            break
    if all_or_nothing and (not complete or (enough is not None and changed < enough)):
        yield from _taken_back(site, done.values())


def take_back(machine: Machine, outcomes: Iterable[Outcome], terms: Terms) -> Iterator[Outcome]:
    """Bring the blocks of OUTCOMES back to what they were before, the last one first; yield what
    became of each. A block for which there was no memory is tried again once others have come back,
    and have perhaps brought some."""
    return _taken_back(Site(machine, terms), [*outcomes])


def _taken_back(site: Site, outcomes: Reversible[Outcome]) -> Iterator[Outcome]:
    todo = [*reversed(outcomes)]
    while todo:
        short = []
        for outcome in todo:
            back = _take_back(site, outcome)
            if back.stuck and back.stuck.cause in WANTS_MEMORY:
                short.append((outcome, back))
            else:
                yield back
        if len(short) == len(todo):
            yield from (back for _, back in short)
            return
        todo = [outcome._replace(writes=back.writes) for outcome, back in short]


def _joined(earlier: Outcome | None, later: Outcome) -> Outcome:
    """What became of a block in all, if it was changed before."""
    if earlier is None:
        return later
    return later._replace(
        result=Result.DONE if later.result is Result.ALREADY else later.result,
        change=later.change._replace(block=earlier.before),
        writes=earlier.writes + later.writes,
    )


def _with_spares(site: Site, change: Change, taken: set[int]) -> Iterator[Outcome]:
    """The outcome of a change and, where it failed, those of its spares that are not TAKEN."""
    for one in chain((change,), change.spares):
        if one is not change and (one.number in taken or site.forbids(one)):
            continue
        taken.add(one.number)
        outcome = _carry_out_one(site, one)
        yield outcome
        if outcome.result is not Result.FAILED or site.terms.watch.stopping:
            return


def _change_of(machine: Machine, order: Order, named: int | MemoryBlock) -> Change:
    """The change of a block that is read now, unless all that a plan needs is given."""
    try:
        if not isinstance(named, MemoryBlock):
            named = machine.block(whole_number("each of blocks", named), NEEDED)
        elif NOT_READ in (named.state, named.zones, named.configured, named.memmap_on_memory):
            named = machine.block(named.number, NEEDED)
    except NoSuchBlockError as error:
        block = MemoryBlock(
            error.number, State.UNKNOWN, zones=None, configured=None, memmap_on_memory=None
        )
        missing = BlockError(error.number, order.action.value, Cause.NO_SUCH_BLOCK)
        return Change(block, order, Plan(refused=missing))
    return change_to(named, order)


def _carry_out_one(site: Site, change: Change) -> Outcome:
    block, plan = change.block, change.plan
    site.terms.watch.begin(change.number)
    if plan.refused:
        return Outcome(Result.FAILED, change, block, error=plan.refused)
    if plan.already:
        return Outcome(Result.ALREADY, change, block)
    if error := site.forbids(change):
        return Outcome(Result.NOT_TRIED, change, block, error=error)
    outcome = _run(site, change)
    site.count(outcome)
    return outcome


def _run(site: Site, change: Change) -> Outcome:
    work, held = Transaction(site, change), site.terms.held
    if held is None:
        return work.run()
    held.touch(change.block)
    if _is_one_write(change):
        # It is done or not, even if this process is killed.
        return work.run()
    held.note(change.block, change.order.action.value)
    outcome = work.run()
    held.clear()
    return outcome


def _is_one_write(change: Change) -> bool:
    """Whether a change takes one write only, also if the kernel sets a block online by itself."""
    steps, target = change.plan.steps, change.plan.target
    if all(step.holds(change.block, target) for step in steps[:-1]):
        return True
    ahead = [step for step, _ in change.stages()]
    return len(ahead) < 2 and all(step.certain or step is steps[-1] for step in ahead)


_BROKEN_OFF = (Result.FAILED, Result.INTERRUPTED)


def _take_back(site: Site, outcome: Outcome) -> Outcome:
    work, held = Transaction(site, outcome.change), site.terms.held
    work.writes = list(outcome.writes)
    if held:
        held.note(outcome.before, outcome.change.order.action.value)
    stuck = work.restore()
    if held:
        held.clear()
    after = site.machine.block_now(outcome.number)
    # Where the block was changed once more, and that failed, it is told why.
    error = outcome.error if outcome.result in _BROKEN_OFF else None
    result = Result.FAILED if stuck else outcome.result if error else Result.TAKEN_BACK
    if stuck and not error and same_condition(after, outcome.after):
        # It could not even be begun: the block is as it was asked to be.
        result = Result.DONE
    return Outcome(result, outcome.change, after, tuple(work.writes), error or stuck, stuck)


def bring_back(machine: Machine, held: Held) -> Outcome | None:
    """Bring the block that a killed process left back to the condition in the journal of HELD.

    Returns None if there is no such block, or it has that condition already. Otherwise the result
    is TAKEN_BACK and the line is cleared, or the kernel refused: then the result is FAILED and
    the line is kept, for the next time. A block that was online and is online again is left
    alone: somebody has restored it. So is one that cannot have been as the line says, because its
    memory is configured and that of the line is not, or the other way round.
    """
    check_type("machine", machine, Machine)
    check_type("held", held, Held)
    if held.left is None:
        return None
    outcome = restored(machine, held.left)
    if outcome and outcome.stuck:
        held.keep()
    else:
        held.clear()
    return outcome


def restored(machine: Machine, left: Left) -> Outcome | None:
    """Bring a block that was LEFT back, as `bring_back` does; the journal is left alone."""
    number = left.before.number
    try:
        now = machine.block(number)
    except NoSuchBlockError:
        return None
    foreign = (left.before.configured is None) != (now.configured is None)
    if foreign or left.before.state is State.ONLINE is now.state:
        return None
    # Of the change that was interrupted only the condition before it is known.
    unknown = Change(left.before, order_to(left.before), Plan())
    work = Transaction(Site(machine, Terms(patience=UNDOING)), unknown)
    stuck = work.restore(anyway=True)
    if not (stuck or any(write.happened for write in work.writes)):
        return None
    result = Result.FAILED if stuck else Result.TAKEN_BACK
    after = machine.block_now(number)
    return Outcome(result, unknown, after, tuple(work.writes), stuck, stuck)
