"""What is said after a signal: what was done before it, and how to go on."""

from __future__ import annotations

from collections.abc import Mapping

from chmem_py import messages
from chmem_py.advice import done_word
from chmem_py.command_lines import command, kept
from hotplug_cli import sizes
from hotplug_cli.block_names import named, worded
from hotplug_cli.message import Sentence
from memory_hotplug.change.outcome import Result
from memory_hotplug.change.plan import Action
from memory_hotplug.request.tally import Tally
from memory_hotplug.trees.files import Tree


def format_interruption(tally: Tally, *, rehearsed: bool = False, going_on: str = "") -> Sentence:
    """The message after a signal: what was done before it; in a rehearsal, nothing. GOING_ON is
    the advice on what was done."""
    action, done = tally.selection.request.action, tally.numbers(Result.DONE)
    if rehearsed:
        done = []
    elif action is Action.APPLY:
        # What was changed once may have been interrupted when a layout changed it once more.
        done = [*tally.changed]
    blocks = named(done) if done else worded("nothing", [])
    return messages.INTERRUPTED.of(
        done=done_word(action),
        blocks=blocks,
        advice=going_on if done else "",
    )


def going_on(tally: Tally, tree: Tree, said: Mapping[str, str]) -> str:
    """What to type after a signal, with the options SAID: what does the rest, and what takes back
    what was done."""
    selection, undo = tally.selection, command("--undo", tree)
    if selection.undoes:
        return f"{undo} goes on with the rest"
    rest = "the same command"
    if selection.by_size and "total" not in said:
        # The same SIZE would be so much more.
        left = sizes.exact((selection.asked - tally.done) * selection.block_size)
        action = selection.request.action.value
        rest = command(f"--{action} {left}{kept(said, action)}", tree)
    return f"{rest} goes on with the rest; {undo} takes back what was done"
