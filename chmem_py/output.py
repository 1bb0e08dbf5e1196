"""Write to standard output and standard error; a failure to write does not stop the work."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable

from hotplug_cli import messages as shared
from hotplug_cli.exits import Exit
from hotplug_cli.message import Sentence
from hotplug_cli.program import complain
from memory_hotplug.change.outcome import Outcome
from memory_hotplug.named_tuple import NamedTuple

NAME = "chmem"


class FileChange(NamedTuple):
    """A file of the layout, or of what applies it, that was written or removed."""

    path: str
    """Below the root, without a slash at the beginning."""
    removed: bool = False
    rehearsed: bool = False
    """Whether a run would do so, and nothing was done."""

    def __str__(self) -> str:
        if self.rehearsed:
            return f"# would {'remove' if self.removed else 'write'} /{self.path}"
        return f"{'removed' if self.removed else 'wrote'} /{self.path}"


class Output:
    """Writes lines and messages, and keeps the messages.

    With ADVICE every message is written with its advice. Without it standard error has util-linux's
    texts, and the few that are always written; of the others the first one is written at the end,
    if the work failed and nothing else was written.
    """

    def __init__(self) -> None:
        self.advice = True
        self.own = False
        """Whether an option is given that util-linux does not have, so that it has no texts."""
        self.messages: list[Sentence] = []
        """All messages with their advice, for the document."""
        self.document = False
        """Whether standard output has a document and nothing else."""
        self.files: list[FileChange] = []
        """The files that were written or removed, for the document."""
        self.restored: list[Outcome] = []
        """The block that a killed process had left half done, once it was restored or could not be;
        for the document."""
        self._spoken = False
        self._held = ""
        self._lost: OSError | None = None

    def write(self, lines: Iterable[str | Sentence]) -> None:
        """Write texts to standard output and sentences to standard error."""
        for line in lines:
            if isinstance(line, Sentence):
                self.say(line)
            else:
                self._write(line)

    def say(self, sentence: Sentence) -> None:
        """Write a sentence to standard error; ignore a failure."""
        self.messages.extend([sentence] if sentence.lines else [])
        if self.advice:
            self._complain(sentence)
        elif self.own or sentence.reference or sentence.always:
            self._complain(sentence._replace(advice=""))
        else:
            self._held = self._held or sentence.text

    def note(self, sentences: Iterable[Sentence]) -> None:
        """Write sentences where advice is written, and nowhere else; the document has them."""
        for sentence in sentences:
            self.messages.append(sentence)
            if self.advice:
                self._complain(sentence)

    def tell(self, change: FileChange, line: str | None = None) -> None:
        """Write what was done to a file; as LINE, if that is given."""
        self.files.append(change)
        if not self.document:
            self._write(line or str(change))

    def finish(self, status: int) -> int:
        """The exit status, after all is written; STATUS unless standard output failed."""
        if status and self._held and not self._spoken:
            self._complain(Sentence(self._held))
        if self._lost is None:
            try:
                sys.stdout.flush()
            except OSError as error:
                self._lose(error)
        # That its reader has gone is not an error.
        if self._lost is None or isinstance(self._lost, BrokenPipeError):
            return status
        self.say(shared.WRITE_ERROR.of(reason=self._lost.strerror))
        return status or Exit.FAILURE

    def _complain(self, sentence: Sentence) -> None:
        if sentence.lines:
            self._spoken = True
            with contextlib.suppress(OSError):
                complain(NAME, sentence)

    def _write(self, line: str) -> None:
        self._spoken = True
        if self._lost is None:
            try:
                sys.stdout.write(f"{line}\n")
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        self._lost = error
        # Python must not try to write the rest again when the process ends.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115  # open until the process ends
