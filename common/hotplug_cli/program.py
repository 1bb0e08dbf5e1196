"""How a command runs as a process: its messages, its exit status, its end."""

import os
import signal
import sys
from typing import NoReturn

import click

from hotplug_cli.getopt import GetoptUsageError
from memory_hotplug.errors import MemoryHotplugError, printable

FAILED = 1


def version(name: str) -> str:
    from importlib.metadata import version as installed

    return f"{name} from memory-hotplug-tools {installed('memory-hotplug-tools')}"


def complain(name: str, sentence: str) -> None:
    """Say SENTENCE on standard error, where that is open."""
    if sys.stderr is not None:
        print(f"{name}: {printable(sentence)}", file=sys.stderr, flush=True)


def run(command: click.Command, name: str) -> NoReturn:
    """Run COMMAND with the process's arguments, and end the process with what it returns.

    Every error a person can cause ends in one sentence and a status that is not 0.
    """
    status = _status(command, name)
    # What could not be written would be tried once more, and complained about, at exit.
    if status and sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(status)


def _status(command: click.Command, name: str) -> int:
    try:
        status = command.main(prog_name=name, standalone_mode=False) or 0
        if sys.stdout is None:
            complain(name, "write error: standard output is closed")
            return FAILED
        sys.stdout.flush()
        return int(status)
    except click.UsageError as error:
        complain(name, error.message)
        if isinstance(error, GetoptUsageError) and sys.stderr is not None:
            print(f"Try '{name} --help' for more information.", file=sys.stderr)
        return FAILED
    except MemoryHotplugError as error:
        complain(name, str(error))
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else "write error: "
        complain(name, where + (error.strerror or str(error)))
        return FAILED
