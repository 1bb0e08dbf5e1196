"""The output of --policy, --holes, --explain and --format prometheus, which list no blocks."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hotplug_cli.exits import Exit
from hotplug_cli.sizes import human
from lsmem_py import formats
from lsmem_py.options import Options
from memory_hotplug.machine import Machine

if TYPE_CHECKING:
    from hotplug_cli.message import Sentence

__all__ = [
    "on_terminal",
    "show_explanation",
    "show_holes",
    "show_metrics",
    "show_policy",
    "size_format",
]


def show_policy(options: Options) -> int:
    """Write what becomes of memory that is added; the exit status."""
    from lsmem_py import policy

    with Machine.at(options.sysroot) as machine:
        found = policy.read(machine)
    if options.json:
        return _write([policy.format_document(found)])
    return _write(policy.format_text(found, size_format(options)[0]))


def show_explanation(options: Options) -> int:
    """Write why the total is not MemTotal; the exit status."""
    from lsmem_py import explain

    with Machine.at(options.sysroot) as machine:
        account = explain.figures(machine)
    if options.json:
        return _write([explain.format_document(account)])
    import shutil

    width = shutil.get_terminal_size().columns if on_terminal("auto") else None
    return _write(explain.format_text(account, size_format(options)[0], width))


def show_holes(
    options: Options, format_: formats.Format, write_message: "Callable[[Sentence], None]"
) -> int:
    """Write what has no block; the exit status."""
    from lsmem_py import holes
    from memory_hotplug.iomem import read_iomem

    with Machine.at(options.sysroot) as machine:
        regions = read_iomem(machine.tree)
        columns = holes.columns(regions)
        if options.bytes:
            columns = [column.in_bytes() for column in columns]
        found = holes.holes(machine)
        status = _write(format_(formats.Listing(columns, found, not options.noheadings)))
    if found and not regions:
        from lsmem_py import messages

        write_message(messages.HOLES_UNKNOWN.of())
    return status


def show_metrics(options: Options) -> int:
    """Write metrics; the exit status."""
    from lsmem_py import metrics

    with Machine.at(options.sysroot) as machine:
        return _write(metrics.format_metrics(metrics.metrics(machine)))


def _write(pieces: Iterable[str]) -> int:
    sys.stdout.writelines(pieces)
    sys.stdout.flush()
    return Exit.SUCCESS


def size_format(options: Options) -> tuple[Callable[[int], str], int]:
    """The function that formats a size, and the width of a size in the summary."""
    return (str, 15) if options.bytes else (human, 5)


def on_terminal(when: str, unless: str | None = None) -> bool:
    """Whether WHEN, a word of TERMINAL, is the case here; `auto` is not if the variable UNLESS is
    set."""
    if when != "auto":
        return when == "always"
    if os.environ.get("TERM") == "dumb" or (unless and os.environ.get(unless)):
        return False
    return sys.stdout.isatty()
