"""Where service calls are found in code."""

import pytest

from guest.s390.servc import NoServiceCallError, jumps, operands, service_calls

OLD = bytes.fromhex("b220 0012 b222 0040")
NEW = bytes.fromhex("b220 0045 a738 0000 b222 0030")
OTHER = bytes.fromhex("b220 0012 b2b2 d000")


def test_both_forms_of_the_kernels_assembler_are_found_where_they_stand() -> None:
    code = b"\x07\x07" * 8 + OLD + b"\x07\x07" * 3 + NEW
    assert service_calls(code, 0x10000) == {0x10010, 0x1001E}


def test_the_opcode_by_chance_is_no_service_call() -> None:
    with pytest.raises(NoServiceCallError, match="0x20000"):
        service_calls(OTHER + b"\x07" + OLD, 0x20000)


def test_jumps_are_looked_for_in_the_decompressor_alone() -> None:
    image = OTHER.ljust(1 << 20, b"\0") + OTHER
    assert jumps(image) == {4}


def test_operands_are_the_registers_of_command_and_block() -> None:
    assert operands(NEW) == (4, 5)
    assert operands(OTHER[4:]) is None
