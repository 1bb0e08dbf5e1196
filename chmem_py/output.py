"""Standard output and standard error: no failure of theirs stops the work."""

import contextlib
import sys
from collections.abc import Iterable

from hotplug_cli.messages import Sentence, shared
from hotplug_cli.program import complain

NAME = "chmem"


class Output:
    """What is written, line by line, and what was said on standard error."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        """All that was said on standard error, for a document."""
        self._lost: OSError | None = None

    def write(self, lines: Iterable[str | Sentence]) -> None:
        """Write text to standard output, and sentences to standard error."""
        for line in lines:
            if isinstance(line, Sentence):
                self.say(line)
            else:
                self._write(line)

    def say(self, sentence: Sentence) -> None:
        """Write a sentence to standard error, whatever has become of that."""
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
        # What could not be written must not be tried again at the end of the process.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115  # open until the process ends

    def flush(self) -> bool:
        """Whether all of standard output is written, or nobody wanted to read on; says why not."""
        if self._lost is None:
            try:
                sys.stdout.flush()
            except OSError as error:
                self._lose(error)
        if self._lost is None or isinstance(self._lost, BrokenPipeError):
            return True
        self.say(shared.WRITE_ERROR.of(reason=self._lost.strerror))
        return False
