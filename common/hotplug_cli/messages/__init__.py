"""Every message of lsmem, chmem and memsim: one table, a module for each part of it.

A row is a `Message`: what is said, what to do about it, and where the manual has it. ``shared``
holds the rows of all commands; ``lsmem``, ``chmem`` and ``memsim`` those of one. A command says
rows and nothing else:

    from hotplug_cli.messages import shared

    raise UsageError(shared.CANNOT_COMBINE.of(option="--raw", other="--json"))
    complain("chmem", chmem.ZONE_IGNORED.of())

``Message.of`` fills in both templates; its keywords are the fields of the row. The result, a
`Sentence`, is what `hotplug_cli.program.complain` prints and what the errors of the commands
(`UsageError`, `CommandError` and those below them) are made of. Text and advice are a line each:

    chmem: cannot write to /sys/devices/system/memory/memory3/state: Permission denied
    chmem: only root can change memory: run this as root

lsmem imports these modules only where it has something to say.
"""

import re
from typing import NamedTuple


class Sentence(NamedTuple):
    """A message with its fields filled in."""

    text: str
    advice: str = ""
    reference: bool = False
    """Whether the text is util-linux's."""

    def __str__(self) -> str:
        return self.text

    @property
    def lines(self) -> tuple[str, ...]:
        """The text and the advice, as far as there are such."""
        return tuple(line for line in (self.text, self.advice) if line)


class Message(NamedTuple):
    """A row of the table. TEXT and ADVICE are templates of str.format."""

    text: str
    """What is so, in a short sentence."""
    advice: str = ""
    """What to do now; a sentence of its own."""
    manual: str = ""
    """The entry below DIAGNOSTICS; without one it is TEXT, with the names of its fields."""
    reference: bool = False
    """Whether the text is util-linux's, to the byte. Its advice is ours nevertheless."""

    def of(self, **fields: object) -> Sentence:
        """The sentence in which FIELDS are filled in."""
        text, advice = self.text.format_map(fields), self.advice.format_map(fields)
        return Sentence(text, advice, self.reference)

    @property
    def entry(self) -> str:
        """The entry of the manual that explains the message."""
        return self.manual or re.sub(r"{(\w+)}", r"\1", self.text)
