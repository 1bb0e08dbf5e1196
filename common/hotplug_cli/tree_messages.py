"""The messages of lsmem and chmem about a tree: why it cannot be read, and what was left out."""

from hotplug_cli.message import Message

# The tree cannot be read

NO_ROOT = Message("cannot open {root}: {reason}")
NO_BLOCKS = Message(
    "no memory blocks in /sys/devices/system/memory{beneath}",
    "there is no directory memoryN; {look}",
    manual="no memory blocks in /sys/devices/system/memory",
)
NO_BLOCK_SIZE = Message(
    "This system does not support memory blocks",
    "there is no file /sys/devices/system/memory/block_size_bytes",
    reference=True,
)
BAD_BLOCK_SIZE = Message(
    "/{path} should hold the block size in hexadecimal, not {found}",
    manual="/sys/devices/system/memory/block_size_bytes should hold the block size in hexadecimal",
)
CANNOT_READ = Message("cannot read /{path}: {reason}")

_NO_MEMORY = "cannot open /sys/devices/system/memory: {reason}"

CANNOT_OPEN = Message(_NO_MEMORY, reference=True)
NOT_BUILT_IN = Message(
    _NO_MEMORY,
    "{file} says that this kernel is built without CONFIG_MEMORY_HOTPLUG",
    reference=True,
)
NOT_MOUNTED = Message(_NO_MEMORY, "/sys is not mounted", reference=True)
HIDDEN = Message(
    _NO_MEMORY,
    "{file} says that this kernel is built with CONFIG_MEMORY_HOTPLUG: a container hides the"
    " directory, look at the host",
    reference=True,
)
ONE_OF_THREE = Message(
    _NO_MEMORY,
    "the kernel is built without CONFIG_MEMORY_HOTPLUG, /sys is not mounted, or a container hides"
    " the directory",
    reference=True,
)
NOT_IN_TREE = Message(
    _NO_MEMORY,
    "{root} has no sys/devices/system/memory; memsim capture and memsim create make such trees",
    reference=True,
)

ROOT_ABOVE = Message(
    "", "--sysroot takes the directory that has sys in it: {root}", NOT_IN_TREE.entry
)

# What was left out, or is not known

LEFT_OUT = Message("left out: {blocks}: {reason}", manual="left out: memoryN: reason")
NOT_KNOWN = Message(
    "unknown {attribute} of {blocks}: {file}: {reason}",
    manual="unknown attribute of memoryN: file: reason",
)

# Layouts

BAD_LAYOUT = Message("{place}: {reason}", manual="file:line: reason", always=True)
SHORT = Message(
    "{where}: {size} are missing: the machine has no more memory for it",
    manual="where: size are missing: the machine has no more memory for it",
)
SHORT_HELD = Message(
    "{where}: {size} are missing: {holders} the other memory",
    manual="where: size are missing: file:line has the other memory",
)
SHORT_ZONE = Message(
    "{where}: {size} are missing: the machine has no more memory for zone {zone}",
    "memory of the kernel's own zones is moved into another zone only where its blocks are named",
    manual="where: size are missing: the machine has no more memory for zone zone",
)
KERNEL_ZONES = Message(
    "{blocks}: not set online in zone Movable, which would have more than {ratio} % of all other "
    "zones",
    "the kernel needs memory in its own zones (auto_movable_ratio); chmem --force does it anyway",
    manual="memory block N: not set online in zone Movable, which would have more than N % of all "
    "other zones",
    always=True,
)
ABSENT = Message("{where}: not on this machine: {what}", always=True)
