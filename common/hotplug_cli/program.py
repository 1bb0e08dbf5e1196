"""How a command runs as a process: its messages, its exit status, its end."""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import click

from hotplug_cli.exits import Exit, by_signal
from hotplug_cli.getopt import BadUsageError, GetoptUsageError, UsageError
from memory_hotplug.errors import MemoryHotplugError, printable

if TYPE_CHECKING:
    from hotplug_cli.messages import Sentence


class CommandError(MemoryHotplugError):
    """What keeps a command from its work, as a sentence of the table of messages."""

    def __init__(self, sentence: "Sentence") -> None:
        super().__init__(sentence.text)
        self.sentence = sentence


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


def complain_of(name: str, error: Exception) -> None:
    """Write what an error has to say, as the reference would in its place.

    With MEMORY_HOTPLUG_DEBUG=1 in the environment the error itself is raised again.
    """
    if os.environ.get("MEMORY_HOTPLUG_DEBUG") == "1":
        raise error
    for sentence in _sentences(error):
        complain(name, sentence)
    if isinstance(error, GetoptUsageError) and sys.stderr is not None:
        print(f"Try '{name} --help' for more information.", file=sys.stderr)
    if isinstance(error, BadUsageError) and error.why:
        complain(name, error.why)
    # What whoever met the error knows besides: a sentence each (PEP 678).
    for note in getattr(error, "__notes__", ()):
        complain(name, note)


def _sentences(error: Exception) -> "Iterator[Sentence | str]":
    if isinstance(error, UsageError | CommandError):
        yield error.sentence
    elif isinstance(error, click.UsageError):
        yield error.format_message()
    elif isinstance(error, OSError):
        from hotplug_cli.messages import shared

        reason = error.strerror or str(error)
        if error.filename:
            yield shared.FILE_ERROR.of(file=error.filename, reason=reason)
        else:
            yield shared.WRITE_ERROR.of(reason=reason)
    else:
        yield str(error)


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
    try:
        # Not through main(), which would end a closed pipe in status 1.
        with command.make_context(name, sys.argv[1:]) as context:
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
        complain_of(name, error)
        return Exit.FAILURE
