"""Every step of every sequence fails in every way, on the first, a middle and the last block."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest

from chmem_py.document import schema
from commands import Command
from simulated import Condition, Make, conditions, make, s390, x86

ERRORS = ("EBUSY", "EAGAIN", "EINTR", "EIO", "ENOMEM", "EINVAL", "EACCES", "ENODEV")
TREATED_ALIKE = ERRORS[3:]
"""chmem never tries again after one of these; all but the first are tried by the slow tests."""
DOCUMENT = jsonschema.Draft202012Validator(schema())


class Sequence(NamedTuple):
    """A request for four blocks, and the transitions it makes of each."""

    name: str
    machine: dict[str, Any]
    arguments: tuple[str, ...]
    blocks: range
    transitions: tuple[str, ...]
    target: Condition


ON_MOVABLE = Condition(1, 0, "online", "Movable")
SEQUENCES = (
    Sequence(
        "enable",
        s390(),
        ("-e", "-m", "0", "-b", "4-7"),
        range(4, 8),
        ("config", "online"),
        ON_MOVABLE,
    ),
    Sequence(
        "disable",
        s390(),
        ("-d", "-b", "0-3"),
        range(4),
        ("offline", "deconfig"),
        Condition(0, 0, "absent", None),
    ),
    Sequence(
        "configure",
        s390(),
        ("-c", "-m", "0", "-b", "4-7"),
        range(4, 8),
        ("config",),
        Condition(1, 0, "offline", None),
    ),
    Sequence(
        "deconfigure",
        {**s390(), "blocks": [{"range": [0, 3]}, {"range": [4, 7], "state": "offline"}]},
        ("-g", "-b", "4-7"),
        range(4, 8),
        ("deconfig",),
        Condition(0, 0, "absent", None),
    ),
    Sequence(
        "reconfigure",
        s390(),
        ("--reconfigure", "-m", "1", "-b", "0-3"),
        range(4),
        ("offline", "deconfig", "config", "online"),
        Condition(1, 1, "online", "Normal"),
    ),
    Sequence(
        "enable-x86",
        x86(),
        ("-e", "-b", "4-7"),
        range(4, 8),
        ("online",),
        Condition(None, None, "online", "Movable"),
    ),
    Sequence(
        "disable-x86",
        x86(),
        ("-d", "-b", "0-3"),
        range(4),
        ("offline",),
        Condition(None, None, "offline", None),
    ),
)


class Case(NamedTuple):
    sequence: Sequence
    transition: str
    error: str
    position: int
    times: int | None
    all_or_nothing: bool


def _matrix() -> Iterator[Case]:
    for sequence in SEQUENCES:
        for transition in sequence.transitions:
            for error in ERRORS:
                if (transition, error) == ("deconfig", "EIO"):
                    # No failure: Linux ignores a hypervisor that does not take storage back.
                    continue
                for position in (0, 1, 3):
                    for times in (1, None):
                        for all_or_nothing in (False, True):
                            yield Case(sequence, transition, error, position, times, all_or_nothing)


MATRIX = tuple(_matrix())
MARKED = [
    pytest.param(case, marks=[pytest.mark.slow] if case.error in TREATED_ALIKE[1:] else [])
    for case in MATRIX
]


def _name(case: Case) -> str:
    how = f"{'always' if case.times is None else 'once'}{'-all' * case.all_or_nothing}"
    return f"{case.sequence.name}-{case.transition}-{case.error}-{case.position}-{how}"


def as_documented(condition: Condition) -> dict[str, Any]:
    """A condition in the words of the document."""
    return {
        "state": "offline" if condition.state == "absent" else condition.state,
        "zone": condition.zone,
        "configured": None if condition.config is None else bool(condition.config),
        "memmap_on_memory": None if condition.memmap is None else bool(condition.memmap),
    }


@pytest.mark.parametrize("case", MARKED, ids=_name)
def test_no_block_is_left_between_two_conditions(
    case: Case, tmp_path: Path, chmem: Command
) -> None:
    sequence = case.sequence
    faulty = sequence.blocks[case.position]
    fault = {"errno": case.error, "times": case.times} if case.times else case.error
    machine = {**sequence.machine, "faults": {case.transition: {str(faulty): fault}}}
    root = make(tmp_path / "machine", machine)
    before = conditions(root)
    options = ["--all-or-nothing"] * case.all_or_nothing
    done = chmem("-s", root, "--json", *options, *sequence.arguments)
    after = conditions(root)
    document = json.loads(done.stdout)
    DOCUMENT.validate(document)
    told = {block["block"]: block for block in document["blocks"]}

    # The report and the machine agree.
    assert document["status"] == done.status
    for number, condition in after.items():
        if number in told:
            assert told[number]["after"] == as_documented(condition)
        else:
            assert condition == before[number]
    moved = [number for number in after if after[number] != before[number]]
    assert document["bytes_changed"] == len(moved) * document["block_size"]

    # Every block is as before or as asked; what could not be undone is admitted.
    kept = Condition(1, 0, "offline", None)
    for number, block in told.items():
        if block["result"] == "done":
            assert after[number] == sequence.target
        elif block["not_undone"] is None:
            stays = case.transition == "deconfig" and sequence.name == "disable"
            stays = stays and number == faulty and not case.all_or_nothing
            assert after[number] == (kept if stays else before[number])
        else:
            assert block["not_undone"]["errno"] == case.error
            assert case.times is None

    # The exit status follows.
    succeeded = [n for n in sequence.blocks if after[n] == sequence.target]
    if len(succeeded) == 4:
        assert (done.status, document["outcome"]) == (0, "done")
    elif case.all_or_nothing:
        stuck = any(block["not_undone"] for block in told.values())
        assert (done.status, document["outcome"]) == ((64, "partial") if stuck else (1, "failed"))
        assert stuck or not moved
    else:
        assert (done.status, document["outcome"]) == (64, "partial")
        assert len(succeeded) == 3
        assert told[faulty]["error"]["errno"] == case.error
        assert told[faulty]["result"] == "failed"
    # The kernel that answers EAGAIN once is asked again.
    assert (len(succeeded) == 4) == (case.error == "EAGAIN" and case.times == 1)


def test_the_matrix_of_faults_has_its_size(capsys: Any) -> None:
    with capsys.disabled():
        print(f"\nfault matrix: {len(MATRIX)} cases")
    # Deconfigure is in three sequences, and EIO is none of its failures.
    assert len(MATRIX) == (12 * len(ERRORS) - 3) * 3 * 2 * 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (("--online", "3=EBUSY"), ("--reconfigure", "-m", "1")),
        (("--online", "4=EBUSY", "--deconfig", "4=EBUSY"), ("-e",)),
    ],
)
def test_a_size_is_not_done_where_a_block_is_left_in_between(
    fault: tuple[str, ...], words: tuple[str, ...], machine: Make, chmem: Command, memsim: Command
) -> None:
    """Another block takes its place, so that the size is reached."""
    tree = machine(s390(first=4, standby=4))
    assert memsim("fault", tree, *fault).status == 0
    done = chmem("-s", tree, *words, "128m", "--retry", "0")
    assert "failed while undoing" in done.stderr
    assert done.status == 64


def test_all_or_nothing_ends_with_a_block_that_is_left_in_between(
    chmem: Command, tmp_path: Path
) -> None:
    """The kernel sets each block online in another zone, and lets none go offline again."""
    faults = {"offline": {str(number): "EBUSY" for number in range(4, 8)}}
    tree = make(
        tmp_path / "machine",
        {**s390(first=4, standby=4), "auto_online_blocks": "online_kernel", "faults": faults},
    )
    words = ["-e", "-z", "Movable", "128m", "--all-or-nothing", "--retry", "0"]
    done = chmem("-s", tree, *words)
    assert done.status == 64
    assert done.stderr.count("failed while undoing") == 1
    assert [found.state for found in conditions(tree).values()][4:] == ["online"] + ["absent"] * 3
