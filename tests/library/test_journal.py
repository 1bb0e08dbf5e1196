"""The journal: the record of the last change, for --undo, as data."""

import json
import resource
import signal
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_blocks import block
from memory_hotplug.block import State
from memory_hotplug.change import journal
from memory_hotplug.change.journal import last_change
from memory_hotplug.change.lock import hold
from memory_hotplug.change.plan import Action, Change, Order, change_to
from memory_hotplug.change.undo import (
    UNDO,
    Record,
    Rewritten,
    Undone,
    format_record,
    format_row,
    json_line,
    parse_record,
)
from memory_hotplug.condition import condition_of
from memory_hotplug.layout.settings import ATTRIBUTES, Setting
from memory_hotplug.machine import Machine
from memory_hotplug.trees.root_files import LONGEST, append_to_file
from simulated import Make, s390
from static_tree import MEMORY

BEFORE = [
    block(1),
    block(2, zones="Movable", memmap=True),
    block(3, State.OFFLINE, "Normal Movable"),
    block(4, State.OFFLINE, None, False, True),
    block(5, zones=None, configured=None, memmap=None),
    block(6, State.GOING_OFFLINE),
]


def test_the_record_of_a_change_is_read_back() -> None:
    settings = {"auto_online": "online_movable", "auto_movable_numa_aware": "N"}
    record = parse_record(format_record(BEFORE, settings))
    assert [(row.first, row.last) for row in record.rows] == [(n, n) for n in range(1, 7)]
    assert record.settings == settings
    assert parse_record(format_record([])) == Record([])
    undone = ([block(7), block(8)], {"auto_online": "online"})
    record = parse_record(format_record(BEFORE, settings, undone=undone))
    here = [block(number, State.OFFLINE) for number in range(10)]
    assert record.present_undone(here) == [block(7), block(8)]
    assert record.undone.settings == {"auto_online": "online"}
    # A block that was just going offline is to be online.
    settled = [*BEFORE[:-1], block(6, zones=None)]
    assert [condition_of(row.block) for row in record.rows] == list(map(condition_of, settled))


@given(
    st.dictionaries(
        st.sampled_from(sorted(ATTRIBUTES)),
        st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=40),
    ),
    st.builds(
        Rewritten,
        st.sampled_from(["", " ", "version = 1\n"]),
        st.text(),
        st.sampled_from([None, False, True]),
    ),
)
def test_settings_and_a_layout_in_a_record_are_read_back(
    settings: dict[str, str], layout: Rewritten
) -> None:
    record = parse_record(format_record(BEFORE[:1], settings, layout, ((), settings)))
    assert (record.settings, record.layout) == (settings, layout)
    assert record.undone == (Undone([], settings) if settings else Undone())


@pytest.mark.parametrize(
    "value",
    [
        {
            "block": 5,
            "state": "online",
            "zone": None,
            "configured": True,
            "memmap_on_memory": False,
        },
        {"before": [], "settings": {}, "numbers": [0, -1, 1 << 59]},
        ["", "a-b_C9", 'a "word"', "back\\slash", "line\nend", "\0", "\x7f", "größer", "\udce4"],
    ],
)
def test_a_line_of_json_is_that_of_the_module_json(value: object) -> None:
    assert json_line(value) == json.dumps(value).encode() + b"\n"


def test_the_record_has_a_row_for_blocks_that_were_alike_and_changed_in_a_row() -> None:
    order = [9, 8, 7, 3, 4, 5, 6, 20, 2, 1]
    record = parse_record(format_record([*map(block, order), block(0, zones="DMA")]))
    ends = [(row.first, row.last) for row in record.rows]
    assert ends == [(9, 7), (3, 6), (20, 20), (2, 1), (0, 0)]
    here = [block(number, State.OFFLINE, "Normal Movable") for number in range(12)]
    present = record.present(here)
    assert [now.number for _, now in present] == [9, 8, 7, 3, 4, 5, 6, 2, 1, 0]
    assert present[-1] == (block(0, zones="DMA"), here[0])
    assert present[-2] == (block(1), here[1])


WRONG = "no (record|row|settings|layout|(number|condition) of a block)|a block twice"
DAMAGED: list[Any] = [None, 3, {"before": []}, {"before": [3], "settings": {}}]
"""What a record may have as what was undone already, and chmem does not write."""
REWRITTEN: dict[str, Any] = Rewritten("", "")._asdict()
ROW: dict[str, Any] = {"first": 3, "last": 3, **condition_of(block(3))}


@pytest.mark.parametrize(
    "record",
    [
        [],
        {"version": 1, "settings": {}, "layout": None},
        {"version": 1, "before": []},
        {"version": 1, "before": [], "settings": {}, "layout": None, "more": 1},
        {"version": 2, "before": [], "settings": {}, "layout": None},
        *(
            {"version": 1, "before": [], "settings": {}, "layout": None, "undone": undone}
            for undone in DAMAGED
        ),
        {"version": 1, "before": {}, "settings": {}, "layout": None},
        *(
            {"version": 1, "before": [], "settings": settings, "layout": None}
            for settings in (
                "auto_online",
                {"state": "online"},
                {"auto_online": None},
                {"auto_online": "on\nline"},
                {"auto_online": ""},
                {"auto_online": "o" * 41},
            )
        ),
        *(
            {"version": 1, "before": [], "settings": {}, "layout": layout}
            for layout in (
                *([], {}, "", {"before": "", "after": ""}),
                *({**REWRITTEN, key: 1} for key in REWRITTEN),
                {**REWRITTEN, "more": None},
            )
        ),
        *(
            {"version": 1, "before": rows, "settings": {}, "layout": None}
            for rows in (
                [[]],
                [{key: value for key, value in ROW.items() if key != "zone"}],
                [{**ROW, "more": None}],
                *([{**ROW, "first": number}] for number in (-1, 1 << 60, True, 1.0, "3", None)),
                [{**ROW, "last": -1}],
                *([{**ROW, "state": state}] for state in ("gone", None, 1)),
                [{**ROW, "zone": 3}],
                [{**ROW, "configured": False}],
                [{**ROW, "state": "offline"}],
                *([{**ROW, key: 1}] for key in ("configured", "memmap_on_memory")),
                # A block in two rows.
                [ROW, ROW],
                [{**ROW, "last": 9}, {**ROW, "first": 12, "last": 9}],
            )
        ),
    ],
    ids=json.dumps,
)
def test_a_record_that_chmem_does_not_write_is_damaged(record: object) -> None:
    with pytest.raises(ValueError, match=f"^({WRONG})$"):
        parse_record(json.dumps(record).encode())


def test_a_record_at_the_ends_of_what_is_allowed_is_read() -> None:
    row = {**ROW, "first": 0, "last": (1 << 60) - 1}
    text = json.dumps({"version": 1, "before": [row], "settings": {}, "layout": None})
    record = parse_record(text.encode())
    assert (record.rows[0].lowest, record.rows[0].highest) == (0, (1 << 60) - 1)
    # Only blocks that the machine has cost anything.
    assert len(record.present([block(5), block(7)])) == 2
    for damaged in (b"", b"[" * 100_000, b"\xff"):
        with pytest.raises(ValueError, match=r"^(too deep$|Expecting|'utf-8')"):
            parse_record(damaged)


def test_a_change_is_recorded_before_it_begins_and_again_as_it_ended(machine: Make) -> None:
    root = machine(s390())
    with Machine.at(root) as opened, hold(str(root), this_machine=False) as held:
        blocks = [opened.block(number) for number in (1, 2, 3)]
        changes = [change_to(one, Order(Action.DISABLE)) for one in blocks]
        setting = Setting("auto_online", "offline", "online")
        held.begin(changes, [setting])
        found = last_change(str(root))
        assert found is not None
        assert [(row.first, row.last) for row in found.rows] == [(1, 3)]
        assert condition_of(found.rows[0].block) == condition_of(blocks[0])
        assert found.settings == {"auto_online": "offline"}
        held.finish(blocks[1:2], [])
    found = last_change(str(root))
    assert found is not None
    assert [(row.first, row.last) for row in found.rows] == [(2, 2)]
    assert not found.settings


def test_an_undoing_is_recorded_before_it_begins_and_then_what_is_left_or_was_undone(
    machine: Make,
) -> None:
    root = machine(s390())
    with hold(str(root), this_machine=False) as held:
        # Somebody has removed the record meanwhile.
        held.finish_undo([block(5)], {}, None)
    assert last_change(str(root)) == parse_record(format_record([block(5)]))
    with hold(str(root), this_machine=False) as held:
        for record in (format_record([block(1)], undone=([block(2)], {})), b"x" * LONGEST):
            held.begin_undo(record)
            assert (root / UNDO).read_bytes() == record
        held.begin_undo(b"x" * (LONGEST + 1))
        assert (root / UNDO).read_bytes() == b"x" * LONGEST
        held.finish_undo([], {}, b"the rest")
        assert (root / UNDO).read_bytes() == b"the rest"
        held.finish_undo([block(3)], {"auto_online": "offline"}, None)
    assert last_change(str(root)) == Record(
        parse_record(format_record([block(3)])).rows, {"auto_online": "offline"}
    )


def changes_of(opened: Machine, *numbers: int) -> list[Change]:
    return [change_to(opened.block(number), Order(Action.DISABLE)) for number in numbers]


def test_a_change_that_changed_nothing_leaves_the_last_one_to_be_undone(machine: Make) -> None:
    root = machine(s390())
    with Machine.at(root) as opened:
        for numbers, changed in (((1,), True), ((2, 3), False)):
            with hold(str(root), this_machine=False) as held:
                changes = changes_of(opened, *numbers)
                held.begin(changes, [])
                held.finish([one.block for one in changes] if changed else [], [])
        found = last_change(str(root))
    assert found is not None
    assert [row.first for row in found.rows] == [1]


def test_a_record_that_nobody_could_read_takes_the_older_one_away(machine: Make) -> None:
    root = machine(s390())
    with Machine.at(root) as opened, hold(str(root), this_machine=False) as held:
        held.begin(changes_of(opened, 1), [])
        assert last_change(str(root))
        many = [block(2 * number) for number in range(LONGEST // 80)]
        held.finish(many, [])
    assert last_change(str(root)) is None


def test_a_block_that_was_not_foreseen_is_added_to_the_record_as_it_is(machine: Make) -> None:
    root = machine(s390(20, 0))
    record = root / UNDO
    with Machine.at(root) as opened, hold(str(root), this_machine=False) as held:
        held.begin(changes_of(opened, 1), [])
        first, file = record.read_bytes(), record.stat().st_ino
        for number in range(2, 20):
            before = record.read_bytes()
            held.touch(opened.block(number))
            # Nothing that was written is written again.
            assert record.read_bytes().startswith(before)
            assert record.stat().st_ino == file
            held.touch(opened.block(number))
        added = record.read_bytes()[len(first) :]
        assert added.count(b"\n") == 18
        found = last_change(str(root))
        assert found is not None
        assert [row.first for row in found.rows] == list(range(1, 20))
        assert {row.block.state for row in found.rows} == {State.ONLINE}
        held.finish([opened.block(3)], [])
    assert record.read_bytes().count(b"\n") == 1


def test_a_record_that_would_get_too_long_is_written_anew_and_shorter(
    machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = machine(s390(20, 0))
    monkeypatch.setattr(journal, "LONGEST", 1000)
    with Machine.at(root) as opened, hold(str(root), this_machine=False) as held:
        held.begin(changes_of(opened, 0), [])
        for number in range(1, 20):
            held.touch(opened.block(number))
            assert (root / UNDO).stat().st_size <= 1000
        found = last_change(str(root))
    assert found is not None
    assert found.rows[-1].last == 19
    assert len(found.present([block(number) for number in range(20)])) == 20


def test_a_row_that_a_killed_process_has_not_written_whole_does_not_count() -> None:
    whole = format_record([block(1)]) + format_row(block(5))
    for end in (b"", b'{"first": 6, "la'):
        found = parse_record(whole + end)
        assert [(row.first, row.last) for row in found.rows] == [(1, 1), (5, 5)]
    for damaged in (b"{}\n", b"x\n", format_row(block(5))):
        with pytest.raises(ValueError, match=r"^(no row|a block twice|Expecting)"):
            parse_record(whole + damaged)


def test_a_record_that_cannot_be_written_is_told_once(machine: Make) -> None:
    root = machine(s390())
    (root / UNDO).mkdir(parents=True)
    (root / UNDO / "in the way").touch()
    told: list[OSError] = []
    with (
        Machine.at(root) as opened,
        hold(str(root), this_machine=False, unrecorded=told.append) as held,
    ):
        blocks = [opened.block(number) for number in (1, 2)]
        held.begin([], [])
        held.finish([], [])
        assert told == []
        held.begin(changes_of(opened, 1), [])
        held.touch(blocks[1])
        held.finish(blocks, [])
        held.add_layout(Rewritten("", "x"))
    assert [error.filename for error in told] == [f"/{UNDO}"]


def test_what_does_not_fit_to_the_end_of_a_file_leaves_it_as_it_was(
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))
    try:
        with pytest.raises(OSError, match="File too large: '/file'"):
            append_to_file(str(tmp_path), "file", b"y" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert file.read_bytes() == b"x" * 10
    append_to_file(str(tmp_path), "file", b"y")
    assert file.read_bytes() == b"x" * 10 + b"y"


def test_a_tree_of_mere_files_keeps_no_record(tmp_path: Path) -> None:
    (tmp_path / MEMORY).mkdir(parents=True)
    with hold(str(tmp_path), this_machine=False) as held:
        held.begin([change_to(block(1), Order(Action.DISABLE))], [])
    assert not (tmp_path / UNDO).exists()
