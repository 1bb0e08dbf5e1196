"""`lsmem --policy`: what becomes of memory that is added."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from hotplug_cli.documents import (
    BYTES,
    COUNT,
    FLAG,
    TEXT,
    TEXTS,
    Key,
    array_of,
    closed,
    filled,
    nullable,
    object_of,
)
from lsmem_py.options import Options
from lsmem_py.reports import Pieces, Report, document, schema_of
from memory_hotplug.attribute import path_of
from memory_hotplug.layout.added_policy import MOVABLE_AT_MOST, AddedPolicy, policy_on
from memory_hotplug.layout.settings import ATTRIBUTES
from memory_hotplug.machine import Machine
from memory_hotplug.udev.added import OnlineRule

__all__ = ["REPORT"]

FormatSize = Callable[[int], str]


class PolicyRow(NamedTuple):
    """A row of the report."""

    key: str
    help: str
    typed: dict[str, Any]
    """JSON Schema of the value, without the description."""
    value: Callable[[AddedPolicy], Any]
    text: Callable[[AddedPolicy, FormatSize], Iterable[str]] = lambda policy, format_size: ()
    """The lines, with newlines."""
    optional: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        return {**self.typed, "description": self.help}


def _settings(policy: AddedPolicy, _: FormatSize) -> Iterator[str]:
    return (f"{_file(key):<24} {value}\n" for key, value in policy.settings.items())


def _rules(policy: AddedPolicy, _: FormatSize) -> Iterator[str]:
    rules = policy.added.rules
    if rules:
        yield "\nudev rules that set memory online:\n"
        width = max(len(rule.place) for rule in rules)
        for rule in rules:
            unknown = "" if rule.certain else ", perhaps"
            yield f"  {rule.place:<{width}} {_words(rule.words) or 'a program'}{unknown}\n"


def _file(key: str) -> str:
    return path_of(ATTRIBUTES[key]).rpartition("/")[2]


def _words(words: Sequence[str]) -> str:
    return " or ".join(words)


def _places(rules: Iterable[OnlineRule]) -> str:
    return " or ".join(rule.place for rule in rules)


def _becomes(policy: AddedPolicy) -> str:
    added = policy.added
    if policy.by_kernel:
        late = ", and udev comes too late" if added.rules else ""
        return f"becomes {policy.by_kernel}: the kernel does that itself{late}"
    if policy.by_rules:
        return f"becomes {_words(added.words)}: by {_places(policy.by_rules)}"
    programs = [rule for rule in added.rules if not rule.words]
    if programs:
        also = "one of these rules may be for it, or " if len(programs) < len(added.rules) else ""
        return f"may be set online: {also}a program decides: {_places(programs)}"
    if added.rules:
        return "stays offline, unless one of these rules is for it"
    return "stays offline: neither the kernel nor a udev rule sets it online"


def _late(policy: AddedPolicy, _: FormatSize) -> Iterator[str]:
    if policy.too_late and policy.at_start:
        now = policy.settings["auto_online"]
        yield (
            f"auto_online_blocks was {policy.at_start.word} when the kernel started"
            f" ({policy.at_start.file}): memory that a driver added before it was set to {now} was"
            f" treated so. memhp_default_state={now} on the kernel's command line sets it from"
            " the start.\n"
        )


def _warning(policy: AddedPolicy, format_size: FormatSize) -> Iterator[str]:
    if policy.too_movable:
        yield (
            f"Zone Movable has {format_size(policy.movable)}, more than {MOVABLE_AT_MOST} times"
            f" the {format_size(policy.others)} of the other zones: the kernel can run out of"
            " memory for itself.\n"
        )


_RULE = (
    Key("file", "the file of the rule", TEXT, lambda rule: rule.file),
    Key("line", "its line, from 1", {**COUNT, "minimum": 1}, lambda rule: rule.line),
    Key(
        "words",
        "states it may write; none for a program that may do so",
        TEXTS,
        lambda rule: rule.words,
    ),
    Key("certain", "whether it is for all added memory", FLAG, lambda rule: rule.certain),
)


def _becoming(policy: AddedPolicy) -> list[str]:
    """The words that are written for added memory, or may be."""
    if policy.by_kernel:
        return [policy.by_kernel]
    return list(policy.added.words) if policy.by_rules else []


_ADDED = (
    Key("words", "the state that it is set to, or may be", TEXTS, _becoming),
    Key(
        "by",
        "who sets it online; null if nobody is sure to",
        {"enum": ["kernel", "udev", None]},
        lambda policy: "kernel" if policy.by_kernel else "udev" if policy.by_rules else None,
    ),
    Key(
        "rule",
        "the file and line of the rule that does",
        nullable(TEXT),
        lambda policy: policy.by_rules[-1].place if policy.by_rules else None,
    ),
    Key(
        "certain",
        "false where it may be set online by one of the rules",
        FLAG,
        lambda policy: bool(policy.by_kernel or policy.by_rules or not policy.added.rules),
    ),
)
_AT_START = (
    Key("word", "the value", TEXT, lambda found: found.word),
    Key(
        "file",
        "the kernel's command line, or its configuration, which says so",
        TEXT,
        lambda found: found.file,
    ),
)
_ROWS = (
    PolicyRow(
        "settings",
        "what the kernel has of its settings, as sysfs shows it",
        closed(
            {
                _file(key): {**TEXT, "description": f"the key {key} of a layout's policy"}
                for key in ATTRIBUTES
            },
            (),
        ),
        lambda policy: {_file(key): value for key, value in policy.settings.items()},
        _settings,
    ),
    PolicyRow(
        "rules",
        "udev rules that set memory online",
        array_of(object_of(_RULE)),
        lambda policy: [filled(_RULE, rule) for rule in policy.added.rules],
        _rules,
    ),
    PolicyRow(
        "added_memory",
        "what becomes of memory that is added; without words, it stays offline if that is certain",
        object_of(_ADDED),
        lambda policy: filled(_ADDED, policy),
        lambda policy, _: [f"\nMemory that is added {_becomes(policy)}.\n"],
    ),
    PolicyRow(
        "at_start",
        "what auto_online_blocks was when the kernel started; null if that is not known",
        nullable(object_of(_AT_START)),
        lambda policy: filled(_AT_START, policy.at_start) if policy.at_start else None,
    ),
    PolicyRow(
        "too_late",
        "whether auto_online_blocks was set after the start, which is too late for memory that a "
        "driver added before",
        FLAG,
        lambda policy: policy.too_late,
        _late,
    ),
    PolicyRow("movable", "bytes online in zone Movable", BYTES, lambda policy: policy.movable),
    PolicyRow("other_zones", "bytes online in other zones", BYTES, lambda policy: policy.others),
    PolicyRow(
        "too_movable",
        "whether zone Movable is so large that the kernel can run out of memory for itself",
        FLAG,
        lambda policy: policy.too_movable,
        _warning,
    ),
)


def _pieces(machine: Machine, options: Options) -> Pieces:
    policy = policy_on(machine)
    if options.json:
        return [document(_ROWS, policy)], ()
    return [line for row in _ROWS for line in row.text(policy, options.format_size)], ()


REPORT = Report(_pieces, lambda: schema_of("lsmem --policy --json", _ROWS))
