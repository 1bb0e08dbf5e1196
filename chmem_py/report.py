"""What a person is told: util-linux's wording, and sentences of our own where it is silent."""

import contextlib
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chmem_py.causes import SKIPPED, advice_on, reason_of
from chmem_py.request import Request, Selection
from hotplug_cli.program import complain
from memory_hotplug.block import State, Zone, zone_of
from memory_hotplug.errors import BlockError, StuckError
from memory_hotplug.machine import Machine
from memory_hotplug.plan import Action, Order
from memory_hotplug.size import human
from memory_hotplug.transaction import Outcome, Result

NAME = "chmem"

SUCCESS, FAILURE, PARTLY = 0, 1, 64

VERBS = {
    "memmap-on-memory": "memmap-on-memory",
    "configure": "configure",
    "online": "enable",
    "offline": "disable",
    "deconfigure": "deconfigure",
}
"""Step -> the reference's word for its failure."""

_ON_STDERR = (Action.ENABLE, Action.DISABLE)
"""Actions of which the reference says on standard error that it could do a part only."""


def runs(numbers: Iterable[int]) -> list[str]:
    """Numbers as the command line takes them: ``0-3`` and ``7``."""
    ends: list[list[int]] = []
    for number in sorted(numbers):
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    return [f"{first}-{last}" if last > first else str(first) for first, last in ends]


def _some(texts: Sequence[str]) -> Sequence[str]:
    """Not more than eight of TEXTS, and dots for the rest."""
    return texts if len(texts) <= 8 else [*texts[:8], "..."]


def compact(numbers: Iterable[int]) -> str:
    """Numbers in a sentence: ``memory block 5``, ``memory blocks 0-3, 7``."""
    shown = ", ".join(_some(runs(numbers)))
    return f"memory block{'' if shown.isdecimal() else 's'} {shown}"


def say(sentence: str) -> None:
    """On standard error, whatever has become of that: no output may stop the work."""
    with contextlib.suppress(OSError):
        complain(NAME, sentence)


class Lines:
    """Standard output, whose failure is kept for the end: no output may stop the work."""

    def __init__(self) -> None:
        self.error: OSError | None = None

    def write(self, line: str) -> None:
        if self.error is None:
            try:
                sys.stdout.write(line + "\n")
            except OSError as error:
                self._failed(error)

    def flush(self) -> None:
        if self.error is None:
            try:
                sys.stdout.flush()
            except OSError as error:
                self._failed(error)

    def _failed(self, error: OSError) -> None:
        self.error = error
        # What could not be written must not be tried again at the end of the process.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115  # open until the process ends


@dataclass(slots=True)
class Report:
    """What has happened so far, told as it happens."""

    machine: Machine
    order: Order
    request: Request
    selection: Selection
    verbose: bool = False
    plain: bool = True
    """Whether standard output holds the reference's lines, and not a document or a script."""
    all_or_nothing: bool = False
    node: int | None = None
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """Block -> its latest outcome, of the blocks that were not simply as asked already."""
    already: int = 0
    changed: int = 0
    """Blocks that were changed as asked, and not taken back."""
    lines: Lines = field(default_factory=Lines)
    messages: list[str] = field(default_factory=list)
    """What was said on standard error."""
    refused: bool = False
    """Whether nothing was begun because all of it could not be had."""
    half_disabled: list[int] = field(default_factory=list)
    """Blocks that were offline already, and are still configured."""
    _promised: int | None = None

    def say(self, sentence: str) -> None:
        self.messages.append(sentence)
        say(sentence)

    def command(self, words: str) -> str:
        """A command line that goes on with the same machine."""
        root = self.machine.tree.root
        return f"chmem {words}" + ("" if root == "/" else f" --sysroot {shlex.quote(root)}")

    @property
    def by_size(self) -> bool:
        return self.selection.enough is not None

    def before(self) -> None:
        """What can be said before anything is done."""
        selection, size = self.selection, self.machine.block_size
        if selection.enough is not None:
            if selection.asked == 0:
                self.say("nothing to do: a size of 0 was asked for")
            elif selection.possible < selection.asked:
                possible = human(selection.possible * size)
                if self.order.action in _ON_STDERR:
                    self._promised = selection.possible
                    self.say(f"Could only {self.order.action.value} {possible} of memory")
                else:
                    asked = human(selection.asked * size)
                    self.say(f"{asked} asked for, but only {possible} can be {self.done_word}")
            text = self.request.text
            if selection.possible < selection.asked and text.startswith("0x"):
                said = human(selection.asked * size)
                self.say(f"{text} was taken for a size, {said}: a range has two ends")
            if selection.asked and not selection.blocks:
                self.say(self._none())
        elif selection.absent:
            first, last, count = selection.absent
            numbers = f"{first}-{last}" if last > first else str(first)
            some = f"{count} of the " if count < last - first + 1 else ""
            self.say(f"{some}memory block{'s' * (last > first)} {numbers} not on this machine")
        if not selection.blocks and selection.enough is None and not selection.absent:
            self.say(f"none of the memory blocks asked for is on node {self.node}")

    def _none(self) -> str:
        """Why a size cannot be made up at all."""
        if self.node is not None and self.node not in self.machine.nodes:
            return f"this machine has no node {self.node}"
        zone = self.order.zone.value if self.order.zone else None
        blocks = "no memory block" + ("" if self.node is None else f" of node {self.node}")
        if self.order.action is Action.ENABLE:
            return f"{blocks} is offline" + (f" that can go to zone {zone}" if zone else "")
        if self.order.action is Action.DISABLE:
            return f"{blocks} is online" + (f" in zone {zone}" if zone else "")
        return f"{blocks} is left that could be {self.done_word}"

    @property
    def done_word(self) -> str:
        return f"{self.order.action.value.removesuffix('e')}ed"

    def _block(self, number: int) -> str:
        size = self.machine.block_size
        start, end = number * size, (number + 1) * size - 1
        return f"Memory Block {number} (0x{start:016x}-0x{end:016x})"

    def tell(self, outcome: Outcome) -> None:
        """What became of a block."""
        if outcome.result is Result.ALREADY:
            self.already += 1
            if self.order.action is Action.DISABLE and outcome.before.configured:
                self.half_disabled.append(outcome.number)
            if self.verbose and self.plain:
                self.lines.write(f"{self._block(outcome.number)} already {self.done_word}")
            return
        known = self.outcomes.get(outcome.number)
        if known is not None and known.result is Result.DONE:
            self.changed -= 1
        self.outcomes[outcome.number] = outcome
        if outcome.result is Result.DONE:
            self.changed += 1
        # With --all-or-nothing it may yet be taken back.
        if not self.all_or_nothing:
            self._tell_lines(outcome)

    def _tell_lines(self, outcome: Outcome) -> None:
        if outcome.result is Result.DONE and not self.verbose:
            return
        block = self._block(outcome.number)
        if self.verbose and self.plain:
            for word in self._words(outcome):
                self.lines.write(f"{block} {word}")
        if outcome.result is Result.TAKEN_BACK:
            self.say(f"{block} taken back")
        if outcome.error:
            self._tell_error(block, outcome.error, outcome.result)
        if outcome.stuck and outcome.stuck is not outcome.error:
            self._tell_error(block, outcome.stuck, outcome.result)

    def _words(self, outcome: Outcome) -> list[str]:
        """What is so now: the reference's words, of which a step that was undone has none."""
        kept = {write.step for write in outcome.writes if write.happened and not write.undoing}
        words = []
        if outcome.result is Result.DONE:
            if self.order.action is Action.ENABLE and "configure" in kept:
                words.append("configured")
            words.append(self.done_word)
            if self.order.action is Action.DISABLE and "deconfigure" in kept:
                words.append("deconfigured")
        elif self.order.action is Action.DISABLE and "offline" in kept and not outcome.undone:
            words.append("disabled")
        return words

    def _tell_error(self, block: str, error: BlockError, result: Result) -> None:
        if error.cause in SKIPPED:
            if not self.plain:
                self.say(f"{block} {reason_of(error)}")
            elif self.verbose or not self.by_size:
                self.lines.write(f"{block} {reason_of(error)}")
            return
        verb = VERBS[error.step]
        if isinstance(error, StuckError):
            verb = f"{verb} (to undo)"
        if self.by_size and not isinstance(error, StuckError) and result is Result.FAILED:
            if self.verbose and self.plain:
                self.lines.write(f"{block} {verb} failed")
        else:
            self.say(f"{block} {verb} failed: {reason_of(error)}")

    def finish(self, signal: int | None) -> int:
        """The last lines, and the exit status."""
        if self.all_or_nothing:
            for outcome in self.outcomes.values():
                self._tell_lines(outcome)
        selection, size = self.selection, self.machine.block_size
        if self.by_size and self.changed < selection.asked and not self.refused:
            sentence = (
                f"Could only {self.order.action.value} {human(self.changed * size)} of memory"
            )
            if self.order.action in _ON_STDERR or not self.plain:
                if self._promised != self.changed:
                    self.say(sentence)
            else:
                self.lines.write(sentence)
        self._advise()
        for outcome in self.outcomes.values():
            if outcome.moved:
                zones = [zone_of(block) for block in (outcome.after, outcome.before)]
                now, was = (zone.value for zone in zones if zone)
                self.say(f"{compact([outcome.number])} came back in zone {now}; it was in {was}")
        if self.half_disabled:
            ways = [
                self.command(f"--deconfigure --blocks {run}") for run in runs(self.half_disabled)
            ]
            self.say(
                f"{compact(self.half_disabled)}: offline, but still configured; go on with "
                + "; ".join(_some(ways))
            )
        if signal is not None:
            done = compact(self.numbers(Result.DONE)) if self.changed else "nothing"
            self.say(f"interrupted; {self.done_word} before that: {done}")
        self.lines.flush()
        return self.status(signal)

    def numbers(self, result: Result) -> list[int]:
        return [n for n, outcome in self.outcomes.items() if outcome.result is result]

    def _advise(self) -> None:
        """A sentence for each cause of failure, with the blocks it hit."""
        advice: dict[str, list[int]] = {}
        for number, outcome in self.outcomes.items():
            for error in (outcome.error, outcome.stuck if outcome.stuck else None):
                if error is None or (error is outcome.stuck and error is outcome.error):
                    continue
                for sentence in self._sentences(outcome, error):
                    advice.setdefault(sentence, []).append(number)
        for outcome in self.outcomes.values():
            if outcome.stuck:
                said = f"{compact([outcome.number])} is left {condition(outcome)}"
                if outcome.before.state is State.ONLINE and outcome.after.state is not State.ONLINE:
                    said += f"; {self._way_back(outcome)} has it back once the cause is gone"
                self.say(said)
        for sentence, numbers in advice.items():
            self.say(f"{compact(numbers)}: {sentence}")

    def _way_back(self, outcome: Outcome) -> str:
        """The command that makes of a block what it was, online."""
        before, words = outcome.before, f"--enable --blocks {outcome.number}"
        if before.memmap_on_memory is not None and not outcome.after.configured:
            words += f" --memmap-on-memory {int(before.memmap_on_memory)}"
        zone = zone_of(before)
        if zone not in (None, Zone.NONE, Zone.UNKNOWN):
            words += f" --zone {zone.value}"
        return self.command(words)

    def _sentences(self, outcome: Outcome, error: BlockError) -> Iterable[str]:
        hint = self.advice_on(error)
        if self.by_size and not isinstance(error, StuckError):
            if error.cause in SKIPPED and self.changed >= self.selection.asked:
                return
            yield f"{reason_of(error)}; {hint}" if hint else reason_of(error)
        elif hint:
            yield hint
        kept = self.order.action is Action.DISABLE and error.step == "deconfigure"
        if kept and not outcome.undone and not outcome.stuck:
            command = self.command(f"--deconfigure --blocks {outcome.number}")
            yield f"it stays offline and configured; go on with {command}"

    def advice_on(self, error: BlockError) -> str:
        return advice_on(error, self.machine.block_size)

    def status(self, signal: int | None) -> int:
        if signal is not None:
            return 128 + signal
        if not self.selection.asked and not self.by_size:
            return FAILURE
        good = self.changed + (0 if self.by_size else self.already)
        if good >= self.selection.asked:
            return SUCCESS
        if self.all_or_nothing:
            return PARTLY if self.still_changed() else FAILURE
        return PARTLY if good else FAILURE

    def still_changed(self) -> list[Outcome]:
        """The blocks that are not what they were before."""
        return [o for o in self.outcomes.values() if differs(o)]


def differs(outcome: Outcome) -> bool:
    if outcome.result is Result.DONE:
        return True
    before, after = outcome.before, outcome.after
    return (before.state, before.configured, before.memmap_on_memory) != (
        after.state,
        after.configured,
        after.memmap_on_memory,
    )


def condition(outcome: Outcome) -> str:
    """What a block is now, in words."""
    after = outcome.after
    words = [after.state.value if after.state else "unknown"]
    if after.configured is not None:
        words.append("configured" if after.configured else "deconfigured")
    if after.memmap_on_memory is not None:
        words.append(f"memmap_on_memory {int(after.memmap_on_memory)}")
    return ", ".join(words)


def script(machine: Machine, writes: Sequence[tuple[str, str]], report: Report) -> list[str]:
    """The lines that an administrator would type, and one comment on what they would change."""
    root = str(Path(machine.tree.root).absolute()).rstrip("/")
    lines = [f"echo {word} > {shlex.quote(f'{root}/{path}')}" for path, word in writes]
    numbers = report.numbers(Result.DONE)
    if not numbers:
        return [*lines, "# nothing would be changed"]
    size = human(len(numbers) * machine.block_size)
    return [*lines, f"# {size} would be {report.done_word}: {compact(numbers)}"]
