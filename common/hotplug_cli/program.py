"""How a command runs as a process: its messages, its exit status, its end."""

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

import click

from hotplug_cli.exits import Exit, by_signal
from hotplug_cli.getopt import GetoptUsageError, UsageError
from memory_hotplug.errors import MemoryHotplugError, printable

if TYPE_CHECKING:
    from hotplug_cli.messages import Sentence


class CommandError(MemoryHotplugError):
    """What keeps a command from its work, in sentences of the table of messages."""

    def __init__(self, *sentences: "Sentence") -> None:
        """The first sentence says what is wrong; the others may help."""
        super().__init__(sentences[0].text)
        self.sentences = sentences


def version(name: str) -> str:
    """What --version says, also where the command runs without having been installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        number = installed("memory-hotplug-tools")
    except PackageNotFoundError:
        number = "(not installed)"
    return f"{name} from memory-hotplug-tools {number}"


def complain(name: str, sentence: "Sentence | str") -> None:
    """Write the lines of SENTENCE to standard error, where that is open."""
    if sys.stderr is not None:
        for line in (sentence,) if isinstance(sentence, str) else sentence.lines:
            print(f"{name}: {printable(line)}", file=sys.stderr, flush=True)


def complain_of(
    name: str, error: Exception, say: "Callable[[Sentence], None] | None" = None
) -> None:
    """Write what an error has to say, in the order in which the reference would.

    SAY writes one sentence; without it, `complain` does. With MEMORY_HOTPLUG_DEBUG=1 in the
    environment the error itself is raised again.
    """
    if os.environ.get("MEMORY_HOTPLUG_DEBUG") == "1":
        raise error
    say = say or (lambda sentence: complain(name, sentence))
    sentences = list(sentences_of(error))
    if isinstance(error, GetoptUsageError):
        from hotplug_cli.messages import Sentence

        (said,) = sentences
        say(said._replace(advice=""))
        if sys.stderr is not None:
            print(f"Try '{name} --help' for more information.", file=sys.stderr, flush=True)
        sentences = [Sentence("", said.advice)]
    for sentence in sentences:
        say(sentence)


def sentences_of(error: Exception) -> "Iterator[Sentence]":
    """The sentences on an error that a person can cause."""
    from hotplug_cli.messages import Sentence, shared

    if isinstance(error, UsageError):
        yield error.sentence
    elif isinstance(error, CommandError):
        yield from error.sentences
    elif isinstance(error, click.UsageError):
        yield Sentence(error.format_message())
    elif isinstance(error, OSError):
        reason = error.strerror or str(error)
        if error.filename:
            yield shared.FILE_ERROR.of(file=error.filename, reason=reason)
        else:
            yield shared.WRITE_ERROR.of(reason=reason)
    else:
        yield Sentence(str(error))
        # What whoever met the error knows besides: a sentence each (PEP 678).
        yield from map(Sentence, getattr(error, "__notes__", ()))


def run(command: click.Command, name: str) -> NoReturn:
    """Run COMMAND with the process's arguments, and end the process with what it returns.

    Every error a person can cause ends in one sentence and a status that is not 0; with
    MEMORY_HOTPLUG_DEBUG=1 in the environment it ends in Python's traceback.
    """
    instruction = os.environ.get(f"_{name.upper()}_COMPLETE")
    if instruction:
        from hotplug_cli import completion

        status = completion.answer(command, name, instruction)
        sys.stdout.flush()
    else:
        try:
            # The launcher of the installed commands lets Ctrl-C end the process until here.
            ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            if not ignored:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            status = status_of(command, name)
            if not ignored:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
        except KeyboardInterrupt:
            status = by_signal(signal.SIGINT)
    # Everything is written, or has failed to be. To tear the interpreter down takes as long as a
    # fifth of a small machine's lsmem, and would try a failed write once more.
    os._exit(status)


class _Closed(io.TextIOBase):
    """Standard output that was closed before the process began."""

    def write(self, text: str) -> NoReturn:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def status_of(command: click.Command, name: str) -> int:
    """Run COMMAND with the process's arguments; what it returns, or the status of its error."""
    if sys.stdout is None:
        sys.stdout = _Closed()
    context: click.Context | None = None
    try:
        # Not through main(), which would end a closed pipe in status 1.
        context = command.make_context(name, sys.argv[1:])
        with context:
            status = command.invoke(context) or Exit.SUCCESS
        sys.stdout.flush()
        return int(status)
    except click.exceptions.Exit as answered:
        return answered.exit_code
    except (KeyboardInterrupt, click.Abort):
        return by_signal(signal.SIGINT)
    except BrokenPipeError:
        return by_signal(signal.SIGPIPE)
    except (click.UsageError, MemoryHotplugError, OSError) as error:
        # A command may have more to do then than to say it.
        write = getattr(command, "write_error", None)
        if write:
            write(error, context or getattr(error, "ctx", None))
        else:
            complain_of(name, error)
        return Exit.FAILURE
