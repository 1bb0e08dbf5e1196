"""What the kernel may remember of a mounted machine, and what it must ask for each time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commands import start_program
from memsim.sysfs import FIRMWARE, MEMORY
from simulated import make, write
from terminal import PATIENCE

pytestmark = pytest.mark.needs("fuse3", "/dev/fuse")


@contextmanager
def mounted(root: Path) -> Iterator[tuple[Path, int]]:
    """The mount point of a machine, and the process that serves it."""
    point = root.with_name("mnt")
    point.mkdir()
    server = start_program("memsim", "mount", "-f", root, point)
    try:
        while not point.is_mount():
            assert server.poll() is None
            time.sleep(0.02)
        yield point, server.pid
    finally:
        server.send_signal(signal.SIGCONT)
        subprocess.run(["fusermount3", "-u", point], check=True)
        server.communicate(timeout=PATIENCE)


def test_names_that_cannot_change_are_asked_for_once(tmp_path: Path) -> None:
    with mounted(make(tmp_path / "m", "x86-two-nodes")) as (point, server):
        state = point / MEMORY / "memory5/state"
        subprocess.run(["stat", state], check=True, stdout=subprocess.DEVNULL)
        os.kill(server, signal.SIGSTOP)
        # Another process, which can be waited for in vain.
        reader = subprocess.Popen(["stat", state], stdout=subprocess.DEVNULL)
        try:
            assert reader.wait(PATIENCE) == 0
        finally:
            os.kill(server, signal.SIGCONT)
            reader.wait()


def test_values_are_asked_for_each_time(tmp_path: Path) -> None:
    root = make(tmp_path / "m", "x86-two-nodes")
    with mounted(root) as (point, _server):
        state = point / MEMORY / "memory5/state"
        assert state.read_text() == "online\n"
        write(root, f"{MEMORY}/memory5/state", "offline")
        assert state.read_text() == "offline\n"
        state.write_text("online")
        assert state.read_text() == "online\n"
        assert (root / MEMORY / "memory5/state").read_text() == "online\n"


def test_blocks_that_are_configured_elsewhere_come_and_go_at_once(tmp_path: Path) -> None:
    root = make(tmp_path / "m", "s390-lpar")
    with mounted(root) as (point, _server):
        block = point / MEMORY / "memory16"
        for config, there in (("0", False), ("1", True), ("0", False)):
            write(root, f"{FIRMWARE}/memory16/config", config)
            assert (block / "state").exists() == there


def test_a_write_through_a_mount_takes_at_most_a_page(tmp_path: Path) -> None:
    with mounted(make(tmp_path / "m", "s390-lpar")) as (point, _server):
        file = os.open(point / FIRMWARE / "memory16/config", os.O_WRONLY)
        try:
            assert os.write(file, b"1".ljust(4097, b"x")) == 4096
        finally:
            os.close(file)
        assert (point / MEMORY / "memory16").is_dir()
