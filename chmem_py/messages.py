"""The messages of chmem only."""

from hotplug_cli.message import Message

# The command line

_USAGE = "bad usage"
WHAT_TO_DO = Message(_USAGE, "say what to do: {actions}", reference=True)
ONE_OPERAND = Message(_USAGE, "give one SIZE, RANGE or BLOCKRANGE, not {given}", reference=True)
UNIT_APART = Message(
    _USAGE, "no space stands before the unit: {instead}", WHAT_TO_DO.entry, reference=True
)
ONE_SIZE = Message(_USAGE, "--total takes one SIZE, as in 16g", WHAT_TO_DO.entry)
INVALID_ARGUMENT = Message("invalid argument of {option}: '{argument}'", "{option} takes {allowed}")
TOO_MANY = Message(_USAGE, "--{action} takes {most} argument", WHAT_TO_DO.entry)
INSTALL_WHAT = Message(
    "option --install goes with --apply without a FILE",
    "chmem --apply --install applies the layout in memory-layout.d at each boot",
)
PROGRAM_IS_OPEN = Message(
    "users other than root can change {path}",
    "root would run it at boot; to use --install, install the commands where only root can write",
)
POLICY_OF_WHAT = Message(_USAGE, "--policy takes KEY=VALUE, with the keys {keys}", WHAT_TO_DO.entry)
ORDER_OF_WHAT = Message("option --order goes with a SIZE, not {text}")
TOTAL_OF_WHAT = Message("option --total takes a size, not {text}", "{advice}")
RECONFIGURE_WHAT = Message("option --reconfigure needs --memmap-on-memory")
UNKNOWN_ZONE = Message("unknown memory zone: {name}", "the zones are {zones}", reference=True)
NO_SYSROOT = Message("option --sysroot needs a directory", "/ is this machine")

# The request

INVALID_PARAMETER = Message("Invalid parameter: {text}", reference=True)
INVALID_RANGE = Message("Invalid range: {text}", reference=True)
INVALID_ADDRESS = Message(
    "Invalid {end} address format: {text}",
    manual="Invalid start address format: text",
    reference=True,
)
CANNOT_PARSE = Message("Failed to parse {what}: '{text}'", reference=True)
CANNOT_PARSE_WHY = Message(
    "Failed to parse {what}: '{text}': {reason}", manual=CANNOT_PARSE.entry, reference=True
)
SIZE_NOT_ALIGNED = Message("Size must be aligned to memory block size ({size})", reference=True)
NEAREST_SIZES = Message(
    "", "the nearest sizes are {nearest_below} and {nearest_above}", SIZE_NOT_ALIGNED.entry
)
NEAREST_SIZE = Message("", "the nearest size is {nearest}", SIZE_NOT_ALIGNED.entry)
RANGE_NOT_ALIGNED = Message(
    "Start address and (end address + 1) must be aligned to memory block size ({size})",
    reference=True,
)
NEAREST_RANGES = Message("", "the nearest ranges are {inner} and {outer}", RANGE_NOT_ALIGNED.entry)
NEAREST_RANGE = Message("", "the nearest range is {range}", RANGE_NOT_ALIGNED.entry)
# The machine

ZONE_IGNORED = Message("zone ignored, no valid_zones sysfs attribute present", reference=True)
CANNOT_CONFIGURE = Message("Cannot configure. Use -e instead.", reference=True)
CANNOT_DECONFIGURE = Message("Cannot deconfigure. Use -d instead.", reference=True)
CANNOT_RECONFIGURE = Message("Cannot reconfigure. Memory is not configured on this machine.")
DLPAR = Message(
    "",
    "drmgr, the management console or the kernel alone, on an event, give this LPAR memory and "
    "take it away; chmem only sets it online and offline",
    CANNOT_CONFIGURE.entry,
)
MEMMAP_NOT_HERE = Message(
    "option --memmap-on-memory needs memory that can be configured, as on s390"
)
CANNOT_WRITE = Message(
    "cannot write to {file}: {reason}; nothing was changed", "{advice}", always=True
)
WAITING = Message(
    "waiting for {holder}, which is changing the memory of this machine",
    manual="waiting for process N, which is changing the memory of this machine",
    always=True,
)
HELD = Message(
    "{holder} is still changing the memory of this machine; nothing was changed",
    manual="process N is still changing the memory of this machine; nothing was changed",
    always=True,
)
WOULD_BRING_BACK = Message(
    "process {pid} ended while it changed {block} (--{action}); without --dry-run the block is"
    " restored first: {condition}",
    manual="process P ended while it changed memory block N (--action); without --dry-run the block"
    " is restored first: condition",
    always=True,
)
BROUGHT_BACK = Message(
    "process {pid} ended while it changed {block} (--{action}); the block was restored:"
    " {condition}",
    manual="process P ended while it changed memory block N (--action); the block was restored:"
    " condition",
    always=True,
)

# The selection

LAYOUT_KEPT = Message(
    "{file}: left as it is, because it was written anew after the change",
    "edit it, or write the present layout with --save",
    always=True,
)
LAYOUT_NOT_BACK = Message(
    "the layout could not be put back: {reason}",
    "once that is mended, this goes on with it: {command}",
    always=True,
)
LAYOUT_LEFT_OUT = Message(
    "no layout says how much is to stay available: {reason}",
    "mend that file, or say --keep-free SIZE",
    always=True,
)
NOT_ITS_FILES = Message(
    "the machine in /sys is a simulated one, but /etc and /run are not its own",
    "outside of memsim shell, with --sysroot DIR, this works",
)
NOTHING_TO_UNDO = Message("there is no change to undo", always=True)
UNRECORDED = Message(
    "{file} cannot be written: {reason}; chmem --undo cannot take back all of this change",
    manual="/run/memory-hotplug/undo.json cannot be written: reason",
    always=True,
)
UNDO_DAMAGED = Message("{file}: the record of the last change is damaged", always=True)
NOT_HERE = Message("not on this machine: {blocks}")
SOME_NOT_HERE = Message("not on this machine: {count} of {blocks}", manual=NOT_HERE.entry)
NONE_ON_NODE = Message(
    "none of the requested memory blocks is on node {node}",
    manual="none of the requested memory blocks is on node N",
)
NO_SUCH_NODE = Message("this machine has no node {node}", manual="this machine has no node N")
NO_SUCH_DEVICE = Message(
    "no memory block here belongs to device {device}; devices that brought memory: {devices}",
    manual="no memory block here belongs to device NAME",
)
DEVICE_UNKNOWN = Message(
    "cannot tell which memory blocks belong to device {device}",
    "run this as root, on the machine itself (/proc/iomem)",
    manual="cannot tell which memory blocks belong to device NAME",
)
NONE_OFFLINE = Message("{no_block} is offline", manual="no memory block is offline")
NOT_ADDED = Message("", "the kernel did not add memory: {line}{fits}", NONE_OFFLINE.entry)
NONE_FOR_ZONE = Message(
    "{no_block} is offline and can go to zone {zone}", manual=NONE_OFFLINE.entry
)
NONE_ONLINE = Message("{no_block} is online", manual=NONE_OFFLINE.entry)
NONE_IN_ZONE = Message("{no_block} is online in zone {zone}", manual=NONE_OFFLINE.entry)
NONE_LEFT = Message("{no_block} can be {done}", manual=NONE_OFFLINE.entry)
SIZE_OF_NOTHING = Message("nothing to do: a size of 0 was requested")
IN_USE = Message(
    "{used} is in use: {possible} can be set offline, {asked} was requested",
    "{advice}",
    manual="size is in use: size can be set offline, size was requested",
    always=True,
)
NO_ROOM = Message(
    "the struct pages of these blocks need {size}, but only {available} is available",
    "with -m 1 the blocks hold their own",
    manual="the struct pages of these blocks need size, but only size is available",
    always=True,
)
NO_ROOM_ANYWHERE = NO_ROOM._replace(advice="free some memory first, or take fewer blocks")
RULE_UNDOES = Message(
    "{place} sets added memory online, also where the layout says offline",
    manual="rule sets added memory online, also where the layout says offline",
    always=True,
)
RULE_MAY_UNDO = Message(
    "{place} may set added memory online, also where the layout says offline",
    manual="rule may set added memory online, also where the layout says offline",
    always=True,
)
PROGRAM_MAY_UNDO = Message(
    "{place} runs a program, which may set added memory online, also where the layout says offline",
    manual="rule runs a program, which may set added memory online, also where the layout says"
    " offline",
    always=True,
)
STOP_BY_MASK = Message("", "{command} masks it", RULE_UNDOES.manual)
STOP_BY_EDITING = Message("", "{command} {what}{kept}", RULE_UNDOES.manual)
STOP_BY_HAND = Message(
    "",
    "a copy of {file} in /etc/udev/rules.d without that, in {lines}, stops it{kept}",
    RULE_UNDOES.manual,
)
KERNEL_IS_FIRST = Message(
    "auto_online_blocks is {word}: the kernel sets added memory online before a zone of the layout "
    "can be chosen",
    "auto_online in the policy of a layout changes it",
    manual="auto_online_blocks is word: the kernel sets added memory online before a zone of the"
    " layout can be chosen",
    always=True,
)
MASKED = Message(
    "{file} is a link to /dev/null, which masks it; nothing was changed",
    "remove the link first, or change the memory without --persistent and --install",
    manual="file is a link to /dev/null, which masks it",
)
MASKED_BY_EMPTY = Message(
    "{file} is empty, which masks it; nothing was changed",
    "remove the file first, or change the memory without --persistent and --install",
    manual="file is empty, which masks it",
)
STILL_MASKS = Message(
    "{file}: left as it is, because it masks a unit or rules",
    always=True,
)
NOT_WRITABLE = Message(
    "{file} cannot be written: {reason}; nothing was changed",
    "without --persistent and --install the change lasts until the next boot",
)
NO_SYSTEMD = Message(
    "nothing applies the layout at boot: this system does not run systemd; nothing was changed",
    "chmem --save writes the present layout; have the system run chmem --apply when it boots",
    manual="nothing applies the layout at boot: this system does not run systemd",
)
OVERRIDDEN = Message(
    "{place} says otherwise of {what}, and counts more than /{saved}; nothing was changed",
    "change or remove that entry first",
    manual="file says otherwise of memory block N, and counts more than"
    " /etc/memory-layout.d/50-chmem.toml",
)
OVERRIDDEN_NOW = Message(
    "{place} says otherwise of {what}, and counts more than /{saved}: it does not stay",
    "change or remove that entry",
    manual=OVERRIDDEN.entry,
    always=True,
)
TOO_MUCH_MOVABLE = Message(
    "no layout gives zone Movable more than {ratio} % of all other zones, as these blocks would",
    "without --zone they go into Movable if they can, at each boot",
    manual="no layout gives zone Movable more than N % of all other zones, as these blocks would",
)
NOT_APPLIED = Message(
    "nothing applies {file} at boot any more",
    "chmem --apply --install has that applied at boot again",
    always=True,
)
WILL_REVERT = Message(
    "",
    "{what}: {files} changes this back at the next boot; {keeps}",
    manual="what: file changes this back at the next boot",
)
RELOAD = Message("", "systemctl daemon-reload; udevadm control --reload", "wrote file")
SETTING_FAILED = Message("{name}: cannot be set to {word}: {reason}", always=True)
POLICY_CHANGED = Message(
    "the kernel expects that online_policy does not change once memory has been set online",
    "memory that is online already stays in its zone; to have the policy from the start, give the "
    "kernel parameter memory_hotplug.online_policy",
    always=True,
)
TAKEN_FOR_MIB = Message(
    "",
    "{text} without a unit is {text} MiB, and this machine has {total}; "
    "for {text} bytes give {size}",
    manual="Could only enable size of memory",
)
MIB_WITHOUT_UNIT = Message(
    "",
    "{text} without a unit is {text} MiB, and this machine has {total}; "
    "a unit follows the number, as in 16g",
    manual="Could only enable size of memory",
)
TAKEN_FOR_SIZE = Message(
    "",
    "{text} is taken for a size, {size}: a range has two ends",
    manual="Could only enable size of memory",
)
MIB_DONE = Message(
    "",
    "{text} without a unit is {text} MiB: {size} {done}, {blocks}; for memory block {text} give "
    "--blocks",
    manual="number without a unit is number MiB: size enabled, blocks",
)
MIB_DONE_THERE = Message(
    "", "{text} without a unit is {text} MiB: {size} {done}, {blocks}", manual=MIB_DONE.entry
)
NOT_ENOUGH = Message(
    "{requested} requested, but only {possible} can be {done}",
    manual="size requested, but only size can be enabled",
)
NOTHING_CHANGED = Message("nothing is changed (--all-or-nothing)")
COULD_ONLY = Message(
    "Could only {action} {size} of memory",
    manual="Could only enable size of memory",
    reference=True,
)
EXACTLY = Message("", "that is {size}", manual=COULD_ONLY.entry)

# What became of a block

STEP_FAILED = Message(
    "{blocks} {step} failed: {reason}",
    manual="Memory Block N (addresses) step failed: reason",
    reference=True,
)
PAGE_STAYS = Message("", "{block}: the page at {address} stays: {what}", STEP_FAILED.entry)
PAGE_POISONED = Message("", "{block}: the page at {address} is poisoned", STEP_FAILED.entry)
UNDOING_FAILED = Message(
    "{blocks} {step} failed while undoing: {reason}",
    manual="Memory Block N (addresses) step failed while undoing: reason",
    always=True,
)
PASSED_OVER = Message(
    "{blocks} {reason}",
    manual="Memory Block N (addresses) must be offline before deconfiguration",
    reference=True,
)
TAKEN_BACK = Message("{blocks} taken back", manual="Memory Block N (addresses) taken back")
WHY_STEP_FAILED = Message("", "{blocks}: {advice}", STEP_FAILED.entry)
WHY_PASSED_OVER = Message("", "{blocks}: {advice}", PASSED_OVER.entry)
BLOCKS_FAILED = Message("", "{blocks}: {reason}", STEP_FAILED.entry)
BLOCKS_FAILED_BECAUSE = Message("", "{blocks}: {reason}; {advice}", STEP_FAILED.entry)
KEPT_FREE = Message(
    "{blocks}: not set offline, because only {available} is available",
    "--keep-free says how much is to stay available, --force takes what the kernel gives",
    manual="memory block N: not set offline, because only size is available",
    always=True,
)
NOT_TRIED = Message(
    "{blocks}: not tried, because no memory is left for struct pages",
    manual="memory block N: not tried, because no memory is left for struct pages",
    always=True,
)
LEFT = Message(
    "{block} is left {condition}", manual="memory block N is left condition", always=True
)
LEFT_OFFLINE = Message(
    LEFT.text, "{command} restores it once the cause is fixed", manual=LEFT.entry, always=True
)
NOT_IN_ZONE = Message(
    "{blocks}: online already, in zone {now} and not {zone}",
    "a block that is disabled and enabled again can go to another zone",
    manual="memory block N: online already, in zone A and not B",
    always=True,
)
SET_ONLINE = Message(
    "{blocks}: set online by the kernel itself, in zone {zone} (auto_online_blocks is {policy})",
    manual="memory block N: set online by the kernel itself, in zone A (auto_online_blocks)",
    always=True,
)
ANOTHER_ZONE = Message(
    "{blocks} came back in zone {now}; {were} in {before}",
    manual="memory block N came back in zone A; it was in B",
)
STILL_CONFIGURED = Message(
    "{blocks}: offline, but still configured",
    "go on with {commands}",
    manual="memory block N: offline, but still configured",
)
STORAGE_KEPT = Message(
    "{blocks}: deconfigured, but the hypervisor keeps the storage",
    "the kernel log (dmesg) has its answer; to ask again, configure the block and deconfigure it",
    manual="memory block N: deconfigured, but the hypervisor keeps the storage",
    always=True,
)
CROWDED = Message(
    "",
    "zone Movable has {share}, and {ratio}: what the kernel needs for itself fits into the others "
    "only (lsmem -o +ZONES); {disable}, then {enable}, gives them enough",
    manual="zone Movable has N % of all other zones, and the kernel itself lets it grow to N %",
)
EMPTY = Message("empty now, and can be removed: {devices}")
EMPTY_IN_PART = Message(
    "emptied in part: {device}, of which {size} is still online",
    "a device can be removed once all of its memory is offline: lsmem -o +DEVICE",
)
INTERRUPTED = Message("interrupted; {done} before that: {blocks}", "{advice}", always=True)
ENDED_AT_ONCE = Message("ended at once; the block at work may be half done", always=True)
