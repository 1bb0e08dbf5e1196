"""The messages of lsmem only."""

from hotplug_cli.message import Message

# The command line, in util-linux's words

UNSUPPORTED_SUMMARY = Message(
    "unsupported --summary argument", "--summary takes {allowed}, after a =", reference=True
)
NOTHING_WANTED = Message(
    "options {options} and --summary=only are mutually exclusive",
    "--summary=always adds the summary to any format",
    reference=True,
)
UNKNOWN_ANNOTATION = Message(
    "invalid argument of --annotate: {argument}", "it takes {allowed}", reference=True
)
UNKNOWN_COLUMN = Message("unknown column: {name}", "the columns are {columns}", reference=True)
COLUMN_MEANT = Message("", "did you mean {meant}? the columns are {columns}", UNKNOWN_COLUMN.entry)
ALL_COLUMNS = Message(
    "", "--output-all shows all columns of util-linux's lsmem", UNKNOWN_COLUMN.entry
)
LIST_OF_COLUMNS = Message(
    "", "a list of columns has commas and no spaces, as in BLOCK,STATE", UNKNOWN_COLUMN.entry
)
VALUE_APART = Message(
    "bad usage", "{option} takes its argument after a =: {option}={value}", reference=True
)
OPTIONS_ONLY = Message("bad usage", "lsmem takes options only, and no {word}", reference=True)
COLUMNS_BY_OPTION = Message("", "for columns: --output {columns}", "bad usage")
MACHINE_BY_OPTION = Message("", "for the machine in {path}: --sysroot {path}", "bad usage")
SYSROOT_FOR_SUMMARY = Message(
    "cannot open {root}: {reason}", "-s is --sysroot; the summary is --summary={root}"
)

# The command line, in ours

INVALID_ARGUMENT = Message("invalid argument of --{option}: {argument} ({allowed})")
UNKNOWN_FORMAT = Message("unknown format: {name} (known: {known})")
TYPED_NEEDS_JSON = Message("option --typed goes with --json or --format jsonl")

# A listing

NOTHING_TO_LIST = Message(
    "nothing to list: this machine has no values for {columns}",
    "only memory that can be configured has them (/sys/firmware/memory, on s390)",
)

PAGES_UNKNOWN = Message(
    "what the pages hold is not known: CANDIDATE goes by zone and REMOVABLE alone",
    "root sees what of a block is free, movable, unmovable and in huge pages, and what keeps it "
    "online: run this as root, on the machine itself (/proc/kpageflags)",
)

POISONED_UNKNOWN = Message(
    "which pages are poisoned is not known: POISONED is empty where some may be",
    "root sees the flags of the pages of online blocks (/proc/kpageflags), and what the kernel log "
    "says of offline ones (/dev/kmsg): run this as root, on the machine itself",
)

DEVICES_UNKNOWN = Message(
    "cannot tell which memory came with a device of virtio-mem or dax",
    "run this as root, on the machine itself (/proc/iomem)",
)

HOLES_UNKNOWN = Message(
    "cannot tell what is in the holes",
    "run this as root, on the machine itself (/proc/iomem)",
)

NO_ADDRESS = Message(
    "standard input names no address of memory",
    "lsmem(1) lists the messages of the kernel, mcelog and rasdaemon that --at - understands",
)

MANY_ADDRESSES = Message("standard input names more than {count} addresses: the first are listed")

# --diff

_TAKES = (
    "--diff takes what lsmem --json --typed wrote, a directory or tar archive made by memsim"
    " capture, or a memory layout: a file, or a directory with files whose names end in .toml"
)
NOT_A_FILE = Message("{file} is {kind}, not a regular file", _TAKES + "; - is standard input")
TOO_LARGE = Message("{file} is larger than {size} bytes", _TAKES)
EMPTY = Message("{file} is empty", _TAKES)
NOT_A_DOCUMENT = Message("{file} is not a JSON document", _TAKES)
BROKEN_JSON = Message("{file} is broken JSON: {reason}", _TAKES)
NOT_TYPED = Message("{file} is JSON without --typed, which leaves out too much", _TAKES)
OTHER_VERSION = Message("{file} has schema_version {found}, and must have {expected}", _TAKES)
NOT_A_LISTING = Message("{file} is not a listing of memory: {reason}", _TAKES)
UNREADABLE = Message("cannot read {file}: {reason}", _TAKES)
OTHER_BLOCK_SIZE = Message("Blocks of another size are other blocks: they are not compared.")

# --watch

WATCH_HEADING = Message("lsmem --watch, by {source}. Ctrl-C ends it.")
WATCH_STARTED = Message("{blocks}, watched by {source}")
NO_CHANGE_YET = Message("no change yet")
TOO_NARROW = Message("Lines are cut off: the window is too narrow. -o BLOCK,SIZE,STATE needs less.")
TOO_SMALL = Message("... {count} more lines: window too small")
