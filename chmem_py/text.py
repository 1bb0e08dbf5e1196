"""util-linux's lines for standard output and standard error, and the script of a dry run.

Nothing is written here. A text is for standard output, a Sentence for standard error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from chmem_py import messages
from hotplug_cli import sizes
from hotplug_cli.message import Message, Sentence, Wording
from memory_hotplug.change.guard import ZoneBalance, ratio_of
from memory_hotplug.change.outcome import Outcome, Result
from memory_hotplug.change.plan import Action
from memory_hotplug.errors import BlockError, StuckError
from memory_hotplug.face import Machine
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.request.tally import Tally, came_online
from memory_hotplug.trees import is_simulated
from memory_hotplug.trees.files import Tree

_STEPS = {"online": "enable", "offline": "disable"}
"""Step -> util-linux's word for it in a message of failure, where that is another."""

_DONE = {
    "configure": "configured",
    "online": "enabled",
    "offline": "disabled",
    "deconfigure": "deconfigured",
}
"""Step -> the word for it once it is done."""

_ON_STDERR = (Action.ENABLE, Action.DISABLE)
"""Actions for which util-linux writes "Could only ..." to standard error."""


_OF_UTIL_LINUX = (*_ON_STDERR, Action.CONFIGURE, Action.DECONFIGURE)
"""Actions for which util-linux has a line for each block that failed."""


_ALWAYS_TOLD = "memmap-on-memory"
"""The step whose failure util-linux tells on standard error, also for a size."""


class Waiting(NamedTuple):
    """A message about blocks that are side by side, as far as they are known."""

    row: Message
    fields: Mapping[str, str]
    numbers: list[int]


class Text:
    """The lines about the outcomes that TALLY counts."""

    def __init__(
        self,
        tally: Tally,
        *,
        verbose: bool,
        plain: bool,
        rehearsed: bool,
        persistent: bool,
        advised: bool,
        said: Mapping[str, str],
    ) -> None:
        self.tally = tally
        self.verbose = verbose
        self.plain = plain
        """Whether standard output has util-linux's lines, and not a document or a script."""
        self.rehearsed = rehearsed
        """Whether the outcomes are those of a dry run."""
        self.persistent = persistent
        """Whether something may be written to the layout afterwards."""
        self.advised = advised
        """Whether advice is written at all, so that work for it is not in vain."""
        self.said = said
        """The options as they were given, for commands that are advised."""
        self._waiting: list[Waiting] = []
        """What is said about the latest block, if it may be said about the next one, too."""
        self._told: dict[int, int] = {}
        """Block -> how many of its writes the lines so far are about."""
        self._later: dict[int, Outcome] = {}
        """Block -> its latest outcome, of those that are told at the end."""

    def format_outcome(self, outcome: Outcome) -> Iterator[str | Sentence]:
        """The lines to write as soon as a block has its outcome. They wait for the end where lower
        blocks that come later are told first, and where a change may yet be taken back."""
        if self.tally.selection.descends or self.tally.all_or_nothing:
            self._later[outcome.number] = outcome
        else:
            yield from self._format_outcome(outcome)

    def _format_outcome(self, outcome: Outcome) -> Iterator[str | Sentence]:
        if outcome.result is Result.ALREADY:
            if self.verbose and self.plain:
                yield from self._said()
                yield f"{self._block(outcome.number)} already {self._already}"
        elif outcome.result is not Result.NOT_TRIED:
            # Blocks that were not tried are named together, at the end.
            yield from self._format_changes(outcome)

    def format_end(self, machine: Machine, signal: int | None) -> Iterator[str | Sentence]:
        """The lines to write at the end."""
        tally = self.tally
        later = sorted(self._later) if tally.selection.descends else [*self._later]
        for number in later:
            yield from self._format_outcome(self._later[number])
        yield from self._said()
        yield from self._format_total()
        crowded = None
        if self.advised and not self.rehearsed:
            crowded = tally.crowded(ratio_of(machine))
        if signal is not None or crowded or not self._is_as_asked(machine):
            yield from self._format_more(machine, signal, crowded)

    def _is_as_asked(self, machine: Machine) -> bool:
        """Whether each block is as requested, and nothing is to be said of it, so that the modules
        with the messages are not needed: a plain change must start fast."""
        tally, selection = self.tally, self.tally.selection
        if selection.by_size and (not selection.asked or selection.request.text.isdecimal()):
            # Something else may be meant.
            return False
        return (
            tally.complete
            and tally.done == len(tally.outcomes)
            and selection.request.action in _ON_STDERR
            and not tally.not_tried
            and not tally.emptied
            and not tally.elsewhere
            and not machine.configurable
        )

    def _format_more(
        self, machine: Machine, signal: int | None, crowded: ZoneBalance | None
    ) -> Iterator[str | Sentence]:
        """The messages about the work as a whole."""
        from chmem_py import advice

        tally = self.tally
        yield from advice.format_not_tried(tally, machine)
        for setting, error in tally.settings_failed:
            yield messages.SETTING_FAILED.of(
                name=setting.name, word=setting.word, reason=error.strerror or error
            )
        if self.plain and tally.selection.request.action is Action.APPLY and signal is None:
            yield from self._format_layout()
        if any(setting.key == "online_policy" for setting in tally.settings):
            yield messages.POLICY_CHANGED.of()
        yield from advice.format_shortage(tally.selection)
        yield from advice.format_not_added(tally.selection, machine)
        yield from advice.format_advice(tally, machine, self.said)
        if not self.rehearsed:
            yield from advice.format_devices(tally)
        if crowded:
            yield advice.format_crowded(crowded, tally, machine)
        if self.plain:
            yield from advice.format_mib(tally)
        if signal is not None:
            from chmem_py.after_signal import format_interruption, going_on

            further = going_on(tally, machine.tree, self.said)
            yield format_interruption(tally, rehearsed=self.rehearsed, going_on=further)

    def _format_total(self) -> Iterator[str | Sentence]:
        tally, selection = self.tally, self.tally.selection
        if not selection.by_size or tally.done >= selection.asked or tally.too_few:
            return
        action = selection.request.action
        sentence = messages.COULD_ONLY.of(action=action.value, size=sizes.human(tally.bytes_done))
        yield sentence.text if self.plain and action not in _ON_STDERR else sentence
        if sizes.human(tally.bytes_done) != sizes.exact(tally.bytes_done):
            yield messages.EXACTLY.of(size=sizes.exact(tally.bytes_done))

    def _format_layout(self) -> Iterator[str]:
        """What a layout has changed, or that there was nothing to change."""
        from hotplug_cli.block_names import named

        tally, selection = self.tally, self.tally.selection
        yield from (f"{setting.name} set to {setting.word}" for setting in tally.settings)
        if tally.changed:
            size = sizes.exact(len(tally.changed) * selection.block_size)
            yield f"{size} changed: {named(tally.changed)}"
        elif selection.settings or (
            selection.undoes and selection.undoes.record.layout is not None
        ):
            return
        elif tally.already == len(selection.changes) and not self.persistent:
            yield "nothing to change"

    @property
    def _already(self) -> str:
        return "as wanted" if self.tally.selection.request.action is Action.APPLY else self._done

    @property
    def _done(self) -> str:
        from chmem_py.advice import done_word

        return done_word(self.tally.selection.request.action)

    def _block(self, *numbers: int) -> Wording:
        """The name of a block, or of several that are side by side."""
        from hotplug_cli.block_names import worded

        size, first, last = self.tally.selection.block_size, min(numbers), max(numbers)
        name = f"Memory Block {first}" if first == last else f"Memory Blocks {first}-{last}"
        addresses = f"0x{first * size:016x}-0x{(last + 1) * size - 1:016x}"
        return worded(f"{name} ({addresses})", [(first, last)])

    def _say(self, number: int, row: Message, **fields: str) -> Iterator[Sentence]:
        """What is said about a block. Where util-linux has no line for each block, it waits for
        the blocks beside it."""
        if self._waiting:
            waiting = self._waiting[0]
            if (row, fields) == waiting[:2] and abs(number - waiting.numbers[-1]) == 1:
                waiting.numbers.append(number)
                return
        yield from self._said()
        self._waiting.append(Waiting(row, fields, [number]))
        if row.reference and self.tally.selection.request.action in _OF_UTIL_LINUX:
            yield from self._said()

    def _said(self) -> Iterator[Sentence]:
        """What has waited until now."""
        while self._waiting:
            row, fields, numbers = self._waiting.pop()
            yield row.of(blocks=self._block(*numbers), **fields)

    def _format_changes(self, outcome: Outcome) -> Iterator[str | Sentence]:
        if outcome.result is Result.DONE and not self.verbose:
            return
        if self.verbose and self.plain:
            for word in self._words(outcome):
                yield from self._said()
                yield f"{self._block(outcome.number)} {word}"
        if outcome.result is Result.TAKEN_BACK:
            yield from self._say(outcome.number, messages.TAKEN_BACK)
        if outcome.error:
            yield from self._format_error(outcome, outcome.error)
        if outcome.stuck and outcome.stuck is not outcome.error:
            yield from self._format_error(outcome, outcome.stuck)

    def _words(self, outcome: Outcome) -> list[str]:
        """util-linux's words for the steps that were done; a step that was undone has none."""
        action = self.tally.selection.request.action
        kept = {write.step for write in outcome.writes if write.happened and not write.undoing}
        words = []
        if action is Action.APPLY:
            if outcome.result is Result.DONE:
                told = self._told.get(outcome.number, 0)
                self._told[outcome.number] = len(outcome.writes)
                new = outcome.writes[told:]
                words = [_DONE[write.step] for write in new if write.step in _DONE]
            return words
        if outcome.result is Result.DONE:
            if action is Action.ENABLE and "configure" in kept:
                words.append("configured")
            online = action is Action.ENABLE and came_online(outcome)
            words.append(f"already {self._done}" if online else self._done)
            if action is Action.DISABLE and "deconfigure" in kept:
                words.append("deconfigured")
        elif action is Action.DISABLE and "offline" in kept and not outcome.undone:
            words.append("disabled")
        return words

    def _format_error(self, outcome: Outcome, error: BlockError) -> Iterator[str | Sentence]:
        from chmem_py.advice import PASSED_OVER, words_of

        by_size, block = self.tally.selection.by_size, self._block(outcome.number)
        reason = words_of(error, self.tally).reason
        if error.cause in PASSED_OVER:
            sentence = messages.PASSED_OVER.of(blocks=block, reason=reason)
            if not self.plain:
                yield sentence
            elif self.verbose or not by_size:
                yield sentence.text
            return
        step = _STEPS.get(error.step, error.step)
        if isinstance(error, StuckError):
            yield from self._say(outcome.number, messages.UNDOING_FAILED, step=step, reason=reason)
        elif not by_size or outcome.result is not Result.FAILED or error.step == _ALWAYS_TOLD:
            yield from self._say(outcome.number, messages.STEP_FAILED, step=step, reason=reason)
        elif self.verbose and self.plain:
            yield f"{block} {step} failed"


def format_script(
    writes: Sequence[tuple[str, str]], forecast: Iterable[Sentence], tree: Tree
) -> Iterator[str]:
    """The lines that an administrator would type, with the FORECAST as comments."""
    from chmem_py.command_lines import quoted

    root = os.path.abspath(tree.root).rstrip("/")
    simulated = not tree.is_this_machine and is_simulated(tree.root)
    if writes:
        yield "set -e  # stop at the first line that fails"
    for path, word in writes:
        if simulated:
            yield f"memsim write {quoted(root)} {path} {word}"
        else:
            yield f"echo {word} > {quoted(f'{root}/{path}')}"
    yield from (f"# {sentence}" for sentence in forecast)
