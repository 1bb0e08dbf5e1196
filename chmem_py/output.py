"""Write to standard output and standard error; a failure to write does not stop the work."""

import contextlib
import sys
from collections.abc import Iterable

from hotplug_cli.messages import Sentence, shared
from hotplug_cli.program import complain

NAME = "chmem"


class Output:
    """Writes lines and messages, and keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        """All messages written to standard error, for the document."""
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
        self.messages.extend(sentence.lines)
        with contextlib.suppress(OSError):
            complain(NAME, sentence)

    def _write(self, line: str) -> None:
        if self._lost is None:
            try:
                sys.stdout.write(f"{line}\n")
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        self._lost = error
        # Python must not try to write the rest again when the process ends.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115  # open until the process ends

    def flush(self) -> bool:
        """Whether standard output was written, or its reader has gone. Else writes a message."""
        if self._lost is None:
            try:
                sys.stdout.flush()
            except OSError as error:
                self._lose(error)
        if self._lost is None or isinstance(self._lost, BrokenPipeError):
            return True
        self.say(shared.WRITE_ERROR.of(reason=self._lost.strerror))
        return False
