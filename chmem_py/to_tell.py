"""Who must be told of a change, because the kernel does not: kdump, fadump, kubelet, its own line.

Nothing is said of what is not known. `crash_hotplug` is 1 where the kernel updates the memory map
of a crash kernel itself (kernel/crash_core.c; Documentation/admin-guide/mm/memory-hotplug.rst).
"""

from __future__ import annotations

from collections.abc import Iterator

from chmem_py import to_tell_messages
from hotplug_cli.message import Sentence
from memory_hotplug.block import State
from memory_hotplug.change.lock import is_own
from memory_hotplug.face import Machine
from memory_hotplug.request.tally import Tally
from memory_hotplug.udev.facts import Facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.layout.model import Policy

_LOADED = "sys/kernel/kexec_crash_loaded"
_FADUMP = ("sys/kernel/fadump/registered", "sys/kernel/fadump_registered")
"""Whether the firmware of POWER is to dump the kernel's memory; since Linux 5.4, and before."""
_FADUMP_READY = "sys/kernel/fadump/hotplug_ready"
"""1 where the crash kernel finds out about memory that came later (Linux 6.10)."""
_BY_HAND = f"sh -c 'for word in 0 1; do echo $word > /{_FADUMP[0]}; done'"
_UNITS = ("etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
_COMMANDS = (
    ("kdump-config reload", ("usr/sbin/kdump-config", "sbin/kdump-config")),
    ("kdumpctl reload", ("usr/bin/kdumpctl", "usr/sbin/kdumpctl")),
    ("systemctl restart kdump.service", tuple(f"{above}/kdump.service" for above in _UNITS)),
)
"""What loads the crash kernel anew, of Debian and Ubuntu, of Fedora and RHEL, and of the rest; and
where each is."""
_OF_KDUMP = r"[^/\n]*(?:kdump|kexec)[^/\n]*\.rules"
_TELLS_KDUMP = (
    r'(?m)^(?=[^#\n]*SUBSYSTEM=="memory")[^#\n]*ACTION=="(?:[a-z*|]*\|)?(?:online|offline)\b'
)
"""A udev rule for memory that is set online or offline."""

_KUBELET = "kubelet"
_RESTART = f"systemctl restart {_KUBELET}"


def not_told(tally: Tally, machine: Machine) -> Iterator[Sentence]:
    """Messages on who must be told after a change of the online memory."""
    tree = machine.tree
    if not any(
        (one.before.state is State.ONLINE) != (one.after.state is State.ONLINE)
        for one in tally.outcomes.values()
    ):
        return
    # A simulated machine that is mounted over /sys: the processes are of another machine.
    if not is_own(tree.root):
        return
    facts = Facts(tree)
    if _kdump_waits(facts):
        if command := _reloads(facts):
            yield to_tell_messages.KDUMP_NOT_TOLD.of(command=command)
        else:
            yield to_tell_messages.KDUMP_NOT_TOLD_BY_HAND.of()
    if _fadump_waits(facts):
        command = _reloads(facts) or _BY_HAND
        yield to_tell_messages.FADUMP_NOT_TOLD.of(command=command)
    if _runs(facts, _KUBELET):
        yield to_tell_messages.KUBELET_NOT_TOLD.of(command=_RESTART)


def too_late(machine: Machine, policy: Policy) -> Iterator[Sentence]:
    """The message that the kernel starts with another word than POLICY has for auto_online."""
    from memory_hotplug.layout.kernel_default import default_on

    wanted, found = policy.auto_online, default_on(machine.tree)
    if wanted is not None and found and found.word != wanted:
        yield to_tell_messages.POLICY_TOO_LATE.of(word=found.word, file=found.file, policy=wanted)


def _kdump_waits(facts: Facts) -> bool:
    """Whether a crash kernel is loaded, and nothing loads it anew by itself."""
    if facts.text(_LOADED) != "1" or facts.of_memory("crash_hotplug") == frozenset({"1"}):
        return False
    # On s390 the crash kernel makes the map itself (arch/s390/kernel/crash_dump.c).
    if facts.machine in ("s390", "s390x"):
        return False
    return not _rules_tell(facts)


def _fadump_waits(facts: Facts) -> bool:
    """Whether the firmware is to dump the memory that was there when it was registered.

    Documentation/arch/powerpc/firmware-assisted-dump.rst; Documentation/ABI/testing/
    sysfs-kernel-fadump.
    """
    if "1" not in map(facts.text, _FADUMP) or facts.text(_FADUMP_READY) == "1":
        return False
    return not _rules_tell(facts)


def _rules_tell(facts: Facts) -> bool:
    """Whether the udev rules that kdump brings tell it of memory."""
    import re

    from memory_hotplug.udev.syntax import rule_paths

    return any(
        re.search(_TELLS_KDUMP, facts.text(path) or "")
        for path in rule_paths(facts.names)
        if re.fullmatch(_OF_KDUMP, path.rpartition("/")[2])
    )


def _reloads(facts: Facts) -> str | None:
    """The command of this distribution that loads the crash kernel anew."""
    for command, paths in _COMMANDS:
        if any(facts.exists(path) for path in paths):
            return command
    return None


def _runs(facts: Facts, name: str) -> bool:
    """Whether a process has this name, as far as /proc shows it."""
    processes = (one for one in facts.names("proc") if one.isdecimal())
    return any(facts.text(f"proc/{one}/comm") == name for one in processes)
