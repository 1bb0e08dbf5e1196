"""The views that are no listing of blocks: --policy, --explain and --holes."""

import os
import sys
from collections.abc import Callable

from hotplug_cli.exits import Exit
from hotplug_cli.sizes import human
from lsmem_py import formats
from lsmem_py.options import Options
from memory_hotplug.machine import Machine

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
        sys.stdout.write(policy.format_document(found))
    else:
        sys.stdout.writelines(policy.format_text(found, size_format(options)[0]))
    sys.stdout.flush()
    return Exit.SUCCESS


def show_explanation(options: Options) -> int:
    """Write why the total is not MemTotal; the exit status."""
    from lsmem_py import explain

    with Machine.at(options.sysroot) as machine:
        account = explain.figures(machine)
    if options.json:
        sys.stdout.write(explain.format_document(account))
    else:
        import shutil

        width = shutil.get_terminal_size().columns if on_terminal("auto") else None
        sys.stdout.writelines(explain.format_text(account, size_format(options)[0], width))
    sys.stdout.flush()
    return Exit.SUCCESS


def show_holes(options: Options, format_: formats.Format) -> int:
    """Write what has no block; the exit status."""
    from lsmem_py import holes

    with Machine.at(options.sysroot) as machine:
        columns = holes.columns(machine)
        if options.bytes:
            columns = [column.in_bytes() for column in columns]
        found = holes.holes(machine)
        sys.stdout.writelines(format_(formats.Listing(columns, found, not options.noheadings)))
    sys.stdout.flush()
    return Exit.SUCCESS


def show_metrics(options: Options) -> int:
    """Write metrics; the exit status."""
    from lsmem_py import metrics

    with Machine.at(options.sysroot) as machine:
        sys.stdout.writelines(metrics.format_metrics(metrics.metrics(machine)))
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
