"""The dry run promises what the run then does, on every machine and for every action."""

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import static_tree
from chmem_py.document import schema
from chmem_py.output import Output
from chmem_py.recovery import after_recovery
from commands import SCRIPTS, Command, start_program
from layouts import MINE, layout
from memory_hotplug import Action, Machine, Order, Result
from memsim import directory
from memsim.kernel import Kernel
from memsim.profile import PROFILES, boot
from promises import as_if_done
from simulated import Make, conditions, half_done, leave_half_done, make, s390, write
from static_tree import MEMORY

ACTIONS = {
    "enable": ["-e"],
    "enable into Movable": ["-e", "-z", "Movable"],
    "enable into Normal": ["-e", "-z", "Normal"],
    "disable": ["-d"],
    "disable from Movable": ["-d", "-z", "Movable"],
    "configure": ["-c"],
    "configure with struct pages elsewhere": ["-c", "-m", "0"],
    "deconfigure": ["-g"],
    "reconfigure": ["--reconfigure", "-m", "1"],
    "reconfigure with struct pages elsewhere": ["--reconfigure", "-m", "0"],
}


def requests(machine: Machine) -> list[list[str]]:
    """Ranges at the edges of what the machine has, and sizes of few blocks."""
    ranges = list(machine.ranges(("state", "configured", "zones", "node")))
    found = []
    for one in ranges:
        for first, last in ((one.first, one.first + 1), (one.last - 1, one.last)):
            found.append(["-b", f"{max(first, one.first)}-{min(last, one.last)}"])
    mib = machine.block_size >> 20
    return [*found, [f"{mib}m"], [f"{3 * mib}m"]]


LARGE = ("huge", "ppc64-large")
"""Make of which a copy for each request would take minutes."""


@pytest.fixture(scope="module", params=[name for name in PROFILES if name not in LARGE])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine of each kind. Which pages of a block can be moved, where there is room for them,
    where holes are, and which memory arm64 keeps, only the kernel knows: none is in the way."""
    root: Path = tmp_path_factory.mktemp("dry-run") / request.param
    profile = PROFILES[request.param]
    blocks = [{**entry, "stays": False, "holes": False} for entry in profile["blocks"]]
    directory.create(root, boot({**profile, "blocks": blocks, "faults": {}, "used": 0}))
    return root


@pytest.mark.parametrize("action", ACTIONS)
def test_a_dry_run_and_a_run_agree(action: str, root: Path, chmem: Command) -> None:
    for request in requests(Machine.at(root)):
        words = ["-s", root, "--json", *ACTIONS[action], *request]
        promised, done = chmem(*words, "--dry-run"), chmem(*words)
        directory.Directory(root).change(Kernel.reboot)
        assert promised.status == done.status, (request, promised, done)
        assert outcomes(promised.stdout) == outcomes(done.stdout), request


def outcomes(document: str) -> list[tuple[Any, ...]]:
    """What became of each block, and by what."""
    return [
        (
            block["block"],
            block["result"],
            block["after"],
            [(step["path"], step["value"], step["errno"]) for step in block["steps"]],
            block["error"] and block["error"]["errno"],
        )
        for block in json.loads(document)["blocks"]
    ]


REQUESTS = [
    ["-e", "256m"],
    ["-e", "-m", "0", "-b", "4-5"],
    ["-d", "256m"],
    ["-c", "-b", "6"],
    ["--reconfigure", "-m", "1", "-b", "0-1"],
    ["-z", "Normal", "-e", "-b", "7"],
]


@pytest.mark.parametrize("arguments", REQUESTS, ids=" ".join)
def test_dry_run_prints_the_writes_of_the_run(
    arguments: list[str], chmem: Command, machine: Make
) -> None:
    root = machine(s390())
    before = conditions(root)
    dry = chmem("-s", root, "--dry-run", *arguments)
    assert conditions(root) == before
    *lines, comment = dry.stdout.splitlines()
    assert comment.startswith("# ")
    assert dry.status == 0
    planned = json.loads(chmem("-s", root, "--dry-run", "--json", *arguments).stdout)
    done = json.loads(chmem("-s", root, "--json", *arguments).stdout)
    steps = [step for block in done["blocks"] for step in block["steps"]]
    first, *writes = lines
    assert first.startswith("set -e  # ")
    assert writes == [
        f"memsim write {root} {step['path'].removeprefix(f'{root}/')} {step['value']}"
        for step in steps
    ]
    jsonschema.validate(planned, schema())
    assert planned["forecast"][-1]["text"] == comment.removeprefix("# ")
    assert as_if_done(planned) == done


@pytest.mark.parametrize("left", [False, True])
def test_a_dry_run_looks_once_at_what_a_run_finds(left: bool, tmp_path: Path) -> None:
    root = make(tmp_path / "machine", s390())
    if left:
        write(root, f"{MEMORY}/memory1/state", "offline")
        leave_half_done(root, half_done(1))
    output = Output()
    with Machine.at(root) as machine:
        found = after_recovery(machine, output)
        work = found.change(Order(Action.DISABLE), blocks=[1], dry_run=True)
        assert work.machine is found
        assert [outcome.result for outcome in work] == [Result.DONE]
        assert found.tree is not machine.tree
    assert len(output.restored) == left


def test_dry_run_knows_the_zone_that_a_block_comes_back_in(chmem: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "machine", "s390-lpar")
    arguments = ("-s", root, "--json", "-b", "--reconfigure", "-m1", "5")
    dry = json.loads(chmem(*arguments, "--dry-run").stdout)
    done = json.loads(chmem(*arguments).stdout)
    assert dry["blocks"][0]["after"] == done["blocks"][0]["after"]
    assert dry["blocks"][0]["after"]["zone"] == "DMA"


@pytest.mark.parametrize("policy", ["offline", "online", "online_kernel", "online_movable"])
@pytest.mark.parametrize(
    "arguments",
    [["-c", "4"], ["-e", "4"], ["-e", "-z", "Movable", "5"], ["-e", "-z", "Normal", "6"]],
    ids=" ".join,
)
def test_dry_run_knows_what_auto_online_blocks_makes_of_an_added_block(
    policy: str, arguments: list[str], chmem: Command, machine: Make
) -> None:
    root = machine(s390(auto_online_blocks=policy))
    words = ("-s", root, "--json", "-b", *arguments)
    planned = as_if_done(json.loads(chmem(*words, "--dry-run").stdout))
    assert planned == json.loads(chmem(*words).stdout)


def test_a_dry_run_documents_all_that_its_script_has_and_that_nothing_happened(
    chmem: Command, machine: Make
) -> None:
    """Of settings, of blocks, of files, and of the block that a killed process has left."""
    root = machine(s390())
    write(root, f"{MEMORY}/memory1/state", "offline")
    leave_half_done(root, half_done(1))
    layout(root, '[policy]\nauto_online = "online"\n[[memory]]\nsize = "640M"\n', MINE)
    words = ("-s", root, "--apply", "--install")
    dry = chmem(*words, "--dry-run").stdout.splitlines()
    planned = json.loads(chmem(*words, "--dry-run", "--json").stdout)
    jsonschema.validate(planned, schema())
    (restored,), (setting,) = planned["restored"], planned["settings"]
    assert (restored["block"], restored["result"]) == (1, "taken back")
    writes = [(step["path"], step["value"]) for step in restored["steps"]]
    writes.append((setting["path"], setting["value"]))
    writes += [
        (step["path"], step["value"]) for block in planned["blocks"] for step in block["steps"]
    ]
    assert [line for line in dry if line.startswith("memsim")] == [
        f"memsim write {root} {path.removeprefix(f'{root}/')} {value}" for path, value in writes
    ]
    files = [f"would write {file['path'].removeprefix(str(root))}" for file in planned["files"]]
    assert files
    comments = [line.removeprefix("# ") for line in dry if line.startswith("# ")]
    assert comments == [*(one["text"] for one in planned["forecast"]), *files]
    done = json.loads(chmem(*words, "--json").stdout)
    assert (planned.pop("messages"), done.pop("messages")) != ([], [])
    assert as_if_done(planned) == done


def test_dry_run_can_be_pasted_into_a_shell(chmem: Command, tmp_path: Path) -> None:
    root = static_tree.plain(tmp_path / "it's a tree", ["online", "offline", "offline"])
    script = chmem("-s", root, "--dry-run", "-e", "256m").stdout
    subprocess.run(["sh", "-e"], input=script, text=True, check=True)
    assert (root / f"{MEMORY}/memory2/state").read_text() == "online_movable\n"


@pytest.mark.parametrize("arguments", REQUESTS, ids=" ".join)
def test_dry_run_of_a_simulated_machine_can_be_pasted_into_a_shell(
    arguments: list[str], chmem: Command, tmp_path: Path
) -> None:
    roots = [make(tmp_path / name, s390()) for name in ("it's a machine", "twin")]
    script = chmem("-s", roots[0], "--dry-run", *arguments).stdout
    path = f"{SCRIPTS}:{os.environ['PATH']}"
    subprocess.run(["sh"], input=script, text=True, check=True, env={**os.environ, "PATH": path})
    assert chmem("-s", roots[1], *arguments).status == 0
    assert conditions(roots[0]) == conditions(roots[1])


def test_dry_run_pasted_into_a_shell_stops_at_the_first_line_that_fails(
    chmem: Command, tmp_path: Path
) -> None:
    root = static_tree.plain(tmp_path, ["online", "offline", "offline"])
    script = chmem("-s", root, "--dry-run", "-e", "256m").stdout
    state = root / MEMORY / "memory1/state"
    state.unlink()
    state.mkdir()
    done = subprocess.run(["sh"], input=script, text=True, stderr=subprocess.PIPE)
    assert done.returncode != 0
    assert (root / MEMORY / "memory2/state").read_text() == "offline\n"


def test_dry_run_of_nothing_is_a_comment(chmem: Command, machine: Make) -> None:
    done = chmem("-s", machine(s390()), "--dry-run", "-v", "-e", "-b", "0-3")
    assert (done.status, done.stdout) == (0, "# nothing would be changed\n")


def test_dry_run_shows_no_write_that_would_be_refused(
    chmem: Command, tmp_path: Path, lpar: Path
) -> None:
    make(tmp_path / "zvm", "s390-zvm")
    done = chmem("-s", tmp_path / "zvm", "--dry-run", "-b", "-c", "-m", "1", "40")
    assert done.status == 1
    assert "echo" not in done.stdout
    config = lpar / "sys/firmware/memory/memory17/config"
    config.rename(tmp_path / "outside")
    config.symlink_to(tmp_path / "outside")
    done = chmem("-s", lpar, "--dry-run", "-b", "-c", "17")
    assert done.status == 1
    assert "echo" not in done.stdout


@pytest.mark.parametrize("name", ["treeX", "a tree"])
def test_paths_of_a_dry_run_begin_with_the_root(name: str, chmem: Command, tmp_path: Path) -> None:
    root = static_tree.plain(tmp_path / name, ["online", "offline"])
    words = ["-s", root, "-e", "-b", "1", "--dry-run"]
    path = f"{root}/{MEMORY}/memory1/state"
    script = chmem(*words).stdout.splitlines()
    assert script[1] == f"echo online_movable > {shlex.quote(path)}"
    (step,) = json.loads(chmem(*words, "--json").stdout)["blocks"][0]["steps"]
    assert step["path"] == path


def test_dry_run_that_a_signal_ends_says_that_nothing_was_done(tmp_path: Path) -> None:
    # Of each block a line, in all more than a pipe takes: it cannot end before they are read.
    root = static_tree.plain(tmp_path, ["offline"] * 2000, "Normal")
    words = ("--dry-run", "--advice=never", "-e", "-z", "DMA", "-b", "0-1999")
    process = start_program("chmem", "-s", root, *words)
    assert process.stderr
    assert process.stderr.readline().startswith("chmem: Memory Block 0 ")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 143
    assert err.endswith("chmem: interrupted; enabled before that: nothing\n")
    assert "Memory Block 1999 " not in err
