"""Whether each JSON document of lsmem and chmem is valid by the schema that the same options print.

All tests that run a command go through here; see commands.py and trial.py, and vm/checked.py for
guests.
"""

import contextlib
import functools
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema

_COMMANDS = {"lsmem": "lsmem_py.cli", "chmem": "chmem_py.cli"}
_BEGINS = re.compile(r'\s*\{\s*["}]')
"""How a document begins. A table for a wiki begins with a brace, too."""
_LAYOUT = "LIBSMARTCOLS_JSON"
_LONGEST = 40
"""The maximum of items of an array that are looked at: jsonschema takes a millisecond for each."""


def check(name: str, words: Sequence[str | Path], status: int, out: str | None) -> None:
    """Raises AssertionError if a document that a command line wrote is not valid."""
    found = fault(name, words, status, out)
    assert found is None, f"{name} {' '.join(map(str, words))}: {found}"


def fault(name: str, words: Sequence[str | Path], status: int, out: str | None) -> str | None:
    """Why a document in the output OUT of a command line is not valid; None if none is invalid."""
    texts = [_nowhere(str(word)) for word in words]
    is_schema = any(word.startswith("--json-") for word in texts)
    if name not in _COMMANDS or is_schema or not (out and _BEGINS.match(out)):
        return None
    validator = _validator(name, tuple(texts) if name == "lsmem" else (), _lines())
    try:
        for document in _documents(out):
            for error in validator.iter_errors(_shortened(document)):
                return f"{error.json_path}: {error.message[:500]}"
    except ValueError as error:
        # A signal, or a reader that has gone, can end a command within a document.
        return None if status else str(error)
    return None


def check_line(command: Sequence[str], status: int | None, out: str) -> None:
    """Raises AssertionError if a document of a program is not valid. COMMAND is one of ours,
    or a line of shell with some; a document must be valid for one of them."""
    words = list(command)
    lines = [words]
    if words[:2] == ["sh", "-c"]:
        lines = [_split(found[1]) for found in _OURS.finditer(words[2])]
    faults = [
        fault(name, more, 1 if status is None else status, out)
        for name, *more in filter(None, lines)
    ]
    assert not faults or None in faults, f"{command}: {faults}"


_OURS = re.compile(
    r"(?:^|[;|&(\n])\s*(?:(?:!|if|while|exec|time|timeout \S+|\w+=\S*)\s+)*"
    r"((?:lsmem|chmem) [^;|&<>()`\n]*)"
)
"""A command of ours in a line of shell; not as an argument of another program, which writes what it
will."""


def _split(line: str) -> list[str]:
    """The words of a command; none if its quotes do not end, as where it is a part of a word."""
    try:
        return shlex.split(line)
    except ValueError:
        return []


def _documents(out: str) -> Iterator[object]:
    """The documents at the beginning of an output: one, or one on each line."""
    decoder = json.JSONDecoder()
    while _BEGINS.match(out):
        out = out.lstrip()
        document, end = decoder.raw_decode(out)
        out = out[end:]
        yield document


def _shortened(value: Any) -> Any:
    """A document without the middle of its long arrays."""
    if isinstance(value, dict):
        return {key: _shortened(one) for key, one in value.items()}
    if isinstance(value, list):
        half = _LONGEST // 2
        return [*map(_shortened, value if len(value) <= _LONGEST else value[:half] + value[-half:])]
    return value


def _nowhere(word: str) -> str:
    """A word without the path of a machine, on which no schema depends."""
    return word if word.startswith("-") or "/" not in word else "/"


def _lines() -> str:
    return os.environ.get(_LAYOUT, "")


@functools.cache
def _validator(name: str, words: tuple[str, ...], layout: str) -> Any:
    """What holds documents against the schema that the options print; made once for each schema.

    LAYOUT is the variable for the layout of util-linux's JSON, which the schema depends on.
    """
    return _made(_printed(name, [*words, "--json-schema"]))


@functools.cache
def _made(schema: str) -> Any:
    found = json.loads(schema)
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def _printed(name: str, words: Sequence[str]) -> str:
    """What a command prints that runs in this process."""
    from hotplug_cli.program import status_of

    command = getattr(import_module(_COMMANDS[name]), name)
    before, out = sys.argv, io.StringIO()
    sys.argv = [name, *words]
    try:
        with contextlib.redirect_stdout(out):
            assert status_of(command, name) == 0, words
    finally:
        sys.argv = before
    return out.getvalue()
