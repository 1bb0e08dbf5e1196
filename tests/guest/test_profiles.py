"""The built-in machines that were made from a guest, and that guest."""

import base64
import shlex
from pathlib import Path

import pytest

from commands import start_program
from memsim.from_capture import differing
from memsim.profile import boot
from vm.arches import with_guest

pytestmark = pytest.mark.vm

SECONDS = 500
"""How long an emulated guest may take, on a busy machine."""

MADE_FROM = {"x86_64": ("x86-laptop-7.2", "8G"), "riscv64": ("riscv64-virt", "2G")}
"""The profile of an architecture, and the memory of the guest."""

CAPTURE = """
import base64
from memsim.capture import capture_tree
capture_tree("/tmp/guest.tar.gz", "/")
print(base64.b64encode(open("/tmp/guest.tar.gz", "rb").read()).decode())
"""


@pytest.mark.parametrize("arch", with_guest(*MADE_FROM))
def test_a_guest_has_the_files_of_its_profile(arch: str, tmp_path: Path) -> None:
    profile, memory = MADE_FROM[arch]
    options = shlex.split(f"--arch {arch} --memory {memory} --auto-online online")
    program = start_program("memsim", "boot", *options, "--", "python3", "-c", CAPTURE)
    stdout, stderr = program.communicate(timeout=SECONDS)
    assert (program.returncode, stderr) == (0, "")
    archive = tmp_path / "guest.tar.gz"
    archive.write_bytes(base64.b64decode(stdout))
    assert differing(boot(profile), archive) == ()
