"""The service element: what it answers, and what it remembers."""

import struct

import pytest

from guest.s390.service_element import (
    ENTRIES,
    FACILITIES,
    MIB,
    READ_SCP_INFO,
    Answered,
    Refusal,
    Response,
    SclpCommand,
    ServiceElement,
    Storage,
    StorageChange,
)

LPAR = Storage(increment=128 * MIB, increments=32, assigned=frozenset(range(1, 17)))


def sccb(code: int = 0x01F0, size: int = 4096, number: int = 0) -> bytes:
    """An SCCB as QEMU leaves it: a response code, and what the kernel has put in."""
    return struct.pack(">H4xHH", size, code, number).ljust(size, b"\0")


def change(element: ServiceElement, what: StorageChange, number: int) -> int:
    """The response code for assigning, or unassigning, an increment."""
    answer = element.answer(what.value, sccb(size=16, number=number))
    assert answer is not None
    assert len(answer) == 16
    return int.from_bytes(answer[6:8], "big")


def listed(element: ServiceElement, number: int) -> tuple[int, int, list[int]]:
    """Response code of a storage element, the number of the last one, and its increments."""
    answer = element.answer(SclpCommand.READ_STORAGE_INFO | number << 8, sccb())
    assert answer is not None
    code, last, count = struct.unpack_from(">HHH", answer, 6)
    entries = struct.unpack_from(f">{count}I", answer, 16)
    return code, last, [entry >> 16 for entry in entries]


@pytest.mark.parametrize("command", sorted(READ_SCP_INFO))
@pytest.mark.parametrize(
    ("mib", "small", "large"), [(8, 8, 8), (128, 128, 128), (256, 0, 256), (2048, 0, 2048)]
)
def test_the_machine_says_its_increments_and_that_they_can_be_assigned(
    command: int, mib: int, small: int, large: int
) -> None:
    element = ServiceElement(Storage(mib * MIB, 300, frozenset({1})))
    answer = element.answer(command, sccb(Response.STORAGE_ASSIGNED))
    assert answer is not None
    assert struct.unpack_from(">HB", answer, 8) == (300, small)
    assert struct.unpack_from(">IQ", answer, 100) == (large, 300)
    assert struct.unpack_from(">Q", answer, 48)[0] & FACILITIES == FACILITIES


def test_an_sccb_that_qemu_found_too_short_stays_as_it_is() -> None:
    short = sccb(0x0300)
    assert ServiceElement(LPAR).answer(0x00120001, short) == short


def test_what_is_not_about_storage_is_not_answered() -> None:
    assert ServiceElement(LPAR).answer(0x00780005, sccb()) is None


def test_assigned_and_standby_increments_are_elements_of_their_own() -> None:
    element = ServiceElement(LPAR)
    assert listed(element, 0) == (Response.STORAGE_ASSIGNED, 1, [*range(1, 17)])
    assert listed(element, 1) == (Response.STORAGE_STANDBY, 1, [*range(17, 33)])
    assert listed(element, 2)[0] == Response.NO_ELEMENT


def test_standby_increments_need_not_be_listed() -> None:
    element = ServiceElement(Storage(128 * MIB, 32, frozenset({1}), listed=False))
    assert listed(element, 0) == (Response.STORAGE_ASSIGNED, 0, [1])
    assert listed(element, 1)[0] == Response.NO_ELEMENT


def test_more_increments_than_an_sccb_holds_are_several_elements() -> None:
    element = ServiceElement(Storage(MIB, 5000, frozenset(range(1, 2001))))
    elements = [listed(element, number) for number in range(5)]
    assert [code for code, _, _ in elements] == [Response.STORAGE_ASSIGNED] * 2 + [
        Response.STORAGE_STANDBY
    ] * 3
    assert max(len(increments) for _, _, increments in elements) == ENTRIES
    assert [number for _, _, part in elements for number in part] == [*range(1, 5001)]


def test_boot_memory_may_have_holes() -> None:
    element = ServiceElement(Storage(128 * MIB, 8, frozenset({1, 2, 5, 6})))
    assert listed(element, 0)[2] == [1, 2, 5, 6]
    assert listed(element, 1)[2] == [3, 4, 7, 8]


def test_an_increment_goes_and_comes() -> None:
    element = ServiceElement(LPAR)
    assert change(element, StorageChange.UNASSIGN, 6) == Response.DONE
    assert 6 not in element.assigned
    assert change(element, StorageChange.UNASSIGN, 6) == Response.ALREADY
    assert change(element, StorageChange.ASSIGN, 6) == Response.DONE
    assert change(element, StorageChange.ASSIGN, 6) == Response.ALREADY
    assert element.assigned == set(LPAR.assigned)


def test_an_increment_that_the_machine_does_not_have_is_refused() -> None:
    assert change(ServiceElement(LPAR), StorageChange.ASSIGN, 33) == Response.REFUSED


def test_a_refusal_has_the_code_that_was_asked_for_and_ends_when_it_is_used_up() -> None:
    element = ServiceElement(LPAR)
    element.refuse(StorageChange.ASSIGN, [17, 18], Refusal(0x0920, times=1))
    element.refuse(StorageChange.UNASSIGN, [1])
    assert change(element, StorageChange.ASSIGN, 17) == 0x0920
    assert 17 not in element.assigned
    assert change(element, StorageChange.ASSIGN, 17) == Response.DONE
    assert [change(element, StorageChange.UNASSIGN, 1) for _ in range(3)] == [Response.REFUSED] * 3
    element.permit()
    assert change(element, StorageChange.UNASSIGN, 1) == Response.DONE
    assert change(element, StorageChange.ASSIGN, 18) == Response.DONE


def test_a_refusal_with_the_code_of_success_is_one() -> None:
    element = ServiceElement(LPAR)
    element.refuse(StorageChange.ASSIGN, [17], Refusal(Response.ALREADY))
    assert change(element, StorageChange.ASSIGN, 17) == Response.ALREADY
    assert 17 in element.assigned


def test_the_hypervisor_gives_no_more_than_it_has() -> None:
    element = ServiceElement(Storage(128 * MIB, 32, frozenset(range(1, 17)), spare=1))
    assert change(element, StorageChange.ASSIGN, 17) == Response.DONE
    assert change(element, StorageChange.ASSIGN, 18) == Response.REFUSED
    assert change(element, StorageChange.UNASSIGN, 1) == Response.DONE
    assert change(element, StorageChange.ASSIGN, 18) == Response.DONE


def test_everything_that_is_asked_about_storage_is_in_the_log() -> None:
    element = ServiceElement(LPAR)
    change(element, StorageChange.ASSIGN, 17)
    listed(element, 1)
    assert element.log == [
        Answered(SclpCommand.ASSIGN, 17, Response.DONE),
        Answered(SclpCommand.READ_STORAGE_INFO, 1, Response.STORAGE_STANDBY),
    ]
    assert str(element.log[0]) == "ASSIGN 17 -> 0x0020"


@pytest.mark.parametrize(
    ("increment", "count", "assigned", "word"),
    [
        (MIB // 2, 4, {1}, "MiB"),
        (MIB, 0, {1}, "65535"),
        (MIB, 1 << 16, {1}, "65535"),
        (MIB, 4, set(), "assigned"),
        (MIB, 4, {5}, "assigned"),
        (MIB, 4, {0}, "assigned"),
    ],
)
def test_storage_that_no_machine_has_is_refused(
    increment: int, count: int, assigned: set[int], word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        Storage(increment, count, frozenset(assigned))
