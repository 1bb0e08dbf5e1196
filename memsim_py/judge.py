"""memsim judge: the same random writes on a real kernel and on the simulator."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from hotplug_cli import offers
from hotplug_cli.click_command import GetoptCommand, option
from hotplug_cli.getopt import UsageError
from hotplug_cli.program import CommandError
from memory_hotplug.size import human
from memsim_py import messages
from memsim_py.boot_needs import STANDBY, as_sentences, tell
from memsim_py.guest_options import arch_of, check, with_guest_options
from safe_files.signals import ended_in_order

if TYPE_CHECKING:
    from guest.arch import Arch
    from guest.judge.comparison import Comparison
    from guest.judge.real import GuestSnapshot
    from guest.judge.writes import JudgedWrite
    from guest.machine import Guest

__all__ = ["judge_command"]

SECONDS: Final = 5.0
"""The limit for a write; the same as guest.judge.real.LIMIT, which is imported late."""

SHOWN: Final = 20
"""How many differences are written."""

BLOCKS: Final = 8
"""Of the DIMM that is plugged in where no device is named."""

_JUDGE: Final = "The judgement"


@click.command(
    "judge",
    cls=GetoptCommand,
    short_help="Judge the simulator by a real kernel.",
    help="Make the same random writes on a real kernel, which QEMU runs as for memsim boot, and on "
    "a simulated machine like it, and compare every answer, attribute and uevent. The status is 1 "
    "if something differs and nothing explains it.",
)
@option(
    "--seed",
    metavar="N",
    type=int,
    default=1,
    section=_JUDGE,
    help="the same N makes the same writes (1)",
)
@option(
    "--writes", metavar="N", type=int, default=300, section=_JUDGE, help="how many writes (300)"
)
@option(
    "--limit",
    metavar="SECONDS",
    type=float,
    default=SECONDS,
    section=_JUDGE,
    help="a signal ends a write that has not returned when QEMU has used the processor for so "
    "long (5)",
)
@option(
    "--against",
    metavar="FILE",
    shell_complete=offers.files,
    section=_JUDGE,
    help="judge this kernel, too, and say what differs between the two",
)
@option(
    "--against-modules",
    metavar="DIR",
    shell_complete=offers.directories,
    section=_JUDGE,
    help="with --against: its modules, as in /lib/modules/RELEASE (all is built in)",
)
@with_guest_options("--kaslr", "--directory")
def judge_command(arch_name: str | None, **given: Any) -> int:
    """The command memsim judge."""
    if find_spec("guest") is None:
        raise CommandError(messages.BOOT_NOT_HERE.of())
    arch = arch_of(arch_name or STANDBY)
    check(arch, given)
    _check(arch, given)
    devices = given["dimms"] or given["virtio_mem"] or given["cxl"]
    if not (devices or "--dimm" in arch.lacks):
        given["dimms"] = (BLOCKS * arch.block,)
    with as_sentences(), ended_in_order():
        first = _judged(arch, given)
        if given["against"] is None:
            return _told(arch, given, first)
        other = {"kernel": given["against"], "modules": given["against_modules"], "release": None}
        return _diff(first, _judged(arch, given | other))


def _check(arch: Arch, given: Mapping[str, Any]) -> None:
    for name in ("--seed", "--writes"):
        if given[name[2:]] < 1:
            raise UsageError(messages.NUMBER_EXPECTED.of(option=name, text=given[name[2:]]))
    if not 0 < given["limit"] < 1e6:
        raise UsageError(messages.SECONDS_EXPECTED.of(option="--limit", text=given["limit"]))
    if given["against_modules"] and not given["against"]:
        raise UsageError(messages.OPTION_NEEDS.of(option="--against-modules", needed="--against"))
    if given["against"]:
        check(arch, {**given, "kernel": given["against"], "release": None})


class Judged(NamedTuple):
    """A kernel, and what came of the writes on it."""

    release: str
    seen: GuestSnapshot
    """The guest before the writes."""
    writes: list[JudgedWrite]
    tally: Comparison


@dataclass(frozen=True, slots=True)
class _Trial:
    """A guest that has just booted, to be judged."""

    guest: Guest
    seen: GuestSnapshot
    boot: list[int]
    """The blocks that it booted on."""
    page: int

    def judged(self, writes: Sequence[JudgedWrite], limit: float) -> Comparison:
        """What the two kernels make of these writes."""
        from guest.judge.comparison import compare
        from guest.judge.real import captured, replayed, unknown

        answers = replayed(self.guest, writes, limit)
        sysfs = captured(self.seen, self.page)
        missing = unknown(sysfs, self.seen)
        tally = compare(sysfs, writes, answers)
        tally.unexplained[:0] = missing
        return tally


@contextmanager
def _trial(arch: Arch, given: Mapping[str, Any]) -> Iterator[_Trial]:
    """Boot a guest; its DIMMs are plugged in when it runs."""
    from guest.judge.real import page_size, snapshot
    from guest.plugging import DeviceError, plug, take_cxl
    from memsim_py import boot_hardware, boot_standby

    booted = boot_standby.booted if arch.name == STANDBY else boot_hardware.booted
    with booted(arch, {**given, "dimms": ()}) as guest:
        states = snapshot(guest).blocks("state")
        boot = [block for block, state in states.items() if state == "online"]
        try:
            for number, size in enumerate(given["dimms"]):
                node = number % (given["nodes"] or 1)
                plug(guest.qemu.monitor, guest.channel, size, node)
            if given["cxl"]:
                take_cxl(guest.channel, given["cxl"])
        except DeviceError as error:
            raise CommandError(messages.CANNOT_PLUG.of(reason=error)) from error
        yield _Trial(guest, snapshot(guest), boot, page_size(guest))


def _judged(arch: Arch, given: Mapping[str, Any]) -> Judged:
    from guest.judge import real

    tell(f"booting {given['kernel'] or arch.name}")
    with _trial(arch, given) as trial:
        release = trial.guest.run("uname -r").stdout.strip()
        count = given["writes"]
        writes = real.given(trial.seen, trial.boot, given["seed"], count, trial.page)
        others = len(trial.seen.firmware("config") or trial.seen.blocks("state"))
        click.echo(
            f"Linux {release} for {arch.name}, pages of {human(trial.page)}: {len(trial.boot)} "
            f"blocks of the boot, {others - len(trial.boot)} others, seed {given['seed']}"
        )
        tally = trial.judged(writes, given["limit"])
    click.echo(str(tally))
    return Judged(release, trial.seen, writes, tally)


def _told(arch: Arch, given: Mapping[str, Any], judged: Judged) -> int:
    """Write what is not explained, and how to see it again; return the status."""
    from guest.judge.shorten import script, shortened

    wrong = judged.tally.unexplained
    if not wrong:
        return 0
    _list(str(each) for each in wrong)
    first = next((each for each in wrong if each.number), None)
    if first is None:
        return 1
    tell("looking for fewer writes that show the first of these; each try boots the guest")

    def again(writes: Sequence[JudgedWrite]) -> Comparison:
        with _trial(arch, given) as trial:
            return trial.judged(writes, given["limit"])

    fewer = shortened(judged.writes, first, again)
    click.echo(f"# {len(fewer)} writes after a boot show it; in the guest:")
    click.echo(script(fewer), nl=False)
    return 1


def _list(lines: Iterator[str]) -> None:
    found = list(lines)
    for line in found[:SHOWN]:
        click.echo(f"  {line}")
    if len(found) > SHOWN:
        click.echo(f"  and {len(found) - SHOWN} more")


def _diff(one: Judged, other: Judged) -> int:
    """Write what differs between two kernels; return the status."""
    differs = 0
    trees = [_tree(judged.seen) for judged in (one, other)]
    for (judged, tree), (against, others) in (
        ((one, trees[0]), (other, trees[1])),
        ((other, trees[1]), (one, trees[0])),
    ):
        known = {each.kind for each in against.tally.unexplained}
        only = [each for each in judged.tally.unexplained if each.kind not in known]
        files = sorted(tree - others)
        if only or files:
            click.echo(f"only Linux {judged.release}:")
            _list(iter([*files, *map(str, only)]))
        differs += len(only) + len(files)
    if not differs:
        click.echo(f"Linux {one.release} and {other.release} do not differ")
    return int(bool(differs))


def _tree(seen: GuestSnapshot) -> set[str]:
    """The files that there are, whatever the number of a block, and what those of no block hold."""
    found = set()
    for path, text in seen.files.items():
        if path.startswith("/sys/"):
            number = re.sub(r"\d+", "N", path)
            found.add(number if number != path else f"{path}: {text.strip()}")
    return found
