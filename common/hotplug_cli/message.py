"""A message of lsmem, chmem and memsim: its text, its advice, and its entry in the manual.

All messages are rows of tables. `messages`, in each command's package, has those of this command;
beside this module, `messages` has those of all commands, and `tree_messages` those of lsmem and
chmem about a tree. Commands print rows of these tables only:

    from hotplug_cli import messages

    raise UsageError(messages.CANNOT_COMBINE.of(option="--raw", other="--json"))
    complain("chmem", messages.ZONE_IGNORED.of())

``Message.of`` fills in both templates; its keywords are the fields of the row. The result, a
`Sentence`, is what `hotplug_cli.program.complain` prints and what the errors of the commands
(`UsageError`, `CommandError` and those below them) are made of. Text and advice are a line each:

    chmem: cannot write to /sys/devices/system/memory/memory3/state: Permission denied
    chmem: only root can change memory: run this as root

lsmem imports these tables only when it has a message to print.

In JSON a message has the name of its row as its code, and the values of its fields. A field that is
words for a value is a `Wording`, which knows both.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from memory_hotplug.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Wording(str):
    """What a sentence says for a value, as ``128M`` does for a number of bytes."""

    value: object
    """The value, as JSON has it."""

    def __new__(cls, text: str, value: object) -> Self:
        wording = super().__new__(cls, text)
        wording.value = value
        return wording


class Sentence(NamedTuple):
    """A message with its fields filled in."""

    text: str
    advice: str = ""
    reference: bool = False
    """Whether the text is util-linux's."""
    always: bool = False
    """Whether chmem writes the text even where it writes no advice."""
    row: Message | None = None
    """The row of the table; None for an error that has none."""
    fields: Mapping[str, object] = MappingProxyType({})
    """What the fields of the row are filled with."""

    def __str__(self) -> str:
        return self.text

    @property
    def lines(self) -> tuple[str, ...]:
        """The text and the advice, as far as there are such."""
        return tuple(line for line in (self.text, self.advice) if line)

    def advising(self, other: Sentence) -> Sentence:
        """This text with the advice of another sentence."""
        return self._replace(advice=other.advice)


class Message(NamedTuple):
    """A row of the table. TEXT and ADVICE are templates of str.format."""

    text: str
    """What is wrong, in a short sentence."""
    advice: str = ""
    """What to do now; a sentence of its own."""
    manual: str = ""
    """The entry in DIAGNOSTICS of the manual. The default is TEXT with the names of its fields."""
    reference: bool = False
    """Whether the text is util-linux's, to the byte. The advice is always ours."""
    always: bool = False
    """Whether chmem writes the text even where it writes no advice: what util-linux never meets,
    and what nobody may miss."""

    def of(self, **fields: object) -> Sentence:
        """The sentence with FIELDS filled in."""
        shown = fields if self.reference else _quoting_nothing(self.text, fields)
        text = self.text.format_map(shown)
        advice = self.advice.format_map(_quoting_nothing(self.advice, fields))
        return Sentence(text, advice, self.reference, self.always, self, fields)

    @property
    def entry(self) -> str:
        """The entry of the manual that explains the message."""
        return self.manual or self.text.replace("{", "").replace("}", "")


def _quoting_nothing(template: str, fields: Mapping[str, object]) -> Mapping[str, object]:
    """FIELDS with quotes for an empty text, where TEMPLATE has it as a word of a sentence."""
    if "" not in fields.values():
        return fields
    import re

    word = re.compile(r"(?:^|(?<=[ (])){(\w+)}(?=[ ,:;)]|$)")
    if word.fullmatch(template):
        return fields
    words = set(word.findall(template))
    return {
        name: "''" if value == "" and name in words else value for name, value in fields.items()
    }
