"""Read the machine for a request: the zone, the device and the blocks that are meant."""

from dataclasses import replace

from chmem_py import messages
from chmem_py.options import ZONES, Options
from chmem_py.output import Output
from chmem_py.request import Request
from chmem_py.selection import Owned, Selection, needed, select, select_nothing
from hotplug_cli.getopt import GetoptUsageError
from hotplug_cli.message import Sentence
from hotplug_cli.program import CommandError
from hotplug_cli.remarks import sentence_of
from memory_hotplug.block import Zone
from memory_hotplug.change.plan import Action
from memory_hotplug.machine import Machine

_NEEDS_CONFIGURING = {
    Action.CONFIGURE: messages.CANNOT_CONFIGURE,
    Action.DECONFIGURE: messages.CANNOT_DECONFIGURE,
    Action.RECONFIGURE: messages.CANNOT_RECONFIGURE,
}
"""The message for each action where memory is never configured."""


def read_selection(
    machine: Machine, request: Request, options: Options, owned: Owned | None, output: Output
) -> Selection:
    """Read the machine and select the blocks that are meant."""
    action = request.action
    table = machine.read(needed(request.node))
    for remark in table.remarks:
        output.say(sentence_of(remark))
    zone = zone_named(options.zone, table.has_zones, output)
    # Like util-linux, ignore the zone where memory is only configured or deconfigured.
    if action in (Action.ENABLE, Action.DISABLE):
        request = replace(request, zone=zone)
    reason = unable(machine, action, options)
    if action is not Action.ENABLE and machine.has_dlpar:
        output.say(messages.DLPAR.of())
    if reason:
        plain = not (options.json or options.dry_run)
        output.write([reason.text if plain and reason.reference else reason])
        return select_nothing(request, machine)
    return select(request, machine, table, owned)


def owned_by(machine: Machine, device: str | None) -> Owned | None:
    """The blocks of a device; None if no device is meant. Raises CommandError."""
    if device is None:
        return None
    from memory_hotplug.seen.owners import owners_of

    found = owners_of(machine, machine.read(()).numbers)
    numbers = [number for number, name in found.devices.items() if name == device]
    if not numbers:
        sentence = messages.NO_SUCH_DEVICE.of(
            device=device, devices=", ".join(found.names) or "none"
        )
        raise CommandError(sentence if found.known else messages.DEVICE_UNKNOWN.of(device=device))
    return Owned(device, frozenset(numbers))


def zone_named(name: str | None, zones: bool, output: Output) -> Zone | None:
    if name is None:
        return None
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
