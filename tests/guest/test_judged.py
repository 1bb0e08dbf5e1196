"""memsim judge on real kernels."""

import re

import pytest

from commands import run_program
from guest import fetch
from guest.arch import ARCHES
from vm.arches import with_guest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("arch", with_guest("s390x", "aarch64", "ppc64le", "riscv64"))
def test_a_real_kernel_and_the_simulator_agree(arch: str) -> None:
    done = run_program("memsim", "judge", "--arch", arch, "--writes", "60", "--limit", "3")
    kernel, tally = done.stdout.splitlines()
    assert done.returncode == 0
    assert re.match(
        rf"Linux \d.* for {arch}, pages of \d+K: \d+ blocks of the boot, \d+ oth", kernel
    )
    assert re.fullmatch(r"60 writes: \d+ agreed, .*, 0 unexplained", tally)


@pytest.mark.parametrize("arch", with_guest("x86_64"))
def test_a_kernel_does_not_differ_from_itself(arch: str) -> None:
    kernel = fetch.kernel(ARCHES[arch], "sid")
    assert kernel is not None
    words = ["--arch", arch, "--writes", "40", "--limit", "3", "--virtio-mem", "512M"]
    words += ["--against", str(kernel.image), "--against-modules", str(kernel.modules)]
    done = run_program("memsim", "judge", *words)
    first, one, again, other, verdict = done.stdout.splitlines()
    assert done.returncode == 0
    assert first == again
    assert one.endswith("0 unexplained")
    assert other.endswith("0 unexplained")
    assert verdict.endswith(" do not differ")
