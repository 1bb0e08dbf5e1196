"""Messages as JSON has them: objects with a code, a text, the advice on it, and their values."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from types import ModuleType
from typing import Any

from chmem_py import forecast_messages, hint_messages, messages, to_tell_messages
from hotplug_cli import messages as shared
from hotplug_cli import tree_messages
from hotplug_cli.documents import (
    BYTES,
    COUNT,
    RUN,
    TEXT,
    TEXTS,
    Key,
    array_of,
    filled,
    object_of,
)
from hotplug_cli.message import Message, Sentence, Wording

__all__ = ["MESSAGE", "objects_of"]

_TABLES: Sequence[ModuleType] = (
    *(shared, tree_messages, messages),
    *(hint_messages, to_tell_messages, forecast_messages),
)

OTHER = "OTHER"
"""The code of an error that has no row."""

Object = dict[str, Any]


@cache
def _codes() -> Mapping[int, str]:
    """The code of each row, by its identity: the name that it has in its table."""
    tables = chain.from_iterable(vars(table).items() for table in _TABLES)
    return {id(row): name for name, row in tables if isinstance(row, Message)}


def _code(row: Message | None) -> str:
    return _codes().get(id(row), OTHER)


# The values


def _field(name: str, help_: str, typed: dict[str, Any]) -> Key:
    """A field of messages that is a value for programs, and not only words. Where its type is a
    text, so is the value, whatever the text may stand for."""
    whole = typed.get("type") == "string"

    def value(fields: Mapping[str, object]) -> object:
        found = fields.get(name)
        if found is None:
            return None
        if whole:
            return str(found)
        return found.value if isinstance(found, Wording) else found

    return Key(name, help_, typed, value, optional=True)


_VALUES = (
    _field("action", "the action, as its option has it", TEXT),
    _field("address", "a physical address", COUNT),
    _field("argument", "the argument that was refused", TEXT),
    _field("asked", "bytes that were requested", BYTES),
    _field("attribute", "an attribute of memory blocks", TEXT),
    _field("available", "bytes that are available; left out if not known", BYTES),
    _field("before", "the zone before the change", TEXT),
    _field("block", "the number of a memory block", COUNT),
    _field("blocks", "runs of memory blocks; left out if it is all of them", array_of(RUN)),
    _field("bytes", "the bytes of what was typed", BYTES),
    _field("command", "a command that is advised", TEXT),
    _field("commands", "commands that are advised", TEXTS),
    _field("count", "a number of memory blocks", COUNT),
    _field("device", "a device that brought memory", TEXT),
    _field("devices", "devices that brought memory", TEXTS),
    _field("disable", "a command that is advised, before that in enable", TEXT),
    _field("enable", "a command that is advised, after that in disable", TEXT),
    _field("file", "a file", TEXT),
    _field("files", "files of a layout", TEXTS),
    _field("found", "what was found instead", TEXT),
    _field("holder", "the process that changes the machine; left out if not known", COUNT),
    _field("inner", "the nearest range within what was typed", TEXT),
    _field("instead", "what a person would type instead", TEXT),
    _field("letter", "a letter that was given as an option", TEXT),
    _field("name", "a setting, or the zone that was asked for", TEXT),
    _field("nearest", "the nearest size in bytes", BYTES),
    _field("nearest_above", "the nearest size above, in bytes", BYTES),
    _field("nearest_below", "the nearest size below, in bytes", BYTES),
    _field("node", "a NUMA node", COUNT),
    _field("now", "the zone of the blocks now", TEXT),
    _field("numbers", "block numbers as arguments of the command line", TEXT),
    _field("option", "an option", TEXT),
    _field("other", "the option that it does not go with", TEXT),
    _field("outer", "the nearest range around what was typed", TEXT),
    _field("path", "a file", TEXT),
    _field("pid", "the number of a process", COUNT),
    _field("place", "a file, and perhaps a line of it", TEXT),
    _field("policy", "the value of auto_online_blocks", TEXT),
    _field("possible", "bytes that can be changed", BYTES),
    _field("range", "a range of addresses or blocks, as an argument", TEXT),
    _field("ratio", "percent of all other zones that Movable may have", COUNT),
    _field("reason", "why, in a few words", TEXT),
    _field("requested", "bytes that were requested", BYTES),
    _field("rest", "bytes that would remain", BYTES),
    _field("root", "the directory of a machine", TEXT),
    _field("saved", "the file that chmem writes, below the root", TEXT),
    _field("share", "percent of all other zones that Movable has; left out if it is all", COUNT),
    _field("size", "bytes", BYTES),
    _field("step", "the step of changing a block", TEXT),
    _field("text", "what was typed", TEXT),
    _field("total", "bytes of all memory", BYTES),
    _field("used", "bytes that are in use", BYTES),
    _field("what", "what the message is about, in words", TEXT),
    _field("where", "the entry of a layout", TEXT),
    _field("word", "the value of a setting", TEXT),
    _field("zone", "a zone", TEXT),
)
"""The fields of the tables of messages that are values. What is only wording is not here."""


# The object


def objects_of(sentences: Sequence[Sentence]) -> list[Object]:
    """The messages as objects. What is only advice belongs to the message before with the same
    entry in the manual; where both name blocks, to those that name the same ones."""
    found: list[tuple[Sentence, Object]] = []
    for sentence in sentences:
        if sentence.text or not (about := _about(sentence, found)):
            found.append((sentence, filled(_MESSAGE, sentence)))
            continue
        for before in about:
            before["advice"] = "\n".join(filter(None, [before["advice"], sentence.advice]))
            before["values"] = {**filled(_VALUES, sentence.fields), **before["values"]}
    return [message for _, message in found]


def _about(advice: Sentence, found: Sequence[tuple[Sentence, Object]]) -> list[Object]:
    """The messages among those FOUND that a sentence without a text is advice on."""
    row = advice.row
    alike = [(one, told) for one, told in found if row and one.row and one.row.entry == row.entry]
    if (blocks := _blocks(advice)) is None:
        return [told for _, told in alike[-1:]]
    return [told for one, told in alike if blocks & (_blocks(one) or set())]


def _blocks(sentence: Sentence) -> set[int] | None:
    """The blocks that a sentence names; None if it names none."""
    values = filled(_VALUES, sentence.fields)
    if "block" in values:
        return {values["block"]}
    if "blocks" not in values:
        return None
    return {number for run in values["blocks"] for number in range(run["first"], run["last"] + 1)}


def _known_codes() -> list[dict[str, str]]:
    rows = {id(row): row for table in _TABLES for row in vars(table).values()}
    known = [
        {"const": code, "description": " / ".join(filter(None, [row.text, row.advice]))}
        for number, code in sorted(_codes().items(), key=lambda pair: pair[1])
        if (row := rows[number])
    ]
    return [*known, {"const": OTHER, "description": "any other error"}]


_MESSAGE = (
    Key(
        "code",
        "the name of the message, which stays when its words change",
        {"type": "string", "anyOf": _known_codes()},
        lambda sentence: _code(sentence.row),
    ),
    Key(
        "text",
        "the line of standard error, without the name of the command",
        TEXT,
        lambda sentence: sentence.text or sentence.advice,
    ),
    Key(
        "advice",
        "what to do now, with a line for each sentence; empty if nothing is known",
        TEXT,
        lambda sentence: sentence.advice if sentence.text else "",
    ),
    Key(
        "values",
        "what the fields of the message are",
        object_of(_VALUES),
        lambda sentence: filled(_VALUES, sentence.fields),
    ),
)

MESSAGE = object_of(_MESSAGE)
"""The schema of a message."""
