"""What is said of udev rules, beside what a real udev made of blocks with the same rules.

judged_rules.jsonl has files made at random, as `tests/udev/judge.py --keep` writes them: the first
line is what the machine was, and each other one a file, two blocks that were added, their states
and zones, and what is said of them. udev's part is never edited; what is said is recorded anew by
`RECORD=1 pytest tests/library/test_judged_rules.py`, where less or more is said on purpose.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from judged_rules import Case, Verdict, verdict, word
from memory_hotplug.trees.files import FileTree
from memory_hotplug.udev.added import AddedMemory
from memory_hotplug.udev.facts import Facts
from memory_hotplug.udev.stopping import FileEdit, removal, to_stop
from memory_hotplug.udev.syntax import RuleFile, rules_of
from static_tree import put

JUDGED = Path(__file__).with_name("judged_rules.jsonl")
FILE = "etc/udev/rules.d/50-judged.rules"


class Judged(NamedTuple):
    """What is said now, and what was said when it was recorded."""

    verdict: Verdict
    edit: FileEdit
    """How the rules are stopped that may set a block of any number online."""
    before: list[Any]

    @property
    def said(self) -> list[Any]:
        answers = (self.verdict.general, *self.verdict.exact)
        return [self.edit.script, *self.edit.others, *map(said_of, answers)]


def said_of(found: AddedMemory) -> list[Any]:
    """The answer, and for each rule its line, what it writes, and whether it certainly does."""
    rules = [[rule.line, list(rule.words), rule.certain] for rule in found.rules]
    return [word(found), list(found.words), *rules]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileTree]:
    """The machine on which udev ran, as far as rules ask for it."""
    root = tmp_path_factory.mktemp("machine")
    with JUDGED.open() as file:
        for path, text in json.loads(file.readline()).items():
            put(root, path, text)
    with FileTree(str(root)) as opened:
        yield opened


@pytest.fixture(scope="module")
def judged(tree: FileTree) -> list[Judged]:
    facts, found = Facts(tree, whole=True), []
    for line in JUDGED.read_text().splitlines()[1:]:
        text, blocks, states, zones, *before = json.loads(line)
        one = verdict(Case(text, blocks, states, zones), [], facts)
        put(Path(tree.root), FILE, text)
        files = [RuleFile(FILE, *rules_of(text))]
        edit = removal(tree, FILE, [rule.line for rule in to_stop(files, facts, None, ())])
        found.append(Judged(one, edit, before))
    return found


def test_what_is_said_of_rules_is_true_of_udev(judged: list[Judged]) -> None:
    assert len(judged) > 100
    assert [one.verdict.wrong for one in judged if one.verdict.wrong] == []


def test_a_file_that_was_edited_as_advised_sets_nothing_online(
    judged: list[Judged], tree: FileTree
) -> None:
    facts = Facts(tree, whole=True)
    for one in judged:
        text = one.verdict.case.text
        if one.edit.script:
            sed = ["sed", one.edit.script]
            left = subprocess.run(sed, input=text, text=True, capture_output=True, check=True)
            case = one.verdict.case._replace(text=left.stdout)
            assert word(verdict(case, [], facts).general) == "no", text


def test_as_much_is_said_of_rules_as_was_recorded(judged: list[Judged]) -> None:
    if "RECORD" in os.environ:
        first = JUDGED.read_text().partition("\n")[0]
        lines = [json.dumps([*one.verdict.case, *one.said]) for one in judged]
        JUDGED.write_text("\n".join([first, *lines]) + "\n")
    else:
        assert [one.said for one in judged] == [one.before for one in judged]
