"""How a command runs as a process: its messages, its exit status, its end."""

import errno
import io
import os
import signal
import sys
from typing import NoReturn

import click

from hotplug_cli.getopt import GetoptUsageError
from memory_hotplug.errors import MemoryHotplugError, printable

FAILED = 1


def version(name: str) -> str:
    """What --version says, also where the command runs without having been installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        number = installed("memory-hotplug-tools")
    except PackageNotFoundError:
        number = "(not installed)"
    return f"{name} from memory-hotplug-tools {number}"


def complain(name: str, sentence: str) -> None:
    """Say SENTENCE on standard error, where that is open."""
    if sys.stderr is not None:
        print(f"{name}: {printable(sentence)}", file=sys.stderr, flush=True)


def _add_notes(name: str, error: Exception) -> None:
    """What whoever met the error knows besides: a sentence each (PEP 678)."""
    for note in getattr(error, "__notes__", ()):
        complain(name, note)


def run(command: click.Command, name: str) -> NoReturn:
    """Run COMMAND with the process's arguments, and end the process with what it returns.

    Every error a person can cause ends in one sentence and a status that is not 0.
    """
    instruction = os.environ.get(f"_{name.upper()}_COMPLETE")
    if instruction:
        from hotplug_cli import completion

        status = completion.answer(command, name, instruction)
        sys.stdout.flush()
    else:
        status = status_of(command, name)
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
            status = command.invoke(context) or 0
        sys.stdout.flush()
        return int(status)
    except click.exceptions.Exit as answered:
        return answered.exit_code
    except click.UsageError as error:
        complain(name, error.format_message())
        if isinstance(error, GetoptUsageError) and sys.stderr is not None:
            print(f"Try '{name} --help' for more information.", file=sys.stderr)
        _add_notes(name, error)
        return FAILED
    except MemoryHotplugError as error:
        complain(name, str(error))
        _add_notes(name, error)
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else "write error: "
        complain(name, where + (error.strerror or str(error)))
        return FAILED
