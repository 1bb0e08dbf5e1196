"""Addresses that a log of errors names."""

import pytest

from memory_hotplug.seen.error_log import Mentioned, addresses_in
from memory_hotplug.seen.kernel_log import failures_counted, poisoned


@pytest.mark.parametrize(
    ("line", "event", "address"),
    [
        # mm/memory-failure.c, and before Linux 4.6
        (
            "[  99.1] Memory failure: 0x7d010: recovery action for dirty LRU page: Recovered",
            "memory-failure",
            0x7D010000,
        ),
        (
            "MCE 0x7d010: Killing a:9 due to hardware memory corruption",
            "memory-failure",
            0x7D010000,
        ),
        ("MCE: 0x7d010: already hardware poisoned", "memory-failure", 0x7D010000),
        ("soft offline: 0x7d010: page already poisoned", "memory-failure", 0x7D010000),
        ("Soft offline: 0x7d010: page already poisoned", "memory-failure", 0x7D010000),
        ("soft_offline_page: 0x7d010: page already poisoned", "memory-failure", 0x7D010000),
        ("Injecting memory failure at pfn 0x7d010", "memory-failure", 0x7D010000),
        (
            "Injecting memory failure for pfn 0x7d010 at process virtual address 0x7f00",
            "memory-failure",
            0x7D010000,
        ),
        (
            "<...>-9 [000] 1.2: memory_failure_event: pfn=0x7d010 page_type=free action_result=Ok",
            "memory-failure",
            0x7D010000,
        ),
        ("RAS: Soft-offlining pfn: 0x7d010", "soft-offline", 0x7D010000),
        # arch/x86/kernel/cpu/mce/core.c, mcelog, and the tracepoint
        ("mce: [Hardware Error]: TSC 0 ADDR 67d5f4e40 MISC 8c PPIN 1f", "mce", 0x67D5F4E40),
        (
            "mce: Uncorrected hardware memory error in user-access at 67d5f4e40",
            "mce",
            0x67D5F4E40,
        ),
        ("MISC 21404c4c86 ADDR 67d5f4e40 ", "mce", 0x67D5F4E40),
        (
            "CPU: 0, MCGc/s: 1/0, MC9: 8c, IPID: 0, ADDR/MISC/SYND: 67d5f4e40/8c/0, RIP: 00",
            "mce",
            0x67D5F4E40,
        ),
        (
            " kworker-9 [001] 1.2: mce_record: bank=9, status= 8c, addr= 67d5f4e40",
            "mce",
            0x67D5F4E40,
        ),
        # arch/powerpc/kernel/mce.c
        (
            "MCE: CPU8: machine check (Severe) UE Load/Store DAR: 00007fff paddr: 00000003fa9c5400",
            "mce",
            0x3FA9C5400,
        ),
        ("    Physical address:  00000003fa9c5400", "mce", 0x3FA9C5400),
        # drivers/edac/edac_mc.c, and rasdaemon
        (
            "EDAC MC0: 1 CE memory read error on DIMM#0 (channel:1 slot:0 page:0x6c7f2 offset:0x4c0"
            " grain:32 syndrome:0x0)",
            "edac",
            0x6C7F24C0,
        ),
        (
            "mc_event: 2 Corrected errors: read on DIMM (mc: 0 location: 0:1 address: 0x6c7f24c0"
            " grain: 7)",
            "edac",
            0x6C7F24C0,
        ),
        # drivers/firmware/efi/cper.c and cper-arm.c
        ("{1}[Hardware Error]:   physical_address: 0x0000000012345000", "apei", 0x12345000),
        ("{1}[Hardware Error]:    physical fault address: 0x0000000012345000", "apei", 0x12345000),
        ("{1}[Hardware Error]:   physical_address_mask: 0x0000ffffffffff00", "apei", None),
        ("cxl_general_media: memdev=mem0 dpa=1000 hpa=12345000 region=region0", "cxl", 0x12345000),
        # no physical address
        ("traps: python[9] general protection fault ip:7f00 sp:7ffd error:0", "", None),
        ("MAC ADDR 00:11:22:33:44:55 of the card", "mce", None),
        ("[Hardware Error]: Error Addr: 0x000000012345000f, AMD's own", "", None),
    ],
)
def test_the_line_of_a_log_names_its_address(line: str, event: str, address: int | None) -> None:
    expected = [] if address is None else [Mentioned(address, event, 1, 1)]
    assert addresses_in([line], 4096) == expected


def test_lines_that_name_an_address_again_are_counted() -> None:
    lines = [
        "nothing",
        "EDAC MC0: 1 CE (page:0x10 offset:0x0)",
        "Memory failure: 0x10: recovery action for free buddy page: Recovered",
        "Memory failure: 0x10: already hardware poisoned",
        "soft offline: 0x10: page already poisoned",
    ]
    assert addresses_in(lines, 65536) == [
        Mentioned(0x100000, "edac", 2, 1),
        Mentioned(0x100000, "memory-failure", 3, 3),
    ]


def test_pages_are_poisoned_until_they_are_unpoisoned() -> None:
    lines = [
        "Memory failure: 0x30: recovery action for free buddy page: Recovered",
        "Memory failure: 0x10: recovery action for dirty LRU page: Failed",
        "Memory failure: 0x10: already hardware poisoned",
        "Memory failure: 0x20: recovery action for free buddy page: Recovered",
        "Unpoison: Software-unpoisoned page 0x20",
        "Soft offline: 0x40: page already poisoned",
        "a line",
        # What is refused poisons nothing.
        "Memory failure: 0x50: memory outside kernel control",
        "Memory failure: 0x60: recovery action for non struct page pfn: Ignored",
    ]
    assert poisoned(lines) == [0x10, 0x30, 0x40]


def test_an_error_log_counts_blocks_that_fail() -> None:
    lines = [
        "migrating pfn 8001 failed ret:1",
        "migrating pfn 8002 failed ret:1",
        "migrating pfn 1",
    ]
    assert failures_counted(lines, 1 << 27, 4096) == {1: 2}


@pytest.mark.parametrize(
    ("event", "number"),
    [
        ("mc_event: ", " address:0x7d010000"),
        ("mce_record: ", " addr=0x7d010000"),
        ("memory_failure_event: ", " pfn=0x7d010"),
        ("Injecting memory failure ", " pfn 0x7d010"),
    ],
)
def test_a_number_far_behind_its_event_is_another_ones(event: str, number: str) -> None:
    for between, count in ((300, 1), (600, 0)):
        assert len(addresses_in([f"{event}{'x' * between}{number}"], 4096)) == count
