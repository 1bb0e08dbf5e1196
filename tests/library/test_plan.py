"""What is to be done to a block follows from the block and the order alone."""

import itertools
from typing import Any

import pytest

from memory_hotplug.block import MemoryBlock, State, Zone
from memory_hotplug.causes import Cause
from memory_hotplug.change.plan import Action, Order, change_back, change_to
from memory_hotplug.condition import Condition
from memory_hotplug.errors import BadOrderError, NotReadError

ZONES = (Zone.NORMAL, Zone.MOVABLE)


def block(
    state: str = "offline", configured: bool | None = None, memmap: bool | None = None, **more: Any
) -> MemoryBlock:
    zones = (Zone.NORMAL,) if state == "online" else None if configured is False else ZONES
    values = {"zones": zones, **more}
    return MemoryBlock(7, State(state), configured=configured, memmap_on_memory=memmap, **values)


ONLINE, OFFLINE = block("online", True, False), block("offline", True, False)
DECONFIGURED = block("offline", False, True)
ON_X86, OFF_X86 = block("online"), block("offline")


def steps(given: MemoryBlock, action: Action, **how: Any) -> list[str]:
    found = change_to(given, Order(action, **how)).plan
    assert not found.refused
    assert found.already == (not found.steps)
    return [step.name for step in found.steps]


@pytest.mark.parametrize(
    ("given", "order", "expected"),
    [
        (DECONFIGURED, Order(Action.ENABLE), "configure online"),
        (
            DECONFIGURED,
            Order(Action.ENABLE, memmap_on_memory=False),
            "memmap-on-memory configure online",
        ),
        # auto_online_blocks may have set it online in another zone meanwhile.
        (DECONFIGURED, Order(Action.ENABLE, zone=Zone.MOVABLE), "configure offline online"),
        (OFFLINE, Order(Action.ENABLE), "online"),
        (OFFLINE, Order(Action.ENABLE, memmap_on_memory=False), "online"),
        (ONLINE, Order(Action.ENABLE), ""),
        (OFF_X86, Order(Action.ENABLE), "online"),
        (ONLINE, Order(Action.DISABLE), "offline deconfigure"),
        (ON_X86, Order(Action.DISABLE), "offline"),
        (OFFLINE, Order(Action.DISABLE), ""),
        (DECONFIGURED, Order(Action.DISABLE), ""),
        (DECONFIGURED, Order(Action.CONFIGURE), "configure"),
        (
            DECONFIGURED,
            Order(Action.CONFIGURE, memmap_on_memory=True),
            "memmap-on-memory configure",
        ),
        (OFFLINE, Order(Action.CONFIGURE), ""),
        (OFFLINE, Order(Action.DECONFIGURE), "deconfigure"),
        (DECONFIGURED, Order(Action.DECONFIGURE), ""),
        (
            ONLINE,
            Order(Action.RECONFIGURE, memmap_on_memory=True),
            "offline deconfigure memmap-on-memory configure offline online",
        ),
        (
            OFFLINE,
            Order(Action.RECONFIGURE, memmap_on_memory=True),
            "deconfigure memmap-on-memory configure offline",
        ),
        (DECONFIGURED, Order(Action.RECONFIGURE, memmap_on_memory=False), "memmap-on-memory"),
        (ONLINE, Order(Action.RECONFIGURE, memmap_on_memory=False), ""),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_a_plan_has_the_steps_for_each_condition(
    given: MemoryBlock, order: Order, expected: str
) -> None:
    found = change_to(given, order).plan
    assert " ".join(step.name for step in found.steps) == expected
    assert found.already == (not expected)
    assert found.refused is None


@pytest.mark.parametrize(
    ("given", "order", "cause", "step"),
    [
        (ONLINE, Order(Action.DECONFIGURE), Cause.NOT_OFFLINE, "deconfigure"),
        (
            ONLINE,
            Order(Action.ENABLE, memmap_on_memory=True),
            Cause.NOT_DECONFIGURED,
            "memmap-on-memory",
        ),
        (
            OFFLINE,
            Order(Action.CONFIGURE, memmap_on_memory=True),
            Cause.NOT_DECONFIGURED,
            "memmap-on-memory",
        ),
        (ONLINE, Order(Action.DISABLE, zone=Zone.MOVABLE), Cause.WRONG_ZONE, "offline"),
        # A machine whose memory needs no configuring: nothing of it is offline for a moment.
        (OFF_X86, Order(Action.CONFIGURE), Cause.NOT_CONFIGURABLE, "configure"),
        (OFF_X86, Order(Action.DECONFIGURE), Cause.NOT_CONFIGURABLE, "deconfigure"),
        (
            OFF_X86,
            Order(Action.APPLY, condition=Condition.DECONFIGURED),
            Cause.NOT_CONFIGURABLE,
            "deconfigure",
        ),
        (
            ON_X86,
            Order(Action.RECONFIGURE, memmap_on_memory=True),
            Cause.NOT_CONFIGURABLE,
            "memmap-on-memory",
        ),
        (
            OFF_X86,
            Order(Action.ENABLE, memmap_on_memory=True),
            Cause.NOT_CONFIGURABLE,
            "memmap-on-memory",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_a_step(
    given: MemoryBlock, order: Order, cause: Cause, step: str
) -> None:
    found = change_to(given, order).plan
    assert found.steps == ()
    assert found.refused is not None
    refused = found.refused
    assert (refused.number, refused.step, refused.cause) == (given.number, step, cause)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"action": Action.RECONFIGURE}, "to reconfigure, memmap_on_memory must be given"),
        (
            {"action": Action.RECONFIGURE, "memmap_on_memory": True, "zone": Zone.NORMAL},
            "a block that is reconfigured keeps its zone",
        ),
        (
            {"action": Action.DISABLE, "memmap_on_memory": True},
            "memmap_on_memory means nothing to disable",
        ),
        (
            {"action": Action.DECONFIGURE, "memmap_on_memory": False},
            "memmap_on_memory means nothing to deconfigure",
        ),
        (
            {"action": Action.ENABLE, "zone": Zone.NONE},
            "no block can be asked to be in zone None",
        ),
        (
            {"action": Action.ENABLE, "zone": Zone.UNKNOWN},
            "no block can be asked to be in zone Unknown",
        ),
    ],
)
def test_an_order_that_makes_no_sense_cannot_be_made(how: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadOrderError) as caught:
        Order(**how)
    assert str(caught.value) == reason


@pytest.mark.parametrize("left_out", ["zones", "configured", "memmap_on_memory"])
def test_nothing_is_planned_for_a_block_that_was_not_read(left_out: str) -> None:
    known = {"zones": ZONES, "configured": True, "memmap_on_memory": False}
    del known[left_out]
    with pytest.raises(NotReadError, match=f"^{left_out} of memory block 3 must be read before$"):
        change_to(MemoryBlock(3, State.ONLINE, **known), Order(Action.DISABLE))  # type: ignore[arg-type]  # by name


ALL = (ONLINE, OFFLINE, DECONFIGURED)


@pytest.mark.parametrize(("before", "now"), [*itertools.product(ALL, ALL)])
def test_the_way_back_ends_where_it_began(before: MemoryBlock, now: MemoryBlock) -> None:
    found = change_back(before, now).plan
    condition = (now.state, now.configured, now.memmap_on_memory)
    for step in found.steps:
        state, configured, memmap = condition
        as_now = MemoryBlock(7, state, zones=ZONES, configured=configured, memmap_on_memory=memmap)
        if not step.holds(as_now, found.target):
            # The kernel takes neither while the block is in use.
            assert step.name != "deconfigure" or state is State.OFFLINE
            assert step.name != "memmap-on-memory" or configured is False
            if step.name in ("offline", "online"):
                state = State(step.name)
            elif step.name == "memmap-on-memory":
                memmap = found.target.memmap_on_memory
            else:
                configured, state = step.name == "configure", State.OFFLINE
            condition = state, configured, memmap
    assert condition == (before.state, before.configured, before.memmap_on_memory)


def test_the_way_back_leads_to_the_zone_that_a_block_was_in() -> None:
    for zones in ((Zone.MOVABLE,), (Zone.NORMAL,)):
        before = MemoryBlock(7, State.ONLINE, zones=zones, configured=True, memmap_on_memory=False)
        assert change_back(before, OFFLINE).plan.target.zone is zones[0]


@pytest.mark.parametrize(
    ("zone", "valid", "word"),
    [
        (Zone.NORMAL, ZONES, "online"),
        (Zone.NORMAL, (Zone.MOVABLE, Zone.NORMAL), "online_kernel"),
        (Zone.MOVABLE, ZONES, "online_movable"),
        # The kernel tells no zone, so it is left to choose.
        (Zone.NONE, None, "online"),
        (Zone.UNKNOWN, ZONES, "online"),
    ],
)
def test_the_word_that_leads_back_into_a_zone(
    zone: Zone, valid: tuple[Zone, ...] | None, word: str
) -> None:
    before, after = block("online", zones=(zone,)), block(zones=valid)
    *_, step = (back := change_back(before, after).plan).steps
    assert step.word(after, back.target) == word
