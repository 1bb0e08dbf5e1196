"""The table of messages: commands say its rows only, and the manuals explain each of them."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import NamedTuple

import pytest

from chmem_py.cause_messages import BY_CAUSE
from chmem_py.message_objects import MESSAGE
from chmem_py.messages import STEP_FAILED
from commands import PACKAGES, TOP, Command
from hotplug_cli.message import Message
from memory_hotplug.causes import Cause

SOURCES = {name: PACKAGES[name] for name in ("lsmem_py", "chmem_py", "memsim_py", "hotplug_cli")}
MANUALS = {
    "hotplug_cli.messages": ("lsmem.1", "chmem.8", "memsim.1"),
    "hotplug_cli.tree_messages": ("lsmem.1", "chmem.8"),
    "lsmem_py.messages": ("lsmem.1",),
    "chmem_py.messages": ("chmem.8",),
    "chmem_py.hint_messages": ("chmem.8",),
    "chmem_py.cause_messages": ("chmem.8",),
    "chmem_py.to_tell_messages": ("chmem.8",),
    "chmem_py.forecast_messages": ("chmem.8",),
    "memsim_py.messages": ("memsim.1",),
}
"""A table -> the manuals of those who say its rows."""
NOT_OF_MEMSIM = ("CANNOT_COMBINE", "MEANS_NOTHING")
"""What only lsmem and chmem say of the rows of all commands."""

ROWS = {
    (part, name): row
    for part in MANUALS
    for name, row in vars(importlib.import_module(part)).items()
    if isinstance(row, Message)
}
SPEAKERS = {
    *("complain", "write_message", "say", "add_note", "Sentence"),
    *("UsageError", "GetoptUsageError", "CommandError"),
}
"""What says a sentence; and every error that a command defines."""


class Use(NamedTuple):
    """A row where it stands in the code."""

    part: str
    row: str
    where: str
    fields: frozenset[str] | None
    """The keywords of ``of``, where that is called with keywords alone."""


def modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCES[package].glob("*.py")):
        yield f"{package}/{path.name}", ast.parse(path.read_text())


def names_of_parts(module: ast.Module) -> dict[str, str]:
    """What a module calls the tables that it imports."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if f"{node.module}.{alias.name}" in MANUALS
    }


def uses() -> Iterator[Use]:
    for package in SOURCES:
        for where, module in modules(package):
            parts = names_of_parts(module)
            calls = {
                id(node.func.value): node
                for node in ast.walk(module)
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "of"
            }
            for node in ast.walk(module):
                if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
                    continue
                if node.value.id in parts:
                    fields = None
                    if call := calls.get(id(node)):
                        names = [keyword.arg for keyword in call.keywords]
                        fields = frozenset(map(str, names)) if None not in names else None
                    part = parts[node.value.id]
                    yield Use(part, node.attr, f"{where}:{node.lineno}", fields)


def fields(row: Message) -> set[str]:
    return {
        name
        for template in (row.text, row.advice)
        for _, name, _, _ in Formatter().parse(template)
        if name is not None
    }


@pytest.mark.parametrize(("part", "name"), ROWS, ids=lambda word: word)
def test_every_message_is_in_the_diagnostics_of_the_manuals(part: str, name: str) -> None:
    entry = ROWS[part, name].entry
    for manual in MANUALS[part]:
        if manual == "memsim.1" and name in NOT_OF_MEMSIM:
            continue
        text = (TOP / "man" / manual).read_text().replace(r"\-", "-").replace(r"\&", "")
        diagnostics = text.partition(".Sh DIAGNOSTICS")[2].partition("\n.Sh ")[0]
        entries = re.findall(r'^\.It "?(.*?)"?$', diagnostics, re.MULTILINE)
        assert entry in entries, manual


def test_memsim_1_explains_no_message_that_memsim_never_says() -> None:
    text = (TOP / "man/memsim.1").read_text()
    for name in NOT_OF_MEMSIM:
        assert ROWS["hotplug_cli.messages", name].entry not in text


def test_every_message_is_said_somewhere() -> None:
    assert set(ROWS) <= {(use.part, use.row) for use in uses()}


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_words(cause: Cause) -> None:
    row = BY_CAUSE[cause]
    known = {"reason", "zone", "zones", "file", "size", "program"}
    assert fields(row) <= known
    assert row.entry == STEP_FAILED.entry


def test_every_message_gets_the_fields_it_has() -> None:
    for use in uses():
        if use.fields is not None and (use.part, use.row) in ROWS:
            assert use.fields == fields(ROWS[use.part, use.row]), use.where


def is_own(node: ast.expr) -> bool:
    """Whether an expression is words of the code's own."""
    return any(
        isinstance(part, ast.JoinedStr)
        or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        for part in [node, *ast.iter_child_nodes(node)]
    ) and not isinstance(node, ast.Call)


@pytest.mark.parametrize("package", SOURCES)
def test_a_command_says_rows_and_no_sentences_of_its_own(package: str) -> None:
    said = []
    for where, module in modules(package):
        errors = {
            node.name
            for node in ast.walk(module)
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
        }
        for node in ast.walk(module):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else ""
            name = function.id if isinstance(function, ast.Name) else name
            if name in SPEAKERS | errors and any(map(is_own, node.args[-1:])):
                said.append(f"{where}:{node.lineno}")
    assert said == []


def said_by(row: Message) -> list[str]:
    """Regular expressions for the lines of a row that has words of its own."""
    lines = [
        "".join(
            re.escape(words) + ("" if field is None else ".*")
            for words, field, _, _ in Formatter().parse(template)
        )
        for template in (row.text, row.advice)
    ]
    return [line for line in lines if re.search("[a-z]", line)]


@pytest.mark.parametrize(
    "arguments",
    [
        "-e 1g -d",
        "-e",
        "-e x",
        "-e 100m",
        "-b -e 3-1",
        "-b -e 16 -z Foo",
        "-b -e 16 --retry x",
        "-b -e 99",
        "-b -d 3 --node 9",
        "-e 9g",
        "-c 9g",
        "-e 0",
        "-e 1,2",
        "-b -e 3-",
        "-e 3-5",
        "-e 0x0-0x1",
        "128m",
        "-b --reconfigure 5",
        "--reconfigure -m 0 99g",
        "--nonsense",
        "-e 0x80000000",
        "-e 16",
        "-d 128m --node 9",
        "-d 128m -z Device",
        "-b -d 3",
        "-b -d 5 -z Movable",
        "-b -g 5",
        "-b -e 5 -m 1",
        "-b -d 5-6 --all-or-nothing",
        "-b -d 7",
    ],
)
def test_every_line_of_chmem_is_of_the_table(
    arguments: str, lpar: Path, memsim: Command, chmem: Command
) -> None:
    faults = ("--offline", "3=EBUSY", "--offline", "6=EIO", "--deconfig", "7=EBUSY")
    assert memsim("fault", lpar, *faults).status == 0
    rows = [
        row
        for (part, _), row in ROWS.items()
        if part in ("hotplug_cli.messages", "chmem_py.messages", "chmem_py.hint_messages")
    ]
    lines = [line for row in rows for line in said_by(row)]
    # The words for a cause follow the blocks, and perhaps the reason.
    lines += [f"(?i:memory block).*{line}" for row in BY_CAUSE.values() for line in said_by(row)]
    done = chmem("-s", lpar, *arguments.split())
    said = [line.removeprefix("chmem: ") for line in (done.stdout + done.stderr).splitlines()]
    assert said
    for line in said:
        hint = line == "Try 'chmem --help' for more information."
        assert hint or any(re.fullmatch(one, line) for one in lines), line


def test_each_message_of_chmem_has_a_code_of_its_own() -> None:
    parts = {part for part, where in MANUALS.items() if "chmem.8" in where}
    parts -= {"chmem_py.cause_messages"}
    rows = [(name, row) for (part, name), row in ROWS.items() if part in parts]
    assert len({name for name, _ in rows}) == len({id(row) for _, row in rows}) == len(rows)
    code = MESSAGE["properties"]["code"]["anyOf"]
    assert {one["const"] for one in code} == {name for name, _ in rows} | {"OTHER"}


ONLY_WORDS = {
    *("actions", "advice", "allowed", "beneath", "binary", "condition", "done", "end", "fits"),
    *(
        "given",
        "help",
        "holders",
        "keeps",
        "kept",
        "keys",
        "kind",
        "line",
        "lines",
        "look",
        "most",
        "no_block",
    ),
    *("options", "separator", "usage", "value", "were", "words", "zones"),
    *("fits", "line"),
}
"""Fields of chmem's messages that are no values for programs."""


def test_each_field_of_a_message_of_chmem_is_a_value_or_only_words() -> None:
    parts = {part for part, where in MANUALS.items() if "chmem.8" in where}
    parts -= {"chmem_py.cause_messages"}
    used = set().union(*(fields(row) for (part, _), row in ROWS.items() if part in parts))
    values = set(MESSAGE["properties"]["values"]["properties"])
    assert values.isdisjoint(ONLY_WORDS)
    assert used == values | ONLY_WORDS


@pytest.mark.parametrize(
    ("row", "field", "text"),
    [
        (Message("invalid argument: {x} (words)"), "x", "invalid argument: '' (words)"),
        (Message("{x}: expected a machine"), "x", "'': expected a machine"),
        (Message("option '{x}' goes"), "x", "option '' goes"),
        (Message("no room{x} here"), "x", "no room here"),
        (Message("{x}"), "x", ""),
        (Message("unknown column: {x}", reference=True), "x", "unknown column: "),
    ],
)
def test_an_empty_word_is_quoted_but_where_the_words_are_util_linux_s(
    row: Message, field: str, text: str
) -> None:
    said = row.of(**{field: ""})
    assert (said.text, said.fields) == (text, {field: ""})
