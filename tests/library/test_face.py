"""The public face: a machine is held, looked at, changed, forecast and brought back by programs."""

import gc
import json
import math
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import memory_hotplug
import static_tree
from commands import Command, start_program, start_python
from holding import held_by_another
from memory_hotplug import (
    Action,
    BadMachineError,
    BadOrderError,
    Cause,
    Condition,
    HeldError,
    InUseError,
    Layout,
    LayoutError,
    Machine,
    MemoryHotplugError,
    NoSuchBlockError,
    NoUndoError,
    Order,
    RefusedError,
    Result,
    State,
    Terms,
    TooFewError,
    UnknownNameError,
    Watch,
    Work,
    Zone,
)
from memory_hotplug.attribute import MEMORY
from memory_hotplug.change.journal import HALF_DONE
from memory_hotplug.checks import (
    check_callable,
    check_type,
    optional,
    seconds,
    several,
    whole_number,
)
from memory_hotplug.trees.files import FileTree
from simulated import MIB, Make, conditions, half_done, leave_half_done, online, s390, write, x86

GIB = 1 << 30
BLOCK = 128 * MIB
untyped: Any = memory_hotplug
"""The library as a program without types sees it."""
WORD: Any = "disable"
"""What a program without types may give in place of an object."""
ENABLE, DISABLE = Order(Action.ENABLE), Order(Action.DISABLE)

LAYOUT = """
version = 1

[[memory]]
blocks = "4-5"
state = "online"

[[memory]]
blocks = "6"
state = "offline"
"""


def numbers(work: Work) -> list[int]:
    """The blocks that are changed, in the order of changing."""
    return [outcome.number for outcome in work if outcome.result is Result.DONE]


def online_on(machine: Machine) -> list[int]:
    return [one.number for one in machine.blocks(["state"]) if one.state is State.ONLINE]


# What to change


def test_the_face_works_as_the_manual_has_it() -> None:
    with Machine.simulated("s390-lpar") as machine:
        with machine.hold() as held:
            assert held.mended is None
            forecast = machine.forecast(ENABLE, size=GIB)
            done = [outcome.number for outcome in machine.change(ENABLE, size=GIB)]
        assert done == forecast.changed == list(range(16, 24))
        assert machine.forecast(DISABLE, size=GIB).nodes.keys() == {0}
        layout = Layout.parse(LAYOUT.replace("4-5", "24-25").replace('"6"', '"16"'))
        differences = layout.differences(machine)
        assert [change.number for change in differences.changes] == [24, 25, 16]
        work = machine.apply(layout)
        assert numbers(work) == [24, 25, 16]
        assert work.complete
        assert not layout.differences(machine)
        assert numbers(machine.undo()) == [16, 25, 24]
        assert online_on(machine) == list(range(24))
        assert machine.devices() == []
        assert [finding.number for finding in machine.why([3, 4])] == [3, 4]
        assert machine.policy.by_kernel is None


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ({"size": 2 * BLOCK}, [4, 5]),
        ({"blocks": [6, 4, 4]}, [4, 6]),
        ({"blocks": range(5, 7)}, [5, 6]),
        ({"node": 1}, [6, 7]),
        ({"node": 1, "size": BLOCK}, [6]),
        ({"node": 1, "blocks": range(4, 8)}, [6, 7]),
        ({"blocks": range(4, 8, 2)}, [4, 6]),
        ({"node": 7, "absent_ok": True}, []),
    ],
)
def test_memory_is_named_by_a_size_blocks_or_a_node(
    what: dict[str, object], changed: list[int]
) -> None:
    blocks = [
        {"range": [0, 3]},
        {"range": [4, 5], "state": "offline"},
        {"range": [6, 7], "state": "offline", "node": 1},
    ]
    machine = Machine.simulated({"block_size": BLOCK, "blocks": blocks})
    work = machine.change(ENABLE, **what)  # type: ignore[arg-type]  # one of several
    assert numbers(work) == changed
    assert work.changed == tuple(changed)
    assert work.complete is bool(changed)


DEVICES = """
import sys
from memory_hotplug import Machine
opened = []
with Machine.at(sys.argv[1]) as machine:
    sys.addaudithook(lambda event, about: event == "open" and opened.append(str(about[0])))
    print(len(machine.devices()), any(path.rstrip("'").endswith("/state") for path in opened))
"""


@pytest.mark.parametrize(("plugged", "told"), [(False, "0 False\n"), (True, "1 True\n")])
def test_devices_reads_the_states_of_blocks_only_where_there_are_devices(
    plugged: bool, told: str, machine: Make, memsim: Command
) -> None:
    root = machine(x86(blocks=[{"range": [0, 3]}, {"range": [4, 9], "config": 0}]))
    if plugged:
        assert memsim("plug", root, "--memory", "256M").status == 0
    output = start_python(DEVICES, root).stdout
    assert output
    assert output.read() == told


def test_all_memory_of_a_device_is_named_by_the_device(machine: Make, memsim: Command) -> None:
    room = [{"range": [0, 3]}, {"range": [4, 9], "config": 0}]
    root = machine(x86(blocks=room))
    for kind in ("virtio-mem", "dimm"):
        assert memsim("plug", root, "--as", kind, "--memory", "256M").status == 0
    with Machine.at(root) as found:
        dimm, virtio = found.devices()
        assert (dimm.name, dimm.blocks, dimm.online) == ("PNP0C80:00", (6, 7), ())
        assert (virtio.name, virtio.blocks) == ("virtio0", (4, 5))
        assert numbers(found.change(ENABLE, device="virtio0")) == [4, 5]
        assert found.devices()[1].online == (4, 5)
        assert found.forecast(DISABLE, device="virtio0").devices[0].left == 0
        for absent_ok in (False, True):
            with pytest.raises(UnknownNameError, match=r"dax7.*PNP0C80:00, virtio0"):
                list(found.change(ENABLE, device="dax7", absent_ok=absent_ok))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({}, "a size, blocks, a device or a node must be given"),
        ({"size": BLOCK, "blocks": [4]}, "either a size or blocks can be given"),
        ({"size": BLOCK + 1}, f"{BLOCK + 1} bytes are no multiple of the block size, {BLOCK}"),
        ({"size": -BLOCK}, f"{-BLOCK} bytes are no multiple of the block size, {BLOCK}"),
        ({"blocks": []}, "no block is given"),
        ({"blocks": range(4, 4)}, "no block is given"),
        ({"size": BLOCK, "prefer": "cheapest"}, "blocks can be preferred by auto, highest, best"),
        ({"size": BLOCK, "keep_free": -1}, "keep_free, retry and wait are 0 or more"),
        ({"size": BLOCK, "retry": -1}, "keep_free, retry and wait are 0 or more"),
        ({"size": BLOCK, "wait": -0.1}, "keep_free, retry and wait are 0 or more"),
        ({"size": BLOCK, "wait": math.nan}, "keep_free, retry and wait are 0 or more"),
        ({"size": BLOCK, "keep_free": 0, "force": True}, "either keep_free or force can be given"),
    ],
)
def test_what_has_no_meaning_is_refused_at_once(what: dict[str, object], said: str) -> None:
    machine = Machine.simulated(x86())
    with pytest.raises(BadOrderError, match=f"^{said}$"):
        machine.change(ENABLE, **what)  # type: ignore[arg-type]  # that is the point


WANTED = (
    r"(of type \w+|a (function|path|whole number|number of seconds)"
    r"|several (names|blocks|whole numbers)|a tree that is open, as Machine\.at opens one)"
)
"""What an argument must be, in words."""


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("action", lambda machine: Order(WORD)),
        ("zone", lambda machine: Order(Action.ENABLE, WORD)),
        ("memmap_on_memory", lambda machine: Order(Action.ENABLE, memmap_on_memory=WORD)),
        ("movable", lambda machine: Order(Action.ENABLE, movable=WORD)),
        ("condition", lambda machine: Order(Action.APPLY, condition=WORD)),
        ("order", lambda machine: machine.change("disable", size=BLOCK)),
        ("order", lambda machine: machine.change(Action.DISABLE, size=BLOCK)),
        ("order", lambda machine: machine.forecast("disable", size=BLOCK)),
        ("size", lambda machine: machine.change(DISABLE, size="128M")),
        ("size", lambda machine: machine.change(DISABLE, size=float(BLOCK))),
        ("size", lambda machine: machine.total(None)),
        ("memmap_on_memory", lambda machine: machine.total(BLOCK, memmap_on_memory="no")),
        ("blocks", lambda machine: machine.change(DISABLE, blocks="3-5")),
        ("blocks", lambda machine: machine.change(DISABLE, blocks=3)),
        ("blocks", lambda machine: machine.change(DISABLE, blocks=[3.5])),
        ("device", lambda machine: machine.change(DISABLE, device=3)),
        ("node", lambda machine: machine.change(DISABLE, node="0")),
        ("absent_ok", lambda machine: machine.change(DISABLE, node=9, absent_ok="no")),
        ("held", lambda machine: machine.change(DISABLE, size=BLOCK, held="held")),
        ("watch", lambda machine: machine.change(DISABLE, size=BLOCK, watch="watch")),
        ("force", lambda machine: machine.change(DISABLE, size=BLOCK, force="no")),
        ("all_or_nothing", lambda machine: machine.undo(all_or_nothing="all")),
        ("observe", lambda machine: machine.total(BLOCK, observe=1)),
        ("dry_run", lambda machine: machine.apply(untyped.Layout(), dry_run=1)),
        ("keep_free", lambda machine: machine.change(DISABLE, size=BLOCK, keep_free="1G")),
        ("keep_free", lambda machine: machine.undo(keep_free=1.5)),
        ("retry", lambda machine: machine.undo(retry="often")),
        ("wait", lambda machine: machine.undo(wait="long")),
        ("text", lambda machine: machine.undo(text=3)),
        ("forced", lambda machine: machine.change(DISABLE, size=BLOCK, forced=True)),
        ("size", lambda machine: machine.apply(untyped.Layout(), size=BLOCK)),
        ("layout_too", lambda machine: machine.undo(layout_too="yes")),
        ("layout", lambda machine: machine.apply(LAYOUT)),
        ("text", lambda machine: untyped.Layout.parse(None)),
        ("file", lambda machine: untyped.Layout.parse(LAYOUT, 3)),
        ("machine", lambda machine: untyped.Layout.parse(LAYOUT).differences("/")),
        ("tree", lambda machine: untyped.Machine("/")),
        ("root", lambda machine: untyped.Machine.at(3)),
        ("watch", lambda machine: machine.hold(watch="x")),
        ("timeout", lambda machine: machine.hold(timeout="x")),
        ("waiting", lambda machine: machine.hold(waiting="x")),
        ("unrecorded", lambda machine: machine.hold(unrecorded="x")),
        ("attributes", lambda machine: machine.read(3)),
        ("attributes", lambda machine: machine.read("state")),
        ("attributes", lambda machine: machine.read([3])),
        ("attributes", lambda machine: machine.ranges([3])),
        ("attributes", lambda machine: machine.read(["state"]).ranges(3)),
        ("numbers", lambda machine: machine.read(["state"], 3)),
        ("numbers", lambda machine: machine.read(["state"], ["3"])),
        ("numbers", lambda machine: machine.block("3")),
        ("numbers", lambda machine: machine.why("3")),
        ("index", lambda machine: machine.read(["state"]).block("3")),
        ("size", lambda machine: untyped.human(1.5)),
        ("text", lambda machine: untyped.parse_size(3)),
        ("machine", lambda machine: untyped.carry_out("/", DISABLE, [3])),
        ("order", lambda machine: untyped.carry_out(machine, "disable", [3])),
        ("blocks", lambda machine: untyped.carry_out(machine, DISABLE, "3")),
        ("blocks", lambda machine: list(untyped.carry_out(machine, DISABLE, ["3"]))),
        ("terms", lambda machine: untyped.carry_out(machine, DISABLE, [3], "fast")),
        *(
            (
                name,
                lambda machine, name=name: untyped.carry_out(
                    machine, DISABLE, [3], Terms(**{name: WORD})
                ),
            )
            for name in ("enough", "patience", "watch", "all_or_nothing", "observe", "guard")
        ),
        ("held", lambda machine: untyped.bring_back(machine, "held")),
        ("machine", lambda machine: untyped.bring_back("/", "held")),
        ("machine", lambda machine: untyped.Guard("/")),
        ("keep_free", lambda machine: untyped.Guard(machine, WORD)),
        ("balance", lambda machine: untyped.Guard(machine, balance=WORD)),
    ],
)
def test_what_is_of_a_wrong_type_is_refused_at_once_by_the_name_of_the_argument(
    name: str, wrong: Callable[[Any], object]
) -> None:
    with Machine.simulated(s390()) as machine, pytest.raises(TypeError) as caught:
        wrong(machine)
    said = rf"(each of )?{name} must be {WANTED}(, or None)?, not \w+|there is no argument {name}"
    assert re.fullmatch(said, str(caught.value))


def test_a_field_of_an_order_that_is_replaced_is_checked_too() -> None:
    with pytest.raises(TypeError, match="zone"):
        ENABLE._replace(zone=WORD)
    with pytest.raises(BadOrderError, match="memmap_on_memory means nothing to disable"):
        Order(Action.ENABLE, memmap_on_memory=True)._replace(action=Action.DISABLE)
    assert ENABLE._replace(zone=Zone.MOVABLE) == Order(Action.ENABLE, Zone.MOVABLE)
    assert type(ENABLE._replace(movable=False)) is Order


def test_a_condition_is_for_blocks_that_are_named() -> None:
    machine = Machine.simulated(x86())
    order = Order(Action.APPLY, condition=Condition.ONLINE)
    with pytest.raises(BadOrderError, match="to apply a condition, blocks must be given"):
        machine.change(order, size=BLOCK)
    assert numbers(machine.change(order, blocks=[2, 4])) == [4]


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda machine: machine.change(ENABLE, blocks=[4, 77, 99]), NoSuchBlockError, "77"),
        (lambda machine: machine.change(ENABLE, node=7), UnknownNameError, "node: 7 .known: 0"),
        (lambda machine: machine.change(ENABLE, size=BLOCK, node=7), UnknownNameError, "7"),
        (lambda machine: machine.total(5 * BLOCK, node=7), UnknownNameError, "7"),
        (lambda machine: machine.total(0, node=7), UnknownNameError, "7"),
    ],
)
def test_what_is_named_and_not_there_is_an_error_before_anything_is_changed(
    make: Callable[[Machine], Work], error: type[MemoryHotplugError], said: str
) -> None:
    machine = Machine.simulated(x86())
    for carried_out in (list, machine.forecast):
        with pytest.raises(error, match=said):
            carried_out(make(machine))
    assert online_on(machine) == [0, 1, 2, 3]


def test_what_there_is_can_be_changed_where_some_is_absent() -> None:
    machine = Machine.simulated(x86())
    work = machine.change(ENABLE, blocks=[4, 77, 99], absent_ok=True)
    assert numbers(work) == [4]
    assert not work.complete
    assert [run for one in work.absences for run in one.ranges] == [(77, 77), (99, 99)]


def test_memory_of_a_layout_that_is_not_there_is_told() -> None:
    machine = Machine.simulated(x86())
    layout = Layout.parse('version = 1\n[[memory]]\nblocks = "4,77"\nstate = "online"\n')
    work = machine.apply(layout)
    assert (numbers(work), work.complete, work.errors) == ([4], False, [])
    assert work.absences == layout.differences(machine).absences
    assert [run for one in work.absences for run in one.ranges] == [(77, 77)]


def test_a_position_that_a_table_does_not_have_is_an_error_of_the_library() -> None:
    table = Machine.simulated(x86()).read(["state"])
    with pytest.raises(UnknownNameError, match=r"^unknown position in the table: 999$"):
        table.block(999)


def test_a_total_is_met_from_both_sides_and_then_nothing_is_written() -> None:
    machine = Machine.simulated(s390(used=0))
    for want, changed in ((6, [4, 5]), (6, []), (5, [5])):
        work = machine.total(want * BLOCK)
        assert (numbers(work), work.complete) == (changed, True)


def test_where_a_block_fails_another_takes_its_place_and_the_error_is_kept() -> None:
    machine = Machine.simulated(s390(faults={"config": {"4": "EIO"}}))
    work = machine.change(ENABLE, size=2 * BLOCK)
    assert numbers(work) == [5, 6]
    assert work.complete
    (error,) = work.errors
    assert getattr(error, "cause", None) is Cause.STORAGE_REFUSED


def test_all_or_nothing_begins_nothing_for_which_there_is_too_little() -> None:
    machine = Machine.simulated(x86())
    with pytest.raises(TooFewError) as caught:
        list(machine.change(ENABLE, size=9 * BLOCK, all_or_nothing=True))
    assert (caught.value.asked, caught.value.possible) == (9 * BLOCK, 4 * BLOCK)
    assert isinstance(caught.value, RefusedError)
    assert online_on(machine) == [0, 1, 2, 3]


def test_all_or_nothing_undoes_what_was_done_before_a_failure() -> None:
    machine = Machine.simulated(x86(faults={"online": {"6": "ENOMEM"}}))
    work = machine.change(ENABLE, blocks=range(4, 8), all_or_nothing=True)
    assert [one.result.value for one in work][-2:] == ["taken back", "taken back"]
    assert (online_on(machine), work.changed, work.complete) == ([0, 1, 2, 3], (), False)


def test_a_setting_that_cannot_be_written_is_among_the_errors() -> None:
    machine = Machine.simulated(x86())
    layout = Layout.parse('version = 1\n[policy]\nauto_online = "online"\n')
    assert [one.word for one in layout.differences(machine).settings] == ["online"]
    write = machine.tree.write

    def refused(path: str, word: str) -> None:
        if path.endswith("auto_online_blocks"):
            raise PermissionError(13, "Permission denied", path)
        write(path, word)

    machine.tree.write = refused  # type: ignore[method-assign]  # as a container has it
    work = machine.apply(layout)
    assert list(work) == []
    assert not work.complete
    assert [str(error) for error in work.errors] == [
        f"cannot write to /{MEMORY}/auto_online_blocks: Permission denied"
    ]
    machine.tree.write = write  # type: ignore[method-assign]
    list(machine.apply(layout))
    assert machine.policy.settings["auto_online"] == "online"


def test_a_change_that_nobody_iterates_over_is_told() -> None:
    machine = Machine.simulated(x86())
    with pytest.warns(RuntimeWarning, match="nothing was done"):
        machine.change(ENABLE, size=BLOCK)
    assert online_on(machine) == [0, 1, 2, 3]


def test_a_change_is_carried_out_once() -> None:
    work = Machine.simulated(x86()).change(ENABLE, size=BLOCK)
    assert numbers(work) == [4]
    with pytest.raises(RuntimeError):
        list(work)


def test_who_leaves_the_loop_ends_the_work_and_can_undo_what_was_done(machine: Make) -> None:
    root = machine(s390())
    with Machine.at(root) as found:
        for outcome in found.change(ENABLE, size=4 * BLOCK):
            if outcome.number == 5:
                break
        assert online(root) == [0, 1, 2, 3, 4, 5]
        # Nothing is held, and nothing is half done.
        assert not (root / "run" / HALF_DONE).exists()
        assert numbers(found.undo(wait=0)) == [5, 4]
    assert online(root) == [0, 1, 2, 3]


def test_a_watch_stops_a_change() -> None:
    class Stopping(Watch):
        begun = 0

        def begin(self, number: int) -> None:
            self.begun += 1
            self.stopping = self.begun > 1

    machine = Machine.simulated(x86())
    assert numbers(machine.change(ENABLE, size=4 * BLOCK, watch=Stopping())) == [4, 5]


# The memory in use


def test_what_is_in_use_is_not_taken_and_the_error_says_what_can_go() -> None:
    machine = Machine.simulated(x86(16, used=GIB))
    with pytest.raises(InUseError) as caught:
        list(machine.change(DISABLE, size=GIB, keep_free=512 * MIB))
    error = caught.value
    # The struct pages take a part of what is not in use.
    assert (error.asked, error.possible, error.cause) == (GIB, 384 * MIB, Cause.KEPT_FREE)
    assert online_on(machine) == list(range(16))
    assert len(numbers(machine.change(DISABLE, size=error.possible, keep_free=512 * MIB))) == 3
    usage = machine.usage()
    assert usage
    assert usage.available >= 512 * MIB
    assert len(numbers(machine.change(DISABLE, size=512 * MIB, force=True))) == 4


def test_the_layout_of_the_machine_says_what_is_to_stay_available(machine: Make) -> None:
    root = machine(x86(16, used=GIB))
    (root / "etc/memory-layout.d").mkdir(parents=True)
    file = root / "etc/memory-layout.d/10.toml"
    file.write_text('version = 1\nkeep_free = "1G"\n')
    with Machine.at(root) as found:
        with pytest.raises(InUseError):
            list(found.change(DISABLE, size=BLOCK))
        file.write_text("version = 9\n")
        work = found.change(DISABLE, size=BLOCK)
        assert len(numbers(work)) == 1
        # A broken layout does not keep memory from being taken.
        assert isinstance(work.left_out, LayoutError)


# A dry run


@pytest.mark.parametrize(("blocks", "crowded"), [(3, False), (4, True)])
def test_a_forecast_tells_whether_movable_becomes_larger_than_the_kernel_lets_it(
    blocks: int, crowded: bool
) -> None:
    machine = Machine.simulated({**x86(4, 8), "auto_movable_ratio": 80})
    found = machine.forecast(Order(Action.ENABLE, Zone.MOVABLE), size=blocks * BLOCK)
    assert (len(found.changed), found.crowded) == (blocks, crowded)


def test_a_forecast_writes_nothing_and_tells_what_is_then_done(machine: Make) -> None:
    root = machine(s390(8, used=256 * MIB))
    with Machine.at(root) as found:
        before = conditions(root)
        forecast = found.forecast(DISABLE, size=2 * BLOCK)
        assert conditions(root) == before
        assert not (root / "run").exists()
        assert (forecast.changed, forecast.complete) == ([7, 6], True)
        assert forecast.writes[0] == (f"{MEMORY}/memory7/state", "offline")
        remains = forecast.machine
        assert remains
        assert (remains.total - remains.rest, remains.used) == (2 * BLOCK, 256 * MIB)
        assert forecast.nodes == {0: remains}
        assert forecast.doubtful == [7, 6]
        assert numbers(found.change(DISABLE, size=2 * BLOCK)) == forecast.changed


def test_a_forecast_of_a_layout_is_what_applying_it_does() -> None:
    machine = Machine.simulated(s390())
    layout = Layout.parse(LAYOUT)
    forecast = machine.forecast(layout)
    assert forecast.machine is None
    assert forecast.changed == numbers(machine.apply(layout)) == [4, 5, 6]


def test_all_that_can_be_done_can_be_forecast_and_done_then(machine: Make) -> None:
    root = machine(s390(8, used=256 * MIB))
    with Machine.at(root) as found:
        for work in (
            found.change(DISABLE, size=2 * BLOCK),
            found.total(7 * BLOCK),
            found.apply(Layout.parse(LAYOUT)),
            found.undo(),
        ):
            before = conditions(root)
            forecast = found.forecast(work)
            assert conditions(root) == before
            assert forecast.changed == numbers(work)
            assert forecast.changed


def test_a_forecast_takes_nothing_that_means_nothing_to_it() -> None:
    with Machine.simulated(x86()) as machine, Machine.simulated(x86()) as other:
        work = machine.total(5 * BLOCK)
        layout = Layout.parse(LAYOUT)
        with pytest.raises(BadOrderError, match=r"^size means nothing to a layout$"):
            machine.forecast(layout, size=BLOCK)
        with pytest.raises(BadOrderError, match="node means nothing to a layout"):
            machine.forecast(layout, node=0, keep_free=0)
        with pytest.raises(
            BadOrderError, match=r"^keep_free means nothing to work that knows how$"
        ):
            machine.forecast(work, keep_free=0)
        with pytest.raises(BadOrderError, match="another machine"):
            other.forecast(work)
        assert machine.forecast(layout, force=True).changed == [4, 5]
        assert numbers(work) == [4]
        with pytest.raises(BadOrderError, match="begun already"):
            machine.forecast(work)


def test_a_forecast_raises_what_the_change_would_raise() -> None:
    machine = Machine.simulated(x86(16, used=GIB))
    with pytest.raises(InUseError):
        machine.forecast(DISABLE, size=GIB, keep_free=GIB)


# Hold it


def test_held_error_tells_who_holds_the_machine(machine: Make) -> None:
    root = machine(s390())
    with Machine.at(root) as found, held_by_another(root) as other:
        for how in (
            lambda: found.hold(timeout=0),
            lambda: list(found.change(ENABLE, size=BLOCK, wait=0)),
            lambda: list(found.undo(wait=0)),
        ):
            with pytest.raises(HeldError) as caught:
                how()
            assert caught.value.pid == other
    assert online(root) == [0, 1, 2, 3]


def test_a_thread_that_holds_already_is_not_left_waiting_for_itself() -> None:
    machine = Machine.simulated(s390())
    with machine.hold():
        with pytest.raises(HeldError) as caught:
            machine.hold()
        assert caught.value.pid == os.getpid()
        assert numbers(machine.change(ENABLE, size=BLOCK)) == [4]
    with machine.hold(timeout=0):
        pass


def test_a_thread_does_not_wait_for_another_object_by_which_it_holds_the_machine(
    machine: Make,
) -> None:
    root = machine(s390())
    with Machine.at(root) as one, Machine.at(root) as other:
        with one.hold():
            for again in (other.hold, lambda: list(other.change(ENABLE, size=BLOCK))):
                with pytest.raises(HeldError, match="this process") as caught:
                    again()
                assert caught.value.pid == os.getpid()
        with other.hold(timeout=0), pytest.raises(HeldError):
            one.hold()
        assert numbers(one.change(ENABLE, size=BLOCK)) == [4]


def test_a_machine_that_is_closed_is_not_held_or_changed(machine: Make) -> None:
    root = machine(s390())
    for found in (Machine.at(root), Machine.simulated(s390())):
        found.close()
        for use in (
            found.hold,
            lambda: found.change(ENABLE, size=BLOCK),  # noqa: B023  # used in this turn
            found.undo,
            lambda: found.forecast(ENABLE, size=BLOCK),  # noqa: B023  # the same
        ):
            with pytest.raises(BadOrderError, match=r"^this machine is closed$"):
                use()
    with Machine.at(root) as found, found.hold(timeout=0):
        pass


def test_what_another_object_holds_can_be_given(machine: Make) -> None:
    root = machine(s390())
    with Machine.at(root) as one, Machine.at(root) as other, one.hold() as held:
        with pytest.raises(HeldError):
            list(other.change(ENABLE, size=BLOCK, wait=0))
        assert numbers(other.change(ENABLE, size=BLOCK, held=held)) == [4]


def test_what_holds_nothing_any_more_or_another_machine_is_refused() -> None:
    with Machine.simulated("s390-lpar") as machine, Machine.simulated("s390-lpar") as other:
        with machine.hold() as held:
            pass
        said = "^held does not hold this machine, or not any more$"
        with pytest.raises(BadOrderError, match=said):
            list(machine.change(DISABLE, size=BLOCK, held=held))
        with other.hold() as held, pytest.raises(BadOrderError, match=said):
            list(machine.change(DISABLE, size=BLOCK, held=held))
        assert list(machine.blocks()) == list(other.blocks())


@pytest.mark.parametrize("shared", [False, True])
def test_threads_that_change_a_machine_wait_for_each_other(shared: bool, machine: Make) -> None:
    root = machine(s390(4, 8, delays={"config": {str(block): 0.02 for block in range(4, 12)}}))
    one = Machine.at(root)
    done: list[list[int]] = []

    def enable() -> None:
        found = one if shared else Machine.at(root)
        done.append(numbers(found.change(ENABLE, size=4 * BLOCK)))
        if not shared:
            found.close()

    in_threads(enable, enable)
    one.close()
    assert sorted(done) == [[4, 5, 6, 7], [8, 9, 10, 11]]


def in_threads(*works: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def test_threads_may_share_a_machine_in_memory() -> None:
    machine = Machine.simulated(s390(4, 8, delays={"config": {"4": 0.1}}))
    done: list[list[int]] = []
    in_threads(*[lambda: done.append(numbers(machine.change(ENABLE, size=2 * BLOCK)))] * 4)
    assert sorted(done) == [[4, 5], [6, 7], [8, 9], [10, 11]]


def test_threads_read_a_machine_that_another_one_changes(machine: Make) -> None:
    seen: set[int] = set()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            assert found.read(["state", "zones", "nodes"]).numbers == list(range(16))
            seen.add(len(online_on(found)))

    def change() -> None:
        try:
            list(found.change(ENABLE, size=12 * BLOCK))
        finally:
            over.set()

    with Machine.at(machine(x86(4, 12))) as found:
        in_threads(read, read, change)
        assert seen <= set(range(4, 17))
        assert len(online_on(found)) == 16


HOLDING = """
import sys
from memory_hotplug import Action, Machine, Order
with Machine.at(sys.argv[1]) as machine, machine.hold():
    print("held", flush=True)
    sys.stdin.readline()
    for outcome in machine.change(Order(Action.ENABLE), size=128 << 20):
        print(outcome.number, flush=True)
"""


def test_chmem_waits_for_a_program_that_holds(machine: Make) -> None:
    root = machine(s390())
    reading, writing = os.pipe()
    # The program reads its standard input when it may go on.
    standard = os.dup(0)
    os.dup2(reading, 0)
    try:
        program = start_python(HOLDING, root)
    finally:
        os.dup2(standard, 0)
        os.close(standard)
    assert program.stdout
    assert program.stdout.readline() == "held\n"
    chmem = start_program("chmem", "-s", root, "-e", "128m")
    assert chmem.stderr
    assert chmem.stderr.readline().startswith(f"chmem: waiting for process {program.pid} (since ")
    assert online(root) == [0, 1, 2, 3]
    os.write(writing, b"\n")
    assert program.stdout.read() == "4\n"
    chmem.communicate(timeout=60)
    assert (program.wait(), chmem.returncode) == (0, 0)
    # Each has taken a block of its own.
    assert online(root) == [0, 1, 2, 3, 4, 5]
    for descriptor in (reading, writing):
        os.close(descriptor)


# A killed one

DYING = """
import os, signal, sys
from memory_hotplug import Action, Machine, Order
machine, after = Machine.at(sys.argv[1]), int(sys.argv[2])
write = machine.tree.write
def counted(path, word):
    global after
    if not after:
        os.kill(os.getpid(), signal.SIGKILL)
    after -= 1
    write(path, word)
machine.tree.write = counted
for outcome in machine.change(Order(Action.ENABLE, memmap_on_memory=False), size=3 * (128 << 20)):
    print(outcome.number, flush=True)
"""
"""Each block takes three writes."""


@pytest.mark.parametrize("writes", range(9))
def test_chmem_undoes_what_a_killed_program_left(
    writes: int, machine: Make, chmem: Command
) -> None:
    root = machine(s390())
    before = conditions(root)
    program = start_python(DYING, root, str(writes))
    said, _ = program.communicate(timeout=60)
    assert program.returncode == -signal.SIGKILL
    assert len(said.splitlines()) == writes // 3
    half = writes % 3 != 0
    undone = chmem("-s", root, "--undo", "--json")
    document = json.loads(undone.stdout)
    # What was half done is restored first, and then all that was done is undone.
    assert [one["block"] for one in document["restored"]] == ([4 + writes // 3] if half else [])
    assert undone.status == 0
    assert conditions(root) == before


def test_a_program_restores_what_a_killed_one_left_and_is_told(machine: Make) -> None:
    root = machine(s390())
    write(root, f"{MEMORY}/memory1/state", "offline")
    leave_half_done(root, half_done(1, pid=77))
    with Machine.at(root) as found:
        # A dry run knows it already, and does nothing.
        assert found.forecast(DISABLE, blocks=[1]).changed == [1]
        assert online(root) == [0, 2, 3]
        with found.hold() as held:
            assert held.mended
            assert (held.mended.left.pid, held.mended.outcome.number) == (77, 1)
    assert online(root) == [0, 1, 2, 3]


# Undo


def test_nothing_to_undo_is_an_error() -> None:
    with pytest.raises(NoUndoError, match="no change is recorded"):
        list(Machine.simulated(x86()).undo())


def test_a_damaged_record_is_not_undone(machine: Make) -> None:
    root = machine(x86())
    with Machine.at(root) as found:
        list(found.change(ENABLE, size=BLOCK))
        (root / "run/memory-hotplug/undo.json").write_text("{")
        with pytest.raises(NoUndoError, match=r"/undo\.json, is damaged") as caught:
            list(found.undo())
        assert caught.value.damaged


def test_what_chmem_made_to_stay_is_left_to_chmem(machine: Make, chmem: Command) -> None:
    root = machine(x86())
    assert chmem("-s", root, "-e", "128m", "--persistent").status == 0
    with Machine.at(root) as found:
        said = "^the last change is in the layout, too: chmem --undo undoes both$"
        with pytest.raises(NoUndoError, match=said):
            list(found.undo())
        assert online(root) == [0, 1, 2, 3, 4]
        # A change of a program is undone by both.
        list(found.change(ENABLE, size=BLOCK))
    assert chmem("-s", root, "--undo").status == 0
    assert online(root) == [0, 1, 2, 3, 4]


# A simulated machine


def test_a_machine_is_simulated_from_sizes_and_faults() -> None:
    machine = Machine.simulated(memory=2 * GIB, standby=GIB, faults={17: {"config": "EIO"}})
    assert machine.configurable
    assert machine.read(["state"]).total(online=True) == 2 * GIB
    assert numbers(machine.change(ENABLE, size=2 * BLOCK)) == [16, 18]
    usage = machine.usage()
    assert usage
    assert usage.used == 256 * MIB
    small = Machine.simulated(memory=GIB, block_size=64 * MIB)
    assert (small.block_size, small.configurable) == (64 * MIB, False)


def test_faults_come_to_those_of_a_description_and_end() -> None:
    machine = Machine.simulated(
        x86(faults={"online": {"4": "EIO"}}),
        faults={5: {"online": {"errno": "ENOMEM", "times": 1}}},
    )
    work = machine.change(ENABLE, blocks=[4, 5, 6])
    assert [outcome.result for outcome in work] == [Result.FAILED, Result.FAILED, Result.DONE]
    assert numbers(machine.change(ENABLE, blocks=[4, 5])) == [5]


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("profile", lambda: Machine.simulated()),
        ("profile", lambda: Machine.simulated("x86-laptop", memory=GIB)),
        ("memory", lambda: Machine.simulated(memory=3)),
        ("memory", lambda: Machine.simulated(standby=GIB)),
        ("memory", lambda: Machine.simulated(memory=-GIB)),
        ("memory", lambda: Machine.simulated(memory="2G")),  # type: ignore[arg-type]  # by mistake
        ("standby", lambda: Machine.simulated(memory=GIB, standby=5)),
        ("block_size", lambda: Machine.simulated(memory=GIB, block_size=5)),
        ("block_size", lambda: Machine.simulated({})),
        (r"blocks\[0\].zonez", lambda: Machine.simulated(x86(blocks=[{"zonez": 1}]))),
        ("faults", lambda: Machine.simulated(x86(), faults={3: {"offlin": "EBUSY"}})),
        ("faults", lambda: Machine.simulated(x86(), faults={3: {"offline": "EBUSI"}})),
        ("faults.offline", lambda: Machine.simulated(x86(), faults={33: {"offline": "EBUSY"}})),
        (
            "^faults: expected the number of a block, not '3'$",
            lambda: Machine.simulated(x86(), faults={"3": {}}),  # type: ignore[dict-item]  # by mistake
        ),
        (
            r"^faults\[3\]: expected {transition: error}, not 'EBUSY'$",
            lambda: Machine.simulated(x86(), faults={3: "EBUSY"}),  # type: ignore[dict-item]  # by mistake
        ),
        (
            r"^faults: expected transitions by block, not \[3\]$",
            lambda: Machine.simulated(x86(), faults=[3]),  # type: ignore[arg-type]  # by mistake
        ),
    ],
)
def test_an_error_of_a_description_names_the_key(key: str, make: Callable[[], Machine]) -> None:
    with pytest.raises(BadMachineError, match=key) as caught:
        make()
    assert "None:" not in str(caught.value)


def test_a_machine_in_memory_touches_nothing_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    machine = Machine.simulated(s390())
    assert list(tmp_path.iterdir()) == []
    list(machine.change(ENABLE, size=BLOCK))
    (place,) = tmp_path.iterdir()
    assert (place / "run/memory-hotplug/undo.json").exists()
    del machine
    # Python 3.13 keeps the frames of an error that a context has renamed until then.
    gc.collect()
    assert list(tmp_path.iterdir()) == []


FORKING = """
import os
from memory_hotplug import Machine
machine = Machine.simulated(memory=1 << 30)
place = machine.tree.place
if not os.fork():
    raise SystemExit
os.wait()
print(os.path.isdir(place))
"""


def test_a_copy_of_the_process_leaves_the_machine_its_files() -> None:
    said, _ = start_python(FORKING).communicate(timeout=60)
    assert said == "True\n"


# Look at it


def test_why_tells_of_each_block_what_is_known(machine: Make) -> None:
    with Machine.at(machine("x86-rhel8")) as found:
        first, last = found.why([0, 70])
    # removable of Linux 4.18 says that block 0 cannot go.
    assert (first.candidate, last.candidate) == ("no", "maybe")
    assert (first.blockers, first.free, first.page) == ((), None, None)


def test_why_counts_the_poisoned_pages_of_each_block(machine: Make) -> None:
    root = machine(x86(page_offline=True))
    # What is poisoned already, the kernel names in its log.
    for _ in range(2):
        write(root, f"{MEMORY}/soft_offline_page", "0x10000000")
    with Machine.at(root) as found:
        assert [one.poisoned for one in found.why([1, 2])] == [0, 1]


def test_the_policy_says_what_becomes_of_added_memory() -> None:
    policy = Machine.simulated("s390-debian").policy
    assert (policy.by_kernel, policy.too_movable) == ("online", False)


# A program that was written with the manual alone

SCALER = """
import sys
from memory_hotplug import Action, InUseError, Machine, MemoryHotplugError, Order

STEP, KEEP = 256 << 20, 512 << 20

def scale(machine, want):
    free = machine.usage().available
    action = Action.ENABLE if free < want else Action.DISABLE
    size = abs(want - free) // STEP * STEP
    if size:
        try:
            for outcome in machine.change(Order(action), size=size, keep_free=KEEP, wait=0.2):
                print(outcome.number, outcome.result.value, flush=True)
        except InUseError as error:
            print("in use", error.possible, flush=True)
        except MemoryHotplugError as error:
            print(type(error).__name__, flush=True)

with Machine.at(sys.argv[1]) as machine:
    for want in map(int, sys.argv[2:]):
        scale(machine, want)
"""
"""So much memory is to be free: what is missing is set online, what is more is set offline."""


def scaled(root: Path, *wants: int) -> list[str]:
    program = start_python(SCALER, root, *map(str, wants))
    said, _ = program.communicate(timeout=120)
    assert program.returncode == 0
    return said.splitlines()


def free_on(root: Path) -> int:
    with Machine.at(root) as machine:
        usage = machine.usage()
        assert usage
        return usage.available


def test_an_auto_scaler_survives_a_hypervisor_that_refuses(machine: Make) -> None:
    root = machine(s390(16, 8, used=GIB, faults={"config": {"16": "EIO", "18": "EIO"}}))
    assert scaled(root, GIB + 512 * MIB) == [
        *("16 failed", "17 done", "18 failed", "19 done", "20 done", "21 done")
    ]
    assert free_on(root) > GIB + 256 * MIB


def test_an_auto_scaler_never_takes_what_is_to_be_kept(machine: Make) -> None:
    root = machine(s390(16, 8, used=GIB))
    # Less than 1 GiB is free, because of the struct pages.
    assert scaled(root, 256 * MIB) == [f"in use {384 * MIB}"]
    assert scaled(root, 600 * MIB) == ["15 done", "14 done"]
    assert scaled(root, 0, 256 * MIB) == [f"in use {128 * MIB}"] * 2
    assert free_on(root) >= 512 * MIB


def test_an_auto_scaler_goes_on_once_a_second_writer_has_ended(machine: Make) -> None:
    root = machine(s390(16, 8, used=GIB))
    with held_by_another(root):
        assert scaled(root, GIB + 256 * MIB) == ["HeldError"]
    assert scaled(root, GIB + 256 * MIB) == ["16 done", "17 done"]


def test_an_auto_scaler_goes_on_after_a_kill(machine: Make) -> None:
    delays = {"online": {str(number): 600 for number in (17,)}}
    root = machine(s390(16, 8, used=GIB, delays=delays))
    program = start_python(SCALER, root, str(GIB + 512 * MIB))
    assert program.stdout
    assert program.stdout.readline() == "16 done\n"
    # It is configured, and is waited for.
    while not (root / MEMORY / "memory17").exists():
        time.sleep(0.01)
    program.kill()
    program.wait()
    assert scaled(root, GIB + 128 * MIB) == []
    with Machine.at(root) as found, found.hold() as held:
        assert held.mended
        assert held.mended.outcome.number == 17
    assert 17 not in online(root)


def test_the_auto_scaler_is_written_with_public_names_only() -> None:
    for program in (SCALER, HOLDING, DYING):
        imported = next(line for line in program.splitlines() if line.startswith("from memory"))
        names = imported.partition(" import ")[2].split(", ")
        assert set(names) <= set(memory_hotplug.__all__)
    assert len([line for line in SCALER.splitlines() if line.strip()]) <= 20
    assert issubclass(InUseError, MemoryHotplugError)


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (lambda: check_type("x", 3, str), "x must be of type str, not int"),
        (lambda: optional("x", 3, str), "x must be of type str, or None, not int"),
        (lambda: check_callable("x", "f"), "x must be a function, or None, not str"),
        (lambda: whole_number("x", 1.5), "x must be a whole number, not float"),
        (lambda: several("x", "12"), "x must be several whole numbers, not str"),
        (lambda: several("x", 3), "x must be several whole numbers, not int"),
        (lambda: several("x", [1, "2"]), "each of x must be a whole number, not str"),
        (lambda: seconds("x", "3"), "x must be a number of seconds, or None, not str"),
    ],
)
def test_a_wrong_type_is_told_with_what_was_wanted(check: Callable[[], object], says: str) -> None:
    with pytest.raises(TypeError) as caught:
        check()
    assert str(caught.value) == says


def test_of_a_few_blocks_that_are_named_only_these_and_the_first_are_read(tmp_path: Path) -> None:
    root = static_tree.plain(tmp_path, ["online"] * 4 + ["offline"] * 4)
    read = set[int]()

    class Watched(FileTree):
        def read_each(self, directory, numbers, *attributes, links=None):  # type: ignore[no-untyped-def]
            read.update(numbers)
            return super().read_each(directory, numbers, *attributes, links=links)

    with Machine(Watched(str(root))) as machine:
        (outcome,) = machine.change(Order(Action.ENABLE), blocks=[5])
        assert (outcome.number, outcome.after.state, read) == (5, State.ONLINE, {0, 5})
        assert [*machine.change(Order(Action.ENABLE), size=128 * MIB)]
        assert read == {*range(8)}


@pytest.mark.parametrize("there", [True, False])
def test_a_machine_that_is_gone_after_the_change_says_nothing_of_its_zones(
    there: bool, tmp_path: Path
) -> None:
    root = static_tree.plain(tmp_path / "tree", ["online"] + ["offline"] * 7)
    with Machine.at(root) as machine:
        order = Order(Action.ENABLE, Zone.MOVABLE)
        work = machine.change(order, blocks=range(1, 8), observe=False)
        assert [outcome.after.state for outcome in work] == [State.ONLINE] * 7
        if not there:
            shutil.rmtree(root)
        assert (work.tally.crowded(301) is not None) is there


def test_a_block_that_is_gone_once_it_was_listed_is_absent(tmp_path: Path) -> None:
    root = static_tree.plain(tmp_path, ["online"] * 4 + ["offline"] * 4)

    class Watched(FileTree):
        def names(self, directory: str) -> list[str]:
            found = super().names(directory)
            if directory == MEMORY:
                shutil.rmtree(root / MEMORY / "memory5", ignore_errors=True)
            return found

    with Machine(Watched(str(root))) as machine:
        work = machine.change(Order(Action.ENABLE), blocks=[5, 6], absent_ok=True)
        assert [outcome.number for outcome in work] == [6]
        assert [absence.ranges for absence in work.absences] == [[(5, 5)]]


@pytest.mark.parametrize("more", [0, 20])
def test_the_first_block_that_is_a_directory_says_whether_there_are_zones(
    more: int, tmp_path: Path
) -> None:
    root = static_tree.plain(tmp_path, ["online", "online", "offline", *["offline"] * more])
    shutil.rmtree(root / MEMORY / "memory0")
    (root / MEMORY / "memory0").touch()
    (root / MEMORY / "memory1/valid_zones").unlink()
    with Machine.at(root) as machine:
        work = machine.change(Order(Action.ENABLE), blocks=[0, *range(2, more + 3)], absent_ok=True)
        assert [outcome.number for outcome in work] == [*range(2, more + 3)]
        assert [absence.ranges for absence in work.absences] == [[(0, 0)]]
        assert [remark.blocks for remark in work.selection.remarks] == [(0,)]
    assert (root / MEMORY / "memory2/state").read_text() == "online"
