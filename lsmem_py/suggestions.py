"""What a wrong word on the command line may be meant as, and what to type instead."""

import os
import re
from collections.abc import Sequence

from hotplug_cli import spelling
from hotplug_cli.message import Sentence
from lsmem_py import messages

__all__ = ["unexpected", "unknown_column"]


def unknown_column(name: str, known: Sequence[str], others: Sequence[str] = ()) -> Sentence:
    """The message about a column that is not among those KNOWN, by their headings. Like util-linux
    it has the OTHERS that follow in the list."""
    said = messages.UNKNOWN_COLUMN.of(name=",".join([name, *others]), columns=", ".join(known))
    if name.lower() in ("all", "*"):
        return said.advising(messages.ALL_COLUMNS.of())
    if name.strip(" ,") != name or not name:
        return said.advising(messages.LIST_OF_COLUMNS.of())
    meant = spelling.nearest(name, known)
    if meant is None:
        return said
    return said.advising(messages.COLUMN_MEANT.of(meant=meant, columns=", ".join(known)))


def unexpected(word: str, given: Sequence[str], known: Sequence[str]) -> Sentence:
    """The message about a WORD that is no option, after the options GIVEN, as ``--name=VALUE``.
    KNOWN are the headings of the columns."""
    names = [option.partition("=")[0] for option in given]
    for name, form in (("--watch", r"[0-9.]+"), ("--why", r"[0-9,-]+")):
        if name in names and re.fullmatch(form, word):
            return messages.VALUE_APART.of(option=name, value=word)
    said = messages.OPTIONS_ONLY.of(word=word)
    headings = [part.upper().replace("_", "-") for part in word.strip(",").split(",")]
    if set(headings) <= set(known):
        before = next((one for one in given if one.startswith("--output=")), None)
        columns = f"{before.partition('=')[2].strip(',')},{word}" if before else word
        return said.advising(messages.COLUMNS_BY_OPTION.of(columns=columns))
    if os.path.isdir(word) or re.search(r"\.tar(\.\w+)?$|\.tgz$", word):
        return said.advising(messages.MACHINE_BY_OPTION.of(path=word))
    return said
