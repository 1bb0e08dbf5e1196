"""Run a command as a process: write its messages, end with its exit status."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from hotplug_cli.exits import Exit, by_signal
from hotplug_cli.getopt import HELP, Command, GetoptUsageError, Line, UsageError
from memory_hotplug.errors import MemoryHotplugError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signal
    from typing import BinaryIO, NoReturn

    import click

    from hotplug_cli.message import Sentence
else:
    # The module signal makes enumerations of its numbers, which takes long.
    import _signal as signal


class CommandError(MemoryHotplugError):
    """An error that ends a command, with sentences of the table of messages."""

    def __init__(self, *sentences: Sentence) -> None:
        """The first sentence says what is wrong; the others are advice."""
        super().__init__(sentences[0].text)
        self.sentences = sentences


def standard_input() -> BinaryIO:
    """Raises OSError if it is closed: its descriptor can then be that of another file. The launcher
    closes a directory."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "standard input is closed or a directory", "-")
    return sys.stdin.buffer


def version(name: str) -> str:
    """The text of --version; the command may run without being installed."""
    from memory_hotplug import __version__

    return f"{name} from memory-hotplug-tools {__version__}"


ADVICE = ("auto", "always", "never")
"""The arguments of --advice. With auto, a terminal shows advice and nothing else does."""


def wants_advice(given: Sequence[str], variable: str) -> bool:
    """Whether to write advice, by the options GIVEN and a VARIABLE of the environment: what to do
    about a failure, besides what util-linux says.

    GIVEN has the options up to an error, as ``--name=VALUE``. The last --advice counts; an argument
    that is not in ADVICE is ignored.
    """
    options = (word.partition("=")[2] for word in given if word.startswith("--advice="))
    words = [os.environ.get(variable), *options]
    when = next((word for word in reversed(words) if word in ADVICE), "auto")
    if when != "auto":
        return when == "always"
    return sys.stderr is not None and sys.stderr.isatty()


def complain(name: str, sentence: Sentence | str) -> None:
    """Write the lines of SENTENCE to standard error, if that is open."""
    if sys.stderr is not None:
        for line in (sentence,) if isinstance(sentence, str) else sentence.lines:
            # In one piece, so that a progress bar cannot come in between.
            sys.stderr.write(f"{name}: {printable(line)}\n")
            sys.stderr.flush()


def complain_of(name: str, error: Exception, say: Callable[[Sentence], None] | None = None) -> None:
    """Write the messages of an error, in util-linux's order.

    SAY writes one sentence; the default is `complain`. With MEMORY_HOTPLUG_DEBUG=1 in the
    environment the error itself is raised again.
    """
    if os.environ.get("MEMORY_HOTPLUG_DEBUG") == "1":
        raise error
    say = say or (lambda sentence: complain(name, sentence))
    sentences = list(sentences_of(error))
    if isinstance(error, GetoptUsageError):
        (said,) = sentences
        say(said._replace(advice=""))
        if sys.stderr is not None:
            print(f"Try '{name} --help' for more information.", file=sys.stderr, flush=True)
        sentences = [said._replace(text="")]
    for sentence in sentences:
        say(sentence)


def sentences_of(error: Exception) -> Iterator[Sentence]:
    """The sentences about an error that a user can cause."""
    from hotplug_cli import messages
    from hotplug_cli.message import Sentence

    if isinstance(error, UsageError):
        yield error.sentence
    elif isinstance(error, CommandError):
        first, *advice = error.sentences
        yield first
        # Whatever the entry of their own row is, they are advice on this one.
        yield from (one._replace(row=first.row) for one in advice)
    elif isinstance(error, OSError):
        reason = error.strerror or str(error)
        if error.filename is not None:
            yield messages.FILE_ERROR.of(file=error.filename, reason=reason)
        else:
            yield messages.WRITE_ERROR.of(reason=reason)
    else:
        from hotplug_cli.tree_errors import sentence_of

        yield sentence_of(error) if isinstance(error, MemoryHotplugError) else Sentence(str(error))
        # Notes that were added to the error on its way (PEP 678): a sentence each.
        yield from map(Sentence, getattr(error, "__notes__", ()))


def run(command: Command | click.Command, name: str) -> NoReturn:
    """Run COMMAND with the arguments of the process, and end the process with its status.

    Every error that a user can cause ends in a message and a status that is not 0. With
    MEMORY_HOTPLUG_DEBUG=1 in the environment it ends in a traceback.
    """
    _refuse_catalogues()
    _speak()
    instruction = os.environ.get(f"_{name.upper()}_COMPLETE")
    if instruction:
        from hotplug_cli import click_command, completion

        try:
            status = completion.answer(click_command.command_of(command), name, instruction)
            sys.stdout.flush()
        except OSError:
            # The shell has gone, so no message can be read.
            status = Exit.FAILURE
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
    # All output is written, or failed. Finalizing the interpreter takes a fifth of the time of
    # lsmem on a small machine, and would try a failed write again.
    os._exit(status)


def _refuse_catalogues() -> None:
    """Let no variable name a directory in which gettext would look for translations.

    click asks gettext for its few words of --help. With LANGUAGE=/home/eve in an environment that
    sudo has kept, root would read a file that eve has written.
    """
    for variable in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if "/" in os.environ.get(variable, ""):
            del os.environ[variable]


def _speak() -> None:
    """Have the C library tell the reasons for errors in the language of messages, as util-linux
    does. Our own sentences are in English."""
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    if next(filter(None, names), "C") in ("C", "C.UTF-8", "C.utf8", "POSIX"):
        return
    import _locale

    try:
        _locale.setlocale(_locale.LC_MESSAGES, "")
    except _locale.Error:  # type: ignore[attr-defined]  # typeshed does not know it
        return


_LARGEST_WINDOW = 1000
"""Columns, or lines."""


def _bound_window() -> None:
    """Let no variable make the output wider or longer than any terminal is, which could take all
    memory. What is no number is left out."""
    for variable in ("COLUMNS", "LINES"):
        size = os.environ.get(variable, "")
        if not (size.isascii() and size.isdecimal()):
            os.environ.pop(variable, None)
        elif len(size) > 9 or int(size) > _LARGEST_WINDOW:
            os.environ[variable] = f"{_LARGEST_WINDOW}"


class _Closed(io.TextIOBase):
    """Standard output of a process that was started with it closed."""

    def write(self, text: str) -> NoReturn:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def status_of(command: Command | click.Command, name: str) -> int:
    """Run COMMAND with the arguments of the process; return its status, or that of its error."""
    _bound_window()
    if sys.stdout is None:
        sys.stdout = _Closed()
    elif isinstance(sys.stdout, io.TextIOWrapper):
        # A grid of box characters is no reason to fail in a locale that has none.
        sys.stdout.reconfigure(errors="backslashreplace")
    work: Callable[[], int]
    write_error: Callable[[Exception], int]
    if isinstance(command, Command):
        line = command.line()
        work = partial(_carry_out, command, line)
        write_error = partial(command.write_error, line)
    else:
        work = partial(_carry_out_by_click, command, name)
        write_error = partial(_write_error, name)
    try:
        status = work()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return by_signal(signal.SIGINT)
    except SystemExit as ended:
        # A signal ends the work, and all that is open is closed before.
        return ended.code if isinstance(ended.code, int) else Exit.FAILURE
    except BrokenPipeError:
        return by_signal(signal.SIGPIPE)
    except (UsageError, MemoryHotplugError, OSError) as error:
        return write_error(error)


def _write_error(name: str, error: Exception) -> int:
    """Write the messages of an error; the exit status."""
    complain_of(name, error)
    return Exit.FAILURE


def _carry_out(command: Command, line: Line) -> int:
    """Read the arguments of the process into LINE, and do what they ask for; the exit status."""
    command.read(sys.argv[1:], line)
    if line.answering is None:
        return command.run(line)
    if line.answering is HELP:
        from hotplug_cli.click_command import help_text

        text = help_text(command, line)
    else:
        assert line.answering.answer
        text = line.answering.answer(line)
    print(text)
    return Exit.SUCCESS


def _carry_out_by_click(command: click.Command, name: str) -> int:
    """Do what the arguments of the process ask for; the exit status."""
    import click

    from hotplug_cli import messages
    from hotplug_cli.message import Sentence

    try:
        # click's main() would end with status 1 if the pipe was closed.
        context = command.make_context(name, sys.argv[1:])
        with context:
            return int(command.invoke(context) or Exit.SUCCESS)
    except click.exceptions.Exit as answered:
        return answered.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.UsageError as error:
        sentences = [Sentence(error.format_message())]
        if error.ctx is not None and type(error) in (click.UsageError, click.MissingParameter):
            usage = error.ctx.get_usage().partition(": ")[2]
            sentences.append(messages.USAGE.of(usage=" ".join(usage.split())))
        raise CommandError(*sentences) from error
