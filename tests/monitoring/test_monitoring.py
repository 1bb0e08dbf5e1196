"""contrib/monitoring: the rules, the dashboard over a fleet of simulated machines, the timer."""

import json
import shlex
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from simulated import make, x86

MONITORING = Path(__file__).parents[2] / "contrib/monitoring"
RULES = MONITORING / "memory-hotplug.rules.yml"
LAYOUT = """\
version = 1
[[memory]]
blocks = "0-3"
state = "online"
[[memory]]
blocks = "4-7"
state = "offline"
"""
DRIFTED, BROKEN = "web3", "web4"
FLEET = ("web1", "web2", DRIFTED, BROKEN, "web5")
ADDRESS = 0x18005678


def service() -> list[str]:
    """The command of the service, without its program."""
    text = (MONITORING / "lsmem-metrics.service").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("ExecStart="))
    program, *words = shlex.split(line.removeprefix("ExecStart="))
    assert program == "/usr/lib/memory-hotplug-tools/bin/lsmem"
    return words


def panels() -> list[tuple[str, str]]:
    """The title and the query of each panel of the dashboard."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    return [(panel["title"], panel["targets"][0]["expr"]) for panel in dashboard["panels"]]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class Prometheus:
    """A Prometheus that scrapes a node_exporter for each machine of the fleet."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/query?"

    def query(self, text: str) -> dict[str, float]:
        """Instance -> value."""
        with urllib.request.urlopen(self._url + urllib.parse.urlencode({"query": text})) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return {one["metric"]["instance"]: float(one["value"][1]) for one in result}

    def wait_for(self, text: str, count: int) -> None:
        """Wait until a query has so many answers."""
        for _ in range(600):
            try:
                if len(self.query(text)) == count:
                    return
            except OSError:
                pass  # it is not up yet
            time.sleep(0.2)
        raise TimeoutError(text)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Five machines with a layout."""
    top = tmp_path_factory.mktemp("fleet")
    roots = {name: make(top / name, x86()) for name in FLEET}
    for root in roots.values():
        layouts = root / "etc/memory-layout.d"
        layouts.mkdir(parents=True)
        (layouts / "10-fleet.toml").write_text(LAYOUT)
    return roots


@pytest.fixture
def prometheus(
    machines: dict[str, Path], tmp_path: Path, memsim: Command, chmem: Command, lsmem: Command
) -> Iterator[Prometheus]:
    """One machine is drifted, and on another one memory failed, and was set offline for good."""
    assert chmem("-s", machines[DRIFTED], "--enable", "--blocks", "4").status == 0
    assert memsim("poison", machines[BROKEN], hex(ADDRESS)).status == 0
    (place,) = json.loads(lsmem("-s", machines[BROKEN], "--at", hex(ADDRESS), "-J").stdout)[
        "addresses"
    ]
    gone = ("--disable", "--blocks", str(place["block"]), "--persistent")
    assert chmem("-s", machines[BROKEN], *gone).status == 0
    targets = []
    with ExitStack() as running:
        for name, root in machines.items():
            directory = tmp_path / name
            directory.mkdir()
            words = service()
            words[-1] = str(directory / Path(words[-1]).name)
            assert lsmem("-s", root, *words).status == 0
            port = free_port()
            command = [
                *("prometheus-node-exporter", "--collector.disable-defaults"),
                *("--collector.textfile", f"--collector.textfile.directory={directory}"),
                f"--web.listen-address=127.0.0.1:{port}",
            ]
            running.enter_context(ended(command))
            targets.append({"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}})
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "node", "static_configs": targets}],
        }
        (tmp_path / "prometheus.yml").write_text(json.dumps(config))
        port = free_port()
        command = [
            *("prometheus", f"--config.file={tmp_path / 'prometheus.yml'}"),
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        running.enter_context(ended(command))
        server = Prometheus(port)
        server.wait_for("memory_hotplug:movable_ratio", len(FLEET))
        yield server


class ended:  # noqa: N801  # it is used as a function
    """A process that is ended afterwards."""

    def __init__(self, command: list[str]) -> None:
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.mark.needs("promtool", "prometheus-node-exporter")
def test_each_panel_of_the_dashboard_has_the_five_machines_and_one_is_drifted(
    prometheus: Prometheus,
) -> None:
    found = {title: prometheus.query(expr) for title, expr in panels()}
    assert {title: sorted(values) for title, values in found.items()} == {
        title: sorted(FLEET) for title in found
    }
    assert len(found) >= 8
    drifted = found["Blocks that differ from the layout"]
    assert {name for name, blocks in drifted.items() if blocks} == {DRIFTED}
    failed = found["Pages that failed"]
    assert {name: pages for name, pages in failed.items() if pages} == {BROKEN: 1}
    online = found["Memory online"]
    sizes = [online[name] / (128 << 20) for name in ("web1", DRIFTED, BROKEN)]
    assert sizes == [4, 5, 3]
    prometheus.wait_for('ALERTS{alertname="MemoryPoisoned", alertstate="firing"}', 1)


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    "command",
    [("check", "rules", RULES.name), ("test", "rules", "memory-hotplug.tests.yml")],
)
def test_the_rules_pass_their_tests(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *command], cwd=MONITORING, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_alert_has_a_test() -> None:
    rules, tests = RULES.read_text(), (MONITORING / "memory-hotplug.tests.yml").read_text()
    alerts = [line.split()[-1] for line in rules.splitlines() if "- alert:" in line]
    assert len(alerts) >= 7
    assert [name for name in alerts if f"alertname: {name}\n" not in tests] == []


def test_the_service_writes_the_metrics_that_the_rules_look_at(
    machines: dict[str, Path], lsmem: Command, tmp_path: Path
) -> None:
    words = service()
    assert Path(words[-1]) == Path("/var/lib/prometheus/node-exporter/memory-hotplug.prom")
    assert lsmem("-s", machines["web5"], *words[:-1], tmp_path / "m.prom").status == 0
    assert "memory_hotplug_layout_blocks" in (tmp_path / "m.prom").read_text()
