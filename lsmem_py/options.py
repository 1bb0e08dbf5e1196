"""The values of lsmem's options, which arguments they take, and which options exclude others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from types import SimpleNamespace

from hotplug_cli.getopt import GetoptUsageError, UsageError, either
from hotplug_cli.sizes import rounded
from lsmem_py.columns import BY_NAME, HEADINGS, PICTURED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hotplug_cli.message import Sentence
    from lsmem_py.columns import Column

__all__ = [
    "METRICS",
    "SUMMARY",
    "TERMINAL",
    "VIEWS",
    "Options",
    "check",
    "clash",
    "columns_of",
    "on_terminal",
    "wanted",
]

SUMMARY = ("never", "always", "only")
TERMINAL = ("always", "never", "auto")
_ALLOWED = {"color": TERMINAL, "map": PICTURED, "advice": TERMINAL}
"""An option that takes a word as its argument -> these words."""
METRICS = "prometheus"
"""The format that is no listing of ranges."""
_ALWAYS = {"sysroot", "color", "advice"}
"""Options that go with every view. Where there is no colour, --color allows none."""
_REPORT = {"bytes", "output-file"}
_TABLE = {*_REPORT, "noheadings", "json", "pairs", "raw", "format"}
_LISTING = {"all", "output", "output-all", "split", "summary", "annotate", "typed"}
VIEWS = {
    "map": {*_REPORT, "watch"},
    "watch": {"all", "output", "output-all", "split", "summary", "bytes", "noheadings"}
    | {"json", "map"},
    "diff": {*_REPORT, "json"},
    "policy": {*_REPORT, "json"},
    "why": {*_TABLE, *_LISTING},
    "holes": _TABLE,
    "at": _TABLE,
    "explain": {*_REPORT, "json"},
}
"""An option that asks for another view than the listing -> the options that go with it."""
_OPTIONS = {*_TABLE, *_LISTING, *VIEWS}
_EXCLUSIVE = ({"json", "pairs", "raw", "format"}, {"all", "split"})
"""Groups of options of which only one can be given, as with util-linux."""
_SHORTEST_INTERVAL = 0.1
"""Seconds."""
_MOST_BLOCKS = 1 << 20
"""The maximum of blocks in a range of --why."""


class Options(SimpleNamespace):
    """The values of the options.

    A namespace because every start makes the class, and a named tuple takes longer to make.
    """

    all: bool
    bytes: bool
    json: bool
    noheadings: bool
    output: str | None
    output_all: bool
    pairs: bool
    raw: bool
    split: str | None
    sysroot: str
    summary: str
    annotate: str
    format: str | None
    typed: bool
    color: str
    map: str | None
    watch: str | None
    diff: str | None
    policy: bool
    holes: bool
    at: str | None
    explain: bool
    why: str | None
    output_file: str | None
    advice: str | None

    @cached_property
    def blocks(self) -> list[int] | None:
        """The numbers of the blocks that are asked about; None for all."""
        if self.why in (None, "all"):
            return None
        ends = [_ends(part) for part in str(self.why).split(",")]
        return [number for first, last in ends for number in range(first, last + 1)]

    @property
    def addresses(self) -> list[tuple[int, bool]]:
        """The numbers that --at asks about, and whether each is that of a page frame.

        Raises ValueError.
        """
        if self.at in (None, "-"):
            return []
        return [_address(part) for part in str(self.at).split(",")]

    @property
    def format_size(self) -> Callable[[int], str]:
        """The function that formats a size."""
        return str if self.bytes else rounded

    @property
    def format_name(self) -> str:
        for name in ("json", "pairs", "raw"):
            if getattr(self, name):
                return name
        return "table" if self.format is None else self.format.lower()


def on_terminal(when: str, unless: str | None = None) -> bool:
    """Whether WHEN, a word of TERMINAL, is the case here; `auto` is not if the variable UNLESS is
    set."""
    if when != "auto":
        return when == "always"
    if os.environ.get("TERM") == "dumb" or (unless and os.environ.get(unless)):
        return False
    return sys.stdout.isatty()


def wanted(given: Sequence[str]) -> str:
    """What to show, ranges, summary or both, as the options GIVEN say in their order.

    Like util-linux: an output format turns the summary off, and a later `always` turns it on again.
    Raises UsageError.
    """
    ranges = summary = True
    for name, _, value in (word.partition("=") for word in given):
        if (
            name in ("--json", "--pairs", "--raw")
            or (name == "--format" and value != "table")
            or name == "--why"
        ):
            summary = False
        elif name == "--summary":
            if value not in SUMMARY:
                from lsmem_py import messages

                raise UsageError(messages.UNSUPPORTED_SUMMARY.of(allowed=either(SUMMARY)))
            if value == "only":
                ranges = False
            else:
                summary = value == "always"
    if ranges:
        return "always" if summary else "never"
    return "only" if summary else "nothing"


def check(options: Options, extra: Sequence[str], given: Sequence[str]) -> None:
    """Refuse wrong options in util-linux's order, before the machine is read. Raises UsageError.

    EXTRA are the words that are no options; GIVEN are the options, as ``--name=VALUE``.
    """
    if extra:
        raise _unexpected(extra[0], given)
    if options.annotate not in TERMINAL:
        from lsmem_py import messages

        said = messages.UNKNOWN_ANNOTATION.of(argument=options.annotate, allowed=either(TERMINAL))
        raise UsageError(said)
    if options.summary == "nothing" and options.format_name != METRICS:
        from lsmem_py import messages

        asked = "--{raw,json,pairs}" if options.format is None else "--format"
        raise UsageError(messages.NOTHING_WANTED.of(options=asked))
    for name, allowed in _ALLOWED.items():
        argument = getattr(options, name)
        if argument is not None and argument not in allowed:
            raise _invalid(name, argument, either(allowed))
    if options.watch is not None and not _is_interval(options.watch):
        raise _invalid("watch", options.watch, f"seconds, {_SHORTEST_INTERVAL} or more")
    _check_numbers(options)
    if options.format_name == METRICS:
        _check_view(f"--format={METRICS}", {"format", "output-file"}, given)
    if options.watch is not None and options.json:
        _check_view("--watch --json", {"watch", "json", "bytes"}, given)
    if options.typed and options.format_name not in ("json", "jsonl"):
        from lsmem_py import messages

        raise UsageError(messages.TYPED_NEEDS_JSON.of())


def _check_numbers(options: Options) -> None:
    """Refuse blocks and addresses that are none. Raises UsageError."""
    try:
        options.blocks  # noqa: B018
    except ValueError:
        raise _invalid("why", str(options.why), "blocks, such as 3 or 0-7,12") from None
    try:
        options.addresses  # noqa: B018
    except ValueError as error:
        raise _invalid("at", str(error), "0x7d000000, pfn:0x7d000, or - for a log") from None


def clash(before: str, name: str) -> Sentence | None:
    """Why the options BEFORE and NAME, without hyphens, cannot both be given."""
    if before == name:
        return None
    pair = {before, name}
    views = len(pair & VIEWS.keys()) == 2 and name not in VIEWS[before]
    if views or any(pair <= group for group in _EXCLUSIVE):
        from hotplug_cli import messages

        return messages.CANNOT_COMBINE.of(option=f"--{before}", other=f"--{name}")
    for option, view in ((before, name), (name, before)):
        if view in VIEWS and option in _OPTIONS - VIEWS[view]:
            return _means_nothing(f"--{option}", f"--{view}")
    return None


def _means_nothing(option: str, view: str) -> Sentence:
    from hotplug_cli import messages

    return messages.MEANS_NOTHING.of(option=option, other=view)


def _check_view(view: str, takes: set[str], given: Sequence[str]) -> None:
    """Refuse what does not go with a view that only several words ask for."""
    for word in given:
        option = word.partition("=")[0]
        if option[2:] in _OPTIONS - takes:
            raise UsageError(_means_nothing(option, view))


def _address(text: str) -> tuple[int, bool]:
    """A number, and whether it is that of a page frame. Raises ValueError."""
    digits = text.removeprefix("pfn:")
    if not (digits.startswith("0x") and 3 <= len(digits) <= 18 and digits[2:].isalnum()):
        raise ValueError(text)
    try:
        return int(digits, 16), digits != text
    except ValueError:
        raise ValueError(text) from None


def _ends(text: str) -> tuple[int, int]:
    """The first and last number of a range of blocks. Raises ValueError."""
    first, dash, last = text.partition("-")
    last = last if dash else first
    for number in (first, last):
        if not (number.isdecimal() and number.isascii() and len(number) <= 15):
            raise ValueError(text)
    ends = int(first), int(last)
    if not 0 <= ends[1] - ends[0] < _MOST_BLOCKS:
        raise ValueError(text)
    return ends


def _invalid(name: str, argument: str, allowed: str) -> UsageError:
    from lsmem_py import messages

    return UsageError(messages.INVALID_ARGUMENT.of(option=name, argument=argument, allowed=allowed))


def _unexpected(word: str, given: Sequence[str]) -> UsageError:
    """The error for a word that is not an option, but may be meant as the argument of one."""
    from lsmem_py import messages, suggestions

    known = (("summary", SUMMARY), ("annotate", TERMINAL), *_ALLOWED.items())
    for name, allowed in known:
        if word in allowed and any(one.partition("=")[0] == f"--{name}" for one in given):
            return GetoptUsageError(messages.VALUE_APART.of(option=f"--{name}", value=word))
    return GetoptUsageError(suggestions.unexpected(word, given, HEADINGS))


def _is_interval(text: str) -> bool:
    try:
        return _SHORTEST_INTERVAL <= float(text) < float("inf")
    except ValueError:
        return False


def columns_of(text: str, default: Sequence[Column]) -> list[Column]:
    """The columns of a comma-separated list; those of a list with ``+`` follow the DEFAULT ones.

    Raises UsageError.
    """
    extends = text.startswith("+")
    names = text.removeprefix("+").split(",")
    if len(names) > 1 and not names[-1]:
        # Like util-linux, take a comma at the end for a part of the name before it.
        names[-2:] = [f"{names[-2]},"]
    found = [_column(name) for name in names]
    if None in found:
        from lsmem_py.suggestions import unknown_column

        at = found.index(None)
        raise UsageError(unknown_column(names[at], HEADINGS, names[at + 1 :]))
    return [*(default if extends else ()), *filter(None, found)]


def _column(name: str) -> Column | None:
    """The column of that name, in any case and with hyphens or underscores."""
    return BY_NAME.get(name.lower().replace("-", "_"))
