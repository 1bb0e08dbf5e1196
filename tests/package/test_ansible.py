"""The Ansible collection: ansible-test's checks, and a playbook over three simulated machines."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from commands import SCRIPTS, TOP, run_program
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout.notation import parse_layout
from simulated import make, x86

pytestmark = pytest.mark.needs("ansible")

PLAYBOOK = "tests/simulated.yml"

BOOTSTRAP = """\
import subprocess, sys

subprocess.run([sys.executable, "-m", "ensurepip"], check=True)
words = [word for word in sys.argv[1:] if not word.startswith("--no-")]
subprocess.run([sys.executable, "-m", "pip", "install", *words], check=True)
"""
"""In place of get-pip.py, which ansible-test takes from a site of its own."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory with the collection in it."""
    home = tmp_path_factory.mktemp("home")
    collection = home / "ansible_collections/memory_hotplug/tools"
    shutil.copytree(TOP / "ansible", collection)
    return home


def run(home: Path, name: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Ansible in the collection."""
    environment = {
        "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(home),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        **variables,
    }
    where = home / "ansible_collections/memory_hotplug/tools"
    return subprocess.run(
        [str(SCRIPTS / name), *words], cwd=where, env=environment, capture_output=True, text=True
    )


def test_ansible_test_sanity_is_green(home: Path) -> None:
    requirements = "ansible_test/_internal/python_requirements.py"
    text = Path(sysconfig.get_path("purelib"), requirements).read_text()
    (version,) = re.findall(r"pip='([\d.]+)'", text)
    cache = home / ".ansible/test/cache"
    cache.mkdir(parents=True)
    (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(BOOTSTRAP)
    if certificate := os.environ.get("PIP_CERT"):
        # ansible-test keeps the environment from pip.
        (home / ".config/pip").mkdir(parents=True)
        (home / ".config/pip/pip.conf").write_text(f"[global]\ncert = {certificate}\n")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    done = run(home, "ansible-test", "sanity", "--python", python)
    assert done.returncode == 0, done.stdout + done.stderr


MIB, GIB = 1 << 20, 1 << 30

WANTED: dict[str, dict[str, Any]] = {
    "s390-lpar": {
        "wanted": [
            {"blocks": "14-15", "state": "deconfigured"},
            {"blocks": "16-19", "memmap_on_memory": True},
        ],
        "total": 2 * GIB + 256 * MIB,
    },
    "x86-two-nodes": {
        "wanted": [{"blocks": "128-135", "zone": "Movable"}],
        "wanted_policy": {"auto_online": "online_movable"},
        "total": 16 * GIB,
    },
    "x86-dimm-slots": {
        "wanted": [{"range": "0x140000000-0x33fffffff", "size": "1G", "from": "highest"}],
        "total": 5 * GIB,
    },
}
"""Profiles -> variables of the playbook."""

DIFF = """\
--- before
+++ after
@@ -1,2 +1,2 @@
-memory14-15: online, DMA, no memmap on memory
-memory16-19: deconfigured, memmap on memory
+memory14-15: deconfigured, no memmap on memory
+memory16-19: online, Movable, memmap on memory
"""
"""For the first machine."""


class Play:
    """The playbook over three simulated machines."""

    def __init__(self, home: Path, scratch: Path) -> None:
        self._home = home
        self._inventory = scratch / "inventory.json"
        self.roots = {name: make(scratch / name, name) for name in WANTED}
        self.hosts: dict[str, dict[str, Any]] = {
            name: {
                **variables,
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "root": str(self.roots[name]),
            }
            for name, variables in WANTED.items()
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        inventory = {"simulated": {"hosts": self.hosts}}
        self._inventory.write_text(json.dumps(inventory))
        return run(self._home, "ansible-playbook", "-i", str(self._inventory), *words, PLAYBOOK)

    def changed(self, *words: str) -> dict[str, int]:
        """How many tasks changed each machine."""
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        recap = re.findall(r"^([\w-]+) +: ok=\d+ +changed=(\d+) ", done.stdout, re.M)
        return {name: int(count) for name, count in recap}

    def state(self) -> list[str]:
        return [run_program("lsmem", "-s", root, "-a").stdout for root in self.roots.values()]


@pytest.fixture
def play(home: Path, tmp_path: Path) -> Play:
    return Play(home, tmp_path)


def test_a_playbook_changes_each_machine_once(play: Play) -> None:
    assert play.changed() == dict.fromkeys(WANTED, 1)
    before = play.state()
    assert play.changed() == dict.fromkeys(WANTED, 0)
    assert play.state() == before


def test_check_mode_shows_the_difference_and_changes_nothing(play: Play) -> None:
    before = play.state()
    done = play.run("--check", "--diff", "--limit", "s390-lpar")
    assert (done.returncode, play.state()) == (0, before), done.stdout + done.stderr
    assert DIFF in done.stdout, done.stdout
    assert play.changed("--check") == dict.fromkeys(WANTED, 1)
    assert play.state() == before


def test_memory_that_is_missing_is_an_error_that_says_what_was_done(play: Play) -> None:
    play.hosts["s390-lpar"]["wanted"] = [{"size": "8G"}]
    done = play.run("--limit", "s390-lpar")
    assert done.returncode == 2
    assert '"changed": true' in done.stdout
    assert "4G are missing: the machine has no more memory for it" in done.stdout


def test_a_wrong_layout_changes_nothing(play: Play) -> None:
    before = play.state()
    for name, wanted in (("s390-lpar", [{"blocks": "3-1"}]), ("x86-two-nodes", [{"sise": "1G"}])):
        play.hosts[name]["wanted"] = wanted
        done = play.run("--limit", name)
        assert done.returncode == 2
        assert "Traceback" not in done.stdout + done.stderr
    assert play.state() == before


def test_util_linuxs_commands_are_not_taken(home: Path) -> None:
    words = ("localhost", "-m", "memory_hotplug.tools.memory_info", "-a", "directory=/usr/bin")
    done = run(home, "ansible", *words)
    assert done.returncode == 2
    assert "lsmem of memory-hotplug-tools is not in /usr/bin" in done.stdout


def test_every_module_has_its_documentation(home: Path) -> None:
    for module in ("memory_layout", "memory_info"):
        text = run(home, "ansible-doc", f"memory_hotplug.tools.{module}").stdout
        assert "EXAMPLES:" in text
        assert "sysroot" in text


def test_the_collection_builds_and_installs(home: Path, tmp_path: Path) -> None:
    build = ("collection", "build", str(TOP / "ansible"), "--output-path", str(tmp_path))
    built = run(home, "ansible-galaxy", *build)
    assert (built.returncode, built.stderr) == (0, "")
    (archive,) = tmp_path.glob("memory_hotplug-tools-*.tar.gz")
    install = ("collection", "install", "--offline", "-p", str(tmp_path), str(archive))
    done = run(home, "ansible-galaxy", *install, ANSIBLE_COLLECTIONS_PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    installed = tmp_path / "ansible_collections/memory_hotplug/tools"
    assert (installed / "plugins/modules/memory_layout.py").exists()
    assert (installed / "LICENSE").read_text() == (TOP / "LICENSE").read_text()


def known_keys(text: str) -> set[str]:
    """The keys that a layout may have where TEXT has an unknown one."""
    with pytest.raises(LayoutError, match="unknown key no") as raised:
        parse_layout(text, "x")
    (names,) = re.findall(r"\(known: (.*)\)", str(raised.value))
    return set(names.split(", "))


def test_the_module_knows_every_key_of_a_layout() -> None:
    text = (TOP / "ansible/plugins/modules/memory_layout.py").read_text()
    for name, layout in (
        ("ENTRY", "version = 1\n[[memory]]\nnode = 1\nno = 1\n"),
        ("POLICY", "version = 1\n[policy]\nno = 1\n"),
    ):
        table = text.partition(f"\n{name} = ")[2].partition("\n}")[0]
        assert set(re.findall(r'^    "(\w+)": ', table, re.M)) == known_keys(layout)


# The playbooks of the collection

FLEET_LAYOUT = """\
version = 1
[[memory]]
blocks = "0-3"
state = "online"
[[memory]]
blocks = "4-5"
state = "online"
zone = "Movable"
"""


class Fleet:
    """Four machines of one kind, and the playbooks over them."""

    def __init__(self, home: Path, scratch: Path) -> None:
        self._home, self._inventory = home, scratch / "inventory.json"
        names = [f"web{number}" for number in range(1, 5)]
        self.roots = {name: make(scratch / name, x86()) for name in names}
        self.layout = scratch / "20-fleet.toml"
        self.layout.write_text(FLEET_LAYOUT)

    def play(
        self, playbook: str, *words: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        hosts = {
            name: {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "memory_sysroot": str(root),
                "memory_commands": str(SCRIPTS),
                "memory_become": False,
            }
            for name, root in self.roots.items()
        }
        self._inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
        given = [word for pair in variables.items() for word in ("-e", "=".join(pair))]
        name = f"memory_hotplug.tools.{playbook}"
        return run(self._home, "ansible-playbook", "-i", str(self._inventory), name, *words, *given)

    def states(self, name: str) -> str:
        """The first letter of each block's zone, and - for a block that is offline."""
        words = ("-a", "-J", "--typed", "-o", "STATE,ZONES")
        done = run_program("lsmem", "-s", self.roots[name], *words)
        ranges = json.loads(done.stdout)["ranges"]
        return "".join("-" if one["state"] == "offline" else one["zones"][0][0] for one in ranges)

    def changed(self, done: subprocess.CompletedProcess[str]) -> dict[str, int]:
        recap = re.findall(r"^([\w-]+) +: ok=\d+ +changed=(\d+) ", done.stdout, re.M)
        return {name: int(count) for name, count in recap}


@pytest.fixture
def fleet(home: Path, tmp_path: Path) -> Fleet:
    return Fleet(home, tmp_path)


def test_rollout_changes_each_machine_once(fleet: Fleet) -> None:
    variables = {"memory_layout_file": str(fleet.layout), "memory_batch": "2"}
    done = fleet.play("rollout", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {fleet.states(name) for name in fleet.roots} == {"NNNNMM--"}
    for root in fleet.roots.values():
        assert (root / "etc/memory-layout.d/20-fleet.toml").read_text() == FLEET_LAYOUT
    again = fleet.play("rollout", **variables)
    assert fleet.changed(again) == dict.fromkeys(fleet.roots, 0)


def test_rollout_with_check_tells_and_changes_nothing(fleet: Fleet) -> None:
    before = {name: fleet.states(name) for name in fleet.roots}
    done = fleet.play("rollout", "--check", memory_layout_file=str(fleet.layout))
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(count > 0 for count in fleet.changed(done).values())
    assert {name: fleet.states(name) for name in fleet.roots} == before
    assert not any((root / "etc/memory-layout.d").exists() for root in fleet.roots.values())
    fleet.layout.write_text("version = 2\n")
    assert fleet.play("rollout", "--check", memory_layout_file=str(fleet.layout)).returncode != 0


def test_rollout_stops_at_the_first_machine_that_fails(fleet: Fleet) -> None:
    assert run_program("memsim", "fault", fleet.roots["web2"], "--online", "5=EIO").returncode == 0
    done = fleet.play("rollout", memory_layout_file=str(fleet.layout))
    assert done.returncode != 0
    assert [fleet.states(name) for name in fleet.roots] == ["NNNNMM--", *["NNNN----"] * 3]
    there = [(root / "etc/memory-layout.d").exists() for root in fleet.roots.values()]
    assert there == [True, False, False, False]
    assert "Traceback" not in done.stdout + done.stderr


def test_drift_names_the_machines_that_are_not_as_their_layout_says(fleet: Fleet) -> None:
    assert fleet.play("rollout", memory_layout_file=str(fleet.layout)).returncode == 0
    done = fleet.play("drift")
    assert '"msg": "drifted: none"' in done.stdout, done.stdout + done.stderr
    words = ("--disable", "--blocks", "5")
    assert run_program("chmem", "-s", fleet.roots["web3"], *words).returncode == 0
    done = fleet.play("drift")
    assert '"msg": "drifted: web3"' in done.stdout, done.stdout + done.stderr
    assert "0x0000000028000000-0x000000002fffffff is offline" in done.stdout
    assert fleet.changed(done) == dict.fromkeys(fleet.roots, 0)
    assert fleet.states("web3") == "NNNNM---"


def test_give_has_so_much_memory_online(fleet: Fleet) -> None:
    done = fleet.play("give", "--limit", "web1", memory_total="768M")
    assert done.returncode == 0, done.stdout + done.stderr
    assert fleet.states("web1").count("-") == 2
    assert fleet.changed(fleet.play("give", "--limit", "web1", memory_total="768M")) == {"web1": 0}
    missing = fleet.play("give", "--limit", "web1", memory_total="8G")
    assert missing.returncode == 2


def test_take_device_empties_a_device_or_changes_nothing(fleet: Fleet, tmp_path: Path) -> None:
    slots = [{"range": [0, 3]}, {"range": [8, 11], "config": False}]
    description = {"block_size": 128 * MIB, "auto_online_blocks": "online", "blocks": slots}
    root = fleet.roots["web1"] = make(tmp_path / "cxl", description)
    done = run_program("memsim", "plug", root, "--memory", "512M", "--as", "cxl")
    assert done.stdout == "memory blocks 8-11\n"
    assert run_program("memsim", "fault", root, "--offline", "9=EBUSY:1").returncode == 0
    checked = fleet.play("take_device", "--check", "--limit", "web1", memory_device="dax0.0")
    assert (checked.returncode, fleet.states("web1")) == (0, "NNNNNNNN")
    assert "can be taken out" not in checked.stdout.replace("Say that it can be taken out", "")
    failed = fleet.play("take_device", "--limit", "web1", memory_device="dax0.0")
    assert (failed.returncode, fleet.states("web1")) == (2, "NNNNNNNN")
    done = fleet.play("take_device", "--limit", "web1", memory_device="dax0.0")
    assert (done.returncode, fleet.states("web1")) == (0, "NNNN----")
    assert "dax0.0 is empty, and can be taken out" in done.stdout
    assert fleet.changed(fleet.play("take_device", "-l", "web1", memory_device="dax0.0")) == {
        "web1": 0
    }
