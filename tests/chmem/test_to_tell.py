"""Who must be told after a change, because the kernel does not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from simulated import Make, s390, x86
from static_tree import put

KDUMP = (
    "chmem: kdump may still have the memory map from before: the kernel does not update it"
    " (crash_hotplug is not 1)\n"
)
KDUMP_CONFIG = f"{KDUMP}chmem: kdump-config reload loads it anew\n"
KUBELET = (
    "chmem: kubelet counts the memory when it starts, and this change came later\n"
    "chmem: systemctl restart kubelet has it count again\n"
)
LATE = (
    "chmem: auto_online_blocks is offline when the kernel starts (/proc/cmdline): memory that a"
    " driver adds before the layout is applied is treated so\n"
    "chmem: memhp_default_state=online on the kernel's command line sets it from the start\n"
)
DEBIAN = (
    'SUBSYSTEM=="memory", ACTION=="online", PROGRAM="/usr/sbin/kdump-config try-reload"\n'
    'SUBSYSTEM=="memory", ACTION=="offline", PROGRAM="/usr/sbin/kdump-config try-reload"\n'
)
SUSE = 'SUBSYSTEM=="memory", ACTION=="add|remove", GOTO="kdump_try_restart"\n'

Files = Callable[[Path], None]


def load_kdump(root: Path, tool: str = "usr/sbin/kdump-config") -> Path:
    put(root, "sys/kernel/kexec_crash_loaded", "1\n")
    if tool:
        put(root, tool)
    return root


def run_kubelet(root: Path, name: str = "kubelet") -> Path:
    put(root, "proc/1/comm", "systemd\n")
    put(root, "proc/77/comm", f"{name}\n")
    return root


@pytest.mark.parametrize("crash_hotplug", [None, 0, 1])
def test_kdump_is_told_where_the_kernel_does_not(
    crash_hotplug: int | None, machine: Make, chmem: Command
) -> None:
    root = load_kdump(machine(x86(crash_hotplug=crash_hotplug)))
    told = "" if crash_hotplug else KDUMP_CONFIG
    for action in ("-e", "-d"):
        done = chmem("-s", root, action, "256m")
        assert (done.status, done.stdout, done.stderr) == (0, "", told)


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        ("sbin/kdump-config", "kdump-config reload loads it anew"),
        ("usr/bin/kdumpctl", "kdumpctl reload loads it anew"),
        (
            "usr/lib/systemd/system/kdump.service",
            "systemctl restart kdump.service loads it anew",
        ),
        ("", "load the crash kernel anew, as it was loaded"),
    ],
)
def test_the_advice_has_the_command_of_the_distribution(
    tool: str, line: str, machine: Make, chmem: Command
) -> None:
    root = load_kdump(machine(x86()), tool)
    assert chmem("-s", root, "-e", "128m").stderr == f"{KDUMP}chmem: {line}\n"


def rules(path: str, text: str) -> Files:
    return lambda root: put(root, path, text)


def mask(root: Path) -> None:
    rules("lib/udev/rules.d/50-kdump-tools.rules", DEBIAN)(root)
    (root / "etc/udev/rules.d").mkdir(parents=True)
    (root / "etc/udev/rules.d/50-kdump-tools.rules").symlink_to("/dev/null")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rules("lib/udev/rules.d/50-kdump-tools.rules", DEBIAN), ""),
        (rules("usr/lib/udev/rules.d/98-kexec.rules", DEBIAN), ""),
        (
            rules("usr/lib/udev/rules.d/98-kexec.rules", f"#{DEBIAN}".replace("\n", "\n#")),
            KDUMP_CONFIG,
        ),
        (rules("usr/lib/udev/rules.d/70-kdump.rules", SUSE), KDUMP_CONFIG),
        (rules("usr/lib/udev/rules.d/80-vm.rules", DEBIAN), KDUMP_CONFIG),
        (mask, KDUMP_CONFIG),
        (rules("sys/kernel/kexec_crash_loaded", "0\n"), ""),
        (lambda root: (root / "sys/kernel/kexec_crash_loaded").unlink(), ""),
    ],
)
def test_kdump_that_is_told_already_or_not_loaded_needs_nothing(
    change: Files, told: str, machine: Make, chmem: Command
) -> None:
    root = load_kdump(machine(x86()))
    change(root)
    done = chmem("-s", root, "-e", "128m")
    assert (done.status, done.stderr) == (0, told)


def test_on_s390_the_crash_kernel_finds_out_itself(machine: Make, chmem: Command) -> None:
    root = load_kdump(machine(s390()))
    assert chmem("-s", root, "-e", "128m").stderr == ""


@pytest.mark.parametrize(("name", "told"), [("kubelet", KUBELET), ("kubelet-proxy", "")])
def test_kubelet_is_told_where_it_runs(name: str, told: str, machine: Make, chmem: Command) -> None:
    root = run_kubelet(machine(x86()), name)
    for action in ("-e", "-d"):
        assert chmem("-s", root, action, "128m").stderr == told


@pytest.mark.parametrize(
    "words", [("-e", "128m", "--dry-run"), ("-b", "-e", "0-3"), ("--policy", "auto_online=online")]
)
def test_nobody_is_told_where_no_memory_went_online_or_offline(
    words: tuple[str, ...], machine: Make, chmem: Command
) -> None:
    root = run_kubelet(load_kdump(machine(x86())))
    done = chmem("-s", root, *words)
    assert (done.status, done.stderr) == (0, "")


def test_what_was_changed_before_a_failure_is_told(
    machine: Make, chmem: Command, memsim: Command
) -> None:
    root = run_kubelet(machine(x86()))
    assert memsim("fault", root, "--online", "5=EIO").status == 0
    done = chmem("-s", root, "-b", "-e", "4-5")
    assert (done.status, done.stderr.count(KUBELET)) == (64, 1)


@pytest.mark.parametrize("option", [(), ("--keep-free", "1m")])
def test_a_pipe_has_nothing_of_it_and_json_has_all(
    option: tuple[str, ...], machine: Make, chmem: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHMEM_ADVICE")
    root = run_kubelet(load_kdump(machine(x86())))
    done = chmem("-s", root, "-e", "128m")
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    done = chmem("-s", root, "-d", "128m", "--json", *option)
    assert done.stderr == ""
    assert [(one["code"], one["values"]) for one in json.loads(done.stdout)["messages"]] == [
        ("KDUMP_NOT_TOLD", {"command": "kdump-config reload"}),
        ("KUBELET_NOT_TOLD", {"command": "systemctl restart kubelet"}),
    ]


@pytest.mark.parametrize("start", ["offline", "online"])
def test_a_policy_that_comes_too_late_for_drivers_is_told_once(
    start: str, machine: Make, chmem: Command
) -> None:
    root = machine(x86())
    put(root, "proc/cmdline", f"ro memhp_default_state={start}\n")
    policy: tuple[Any, ...] = ("-s", root, "--policy", "auto_online=online")
    assert chmem(*policy, "--persistent", "--dry-run").stderr == ""
    told = LATE if start == "offline" else ""
    assert chmem(*policy, "--persistent").stderr == told
    assert chmem(*policy).stderr == ""
    document = json.loads(chmem(*policy, "--persistent", "--json").stdout)
    values = {"word": "offline", "file": "/proc/cmdline", "policy": "online"}
    assert [(one["code"], one["values"]) for one in document["messages"]] == (
        [("POLICY_TOO_LATE", values)] if told else []
    )


def test_a_policy_without_auto_online_is_not_too_late(machine: Make, chmem: Command) -> None:
    root = machine(x86())
    put(root, "proc/cmdline", "memhp_default_state=offline\n")
    done = chmem("-s", root, "--policy", "auto_movable_ratio=100", "--persistent")
    assert (done.status, done.stderr) == (0, "")


FADUMP = (
    "chmem: fadump may still have the memory map from before: the kernel does not update it"
    " (hotplug_ready is not 1)\n"
)


@pytest.mark.parametrize("file", ["fadump/registered", "fadump_registered"])
@pytest.mark.parametrize(
    ("tool", "command"),
    [
        ("usr/bin/kdumpctl", "kdumpctl reload"),
        (None, "sh -c 'for word in 0 1; do echo $word > /sys/kernel/fadump/registered; done'"),
    ],
)
def test_fadump_is_told_where_it_does_not_find_out(
    file: str, tool: str | None, command: str, machine: Make, chmem: Command
) -> None:
    root = machine(x86())
    put(root, f"sys/kernel/{file}", "1\n")
    if tool:
        put(root, tool)
    told = f"{FADUMP}chmem: {command} registers it anew\n"
    assert chmem("-s", root, "-e", "128m").stderr == told
    put(root, "sys/kernel/fadump/hotplug_ready", "1\n")
    assert chmem("-s", root, "-d", "128m").stderr == ""


def test_fadump_that_is_not_registered_needs_nothing(machine: Make, chmem: Command) -> None:
    root = machine(x86())
    put(root, "sys/kernel/fadump/registered", "0\n")
    assert chmem("-s", root, "-e", "128m").stderr == ""


@pytest.mark.parametrize("start", ["offline", "online"])
def test_install_tells_once_that_a_policy_comes_too_late(
    start: str, machine: Make, chmem: Command
) -> None:
    root = machine(x86())
    put(root, "proc/cmdline", f"ro memhp_default_state={start}\n")
    text = 'version = 1\n[policy]\nauto_online = "online"\n'
    put(root, "etc/memory-layout.d/10-policy.toml", text)
    apply = ("-s", root, "--apply", "--install")
    told = LATE if start == "offline" else ""
    assert LATE not in chmem(*apply, "--dry-run").stderr
    assert chmem(*apply).stderr == told
    # Nothing is installed now, so there is nothing new to tell.
    assert chmem(*apply).stderr == ""
