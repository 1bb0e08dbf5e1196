"""systemd takes the units of contrib/monitoring, of the packages and of --install as they are."""

import os
import subprocess
from pathlib import Path

import pytest

from memory_hotplug.layout.at_boot import unit_text

TOP = Path(__file__).parents[2]
MONITORING = TOP / "contrib/monitoring"
OURS = "/usr/lib/memory-hotplug-tools/bin"
"""Where the packages have the commands."""

METRICS = (MONITORING / "lsmem-metrics.service").read_text()
UNITS = {
    "lsmem-metrics.service": METRICS,
    "lsmem-metrics.timer": (MONITORING / "lsmem-metrics.timer").read_text(),
    "memory-layout.service": unit_text(f"{OURS}/chmem"),
}


def verified(place: Path, units: dict[str, str], name: str) -> subprocess.CompletedProcess[str]:
    """What systemd says of a unit. A program that is everywhere stands for ours."""
    for unit, text in units.items():
        for command in ("lsmem", "chmem"):
            text = text.replace(f"{OURS}/{command}", "/bin/true")
        (place / unit).write_text(text)
    words = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(place / name)]
    alone = {**os.environ, "SYSTEMD_UNIT_PATH": f"{place}:"}
    return subprocess.run(words, capture_output=True, text=True, env=alone)


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_no_fault_with_a_unit(name: str, tmp_path: Path) -> None:
    done = verified(tmp_path, UNITS, name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.needs("systemd-analyze")
def test_the_readme_has_an_override_of_the_service_that_systemd_takes(tmp_path: Path) -> None:
    text = (MONITORING / "README.md").read_text()
    override = text.partition("```ini\n")[2].partition("```")[0]
    assert override.splitlines()[:2] == ["[Service]", "ExecStart="]
    (tmp_path / "lsmem-metrics.service.d").mkdir()
    drop_in = tmp_path / "lsmem-metrics.service.d/override.conf"
    drop_in.write_text(override.replace("/usr/local/bin/lsmem", "/bin/true"))
    done = verified(tmp_path, UNITS, "lsmem-metrics.service")
    assert (done.returncode, done.stderr) == (0, "")
    # Without the empty line, a service with two commands is nothing to start more than once.
    drop_in.write_text(drop_in.read_text().replace("ExecStart=\n", ""))
    twice = UNITS | {"lsmem-metrics.service": METRICS.replace("oneshot", "simple")}
    assert "more than one ExecStart" in verified(tmp_path, twice, "lsmem-metrics.service").stderr
