"""The values of lsmem's options, which arguments they take, and which options exclude others."""

from collections.abc import Sequence
from types import SimpleNamespace

from hotplug_cli.getopt import GetoptUsageError, UsageError
from lsmem_py.columns import PICTURED

__all__ = ["SUMMARY", "TERMINAL", "Options", "check", "wanted"]

SUMMARY = ("never", "always", "only")
TERMINAL = ("always", "never", "auto")
_ALLOWED = {"annotate": TERMINAL, "color": TERMINAL, "map": PICTURED, "advice": TERMINAL}
"""An option that takes a word as its argument -> these words."""
_SHORTEST_INTERVAL = 0.1
"""Seconds."""


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
    advice: str | None

    @property
    def format_name(self) -> str:
        for name in ("json", "pairs", "raw"):
            if getattr(self, name):
                return name
        return (self.format or "table").lower()


def wanted(given: Sequence[str]) -> str:
    """What to show, ranges, summary or both, as the options GIVEN say in their order.

    Like util-linux: an output format turns the summary off, and a later `always` turns it on again.
    Raises UsageError.
    """
    ranges = summary = True
    for name, _, value in (word.partition("=") for word in given):
        if name in ("--json", "--pairs", "--raw") or (name == "--format" and value != "table"):
            summary = False
        elif name == "--summary":
            if value not in SUMMARY:
                from hotplug_cli.messages import lsmem as messages

                raise UsageError(messages.UNSUPPORTED_SUMMARY.of(allowed=_listed(SUMMARY)))
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
    for name, allowed in _ALLOWED.items():
        argument = getattr(options, name)
        if argument is not None and argument not in allowed:
            raise _invalid(name, argument, _listed(allowed))
    if options.watch is not None and not _is_interval(options.watch):
        raise _invalid("watch", options.watch, f"seconds, {_SHORTEST_INTERVAL} or more")
    if extra:
        raise _unexpected(extra[0], given)
    if options.summary == "nothing":
        from hotplug_cli.messages import lsmem as messages

        asked = "--{raw,json,pairs}" if options.format is None else "--format"
        raise UsageError(messages.NOTHING_WANTED.of(options=asked))
    if options.typed and options.format_name not in ("json", "jsonl"):
        from hotplug_cli.messages import lsmem as messages

        raise UsageError(messages.TYPED_NEEDS_JSON.of())


def _listed(words: Sequence[str]) -> str:
    """The words in a sentence."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _invalid(name: str, argument: str, allowed: str) -> UsageError:
    from hotplug_cli.messages import lsmem as messages

    return UsageError(messages.INVALID_ARGUMENT.of(option=name, argument=argument, allowed=allowed))


def _unexpected(word: str, given: Sequence[str]) -> UsageError:
    """The error for a word that is not an option, but may be meant as the argument of one."""
    from hotplug_cli.messages import lsmem as messages

    for name, allowed in (("summary", SUMMARY), *_ALLOWED.items()):
        if word in allowed and any(one.partition("=")[0] == f"--{name}" for one in given):
            return GetoptUsageError(messages.VALUE_APART.of(option=f"--{name}", value=word))
    return GetoptUsageError(messages.OPTIONS_ONLY.of(word=word))


def _is_interval(text: str) -> bool:
    try:
        return _SHORTEST_INTERVAL <= float(text) < float("inf")
    except ValueError:
        return False
