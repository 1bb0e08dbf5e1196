"""Read a request, and the machine for it: the zone, the device and the blocks that are meant."""

from collections.abc import Iterable

from chmem_py import messages
from chmem_py.options import ZONES, Options
from chmem_py.output import Output
from chmem_py.request import RequestError, parse
from hotplug_cli.getopt import GetoptUsageError, UsageError
from hotplug_cli.message import Sentence, Wording
from hotplug_cli.program import CommandError
from memory_hotplug.block import Zone
from memory_hotplug.change.plan import Action
from memory_hotplug.face import Machine
from memory_hotplug.request.asked import Request
from memory_hotplug.table import Remark

_NEEDS_CONFIGURING = {
    Action.CONFIGURE: messages.CANNOT_CONFIGURE,
    Action.DECONFIGURE: messages.CANNOT_DECONFIGURE,
    Action.RECONFIGURE: messages.CANNOT_RECONFIGURE,
}
"""The message for each action where memory is never configured."""


def requested(text: str, machine: Machine, options: Options) -> Request:
    """The request in TEXT. Raises RequestError with util-linux's messages and our advice, and
    UsageError for what only looks like a total."""
    # Hints are loaded only for what is wrong: a plain enable must start fast.
    if options.action == "total" and text.lstrip().startswith(("+", "-", "\u2212")):
        from chmem_py.hints import signed

        if meant := signed(text, options.said, machine.tree):
            raise UsageError(messages.TOTAL_OF_WHAT.of(text=text.strip(), advice=meant.advice))
    try:
        return parse(text, machine.block_size, blocks=options.blocks)
    except RequestError as error:
        from chmem_py.hints import advised

        raise advised(error, text, machine, options) from None


def is_possible(machine: Machine, action: Action, options: Options, output: Output) -> bool:
    """Whether the machine can do ACTION to any block; what is odd about that is said."""
    if action is not Action.ENABLE and machine.has_dlpar:
        output.say(messages.DLPAR.of())
    reason = unable(machine, action, options)
    if reason:
        plain = not (options.json or options.dry_run)
        output.write([reason.text if plain and reason.reference else reason])
    return reason is None


def say_remarks(remarks: Iterable[Remark], output: Output) -> None:
    """Say what was odd when the machine was read."""
    for remark in remarks:
        from hotplug_cli.remarks import sentence_of

        output.say(sentence_of(remark))


def zone_for(machine: Machine, action: Action, name: str | None, output: Output) -> Zone | None:
    """The zone with that name, where ACTION takes one."""
    if name is None:
        return None
    zone = _zone_named(name, machine.read(("zones", "configured")).has_zones, output)
    # Like util-linux, ignore the zone where memory is only configured or deconfigured.
    return zone if action in (Action.ENABLE, Action.DISABLE) else None


def check_device(machine: Machine, device: str | None) -> None:
    """Raises CommandError for a device that the machine does not have."""
    if device is None:
        return
    from memory_hotplug.seen.owners import owners_of

    found = owners_of(machine, machine.read(()).numbers)
    if device not in found.names:
        sentence = messages.NO_SUCH_DEVICE.of(
            device=device,
            devices=Wording(", ".join(found.names) or "none", sorted(found.names)),
        )
        raise CommandError(sentence if found.known else messages.DEVICE_UNKNOWN.of(device=device))


def _zone_named(name: str, zones: bool, output: Output) -> Zone | None:
    if not zones:
        output.say(messages.ZONE_IGNORED.of())
        return None
    zone = Zone.named(name)
    if zone not in ZONES:
        known = ", ".join(zone.value for zone in ZONES)
        raise GetoptUsageError(messages.UNKNOWN_ZONE.of(name=name, zones=known))
    return zone


def unable(machine: Machine, action: Action, options: Options) -> Sentence | None:
    """The reason why this machine cannot carry out the request at all; None if there is none."""
    if machine.configurable:
        return None
    if action in _NEEDS_CONFIGURING:
        return _NEEDS_CONFIGURING[action].of()
    if options.memmap_on_memory is not None:
        return messages.MEMMAP_NOT_HERE.of()
    return None
