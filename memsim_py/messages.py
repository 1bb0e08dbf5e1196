"""The messages of memsim only."""

from hotplug_cli.message import Message

# The command line

WHAT_TO_DO = Message("say what to do: {commands}")
UNKNOWN_COMMAND = Message("no command is named {name}; the commands are {commands}")
OPTION_BEFORE_COMMAND = Message(
    "",
    "options follow the command, as in memsim show --json DIR",
    "unrecognized option 'option'",
)
SIZE_EXPECTED = Message("{option}: expected a size such as 128M, not {text}")
DECIMAL_SIZE = Message(
    "",
    "{text} is {bytes} bytes, in powers of 1000; {binary} is {size}",
    SIZE_EXPECTED.entry,
)
WHICH_MACHINE = Message("say which machine, in one way: {ways}")
WHICH_ONE_MACHINE = Message("say which machine in one way, not in two: {given}")
MEMORY_NEEDED = Message("option --memory is missing", "it is the memory that is online at boot")
ONLY_WITH_MEMORY = Message("options --standby and --increment need --memory")
OPTION_NEEDS = Message("option {option} needs {needed}")
WORD_EXPECTED = Message("{option}: expected {words}, not {text}")
NUMBER_EXPECTED = Message("{option}: expected a number from 1 on, not {text}")
SECONDS_EXPECTED = Message("{option}: expected a number of seconds, not {text}")
ONLY_STANDBY = Message(
    "option {option} is for s390x, not for {arch}",
    "memsim boot -h lists what goes with which architecture",
)
WHICH_KERNEL = Message("say which kernel in one way: --kernel or --release")
ADDRESS_EXPECTED = Message(
    "--mirror: expected the URL of an archive of Debian, not {text}",
    "its directories are dists and pool",
)
FAULT_EXPECTED = Message(
    "{option}: expected BLOCK=ERRNO[:TIMES], not {text}",
    "for example 3=EBUSY, 3=EBUSY:2 for the first two times, 3=signal for no end until a signal "
    "comes, or 3=none",
)
DELAY_EXPECTED = Message(
    "--delay: expected TRANSITION:BLOCK=SECONDS, not {text}", "the transitions are {transitions}"
)
ADDRESS_OF_PAGE = Message("expected a physical address such as 0x7d000000, not {text}")
NOT_POISONED = Message(
    "the page at {address} is not poisoned: {reason}",
    "only memory that is online can fail, and a page only once",
)
WHICH_FAULT = Message(
    "say which transition of which memory block fails or takes time",
    "for example --offline 3=EBUSY",
)
DIR_OR_PROFILE = Message("DIR and --profile cannot be combined")
OTHER_ARCHIVE = Message(
    "{file}: memsim capture writes a .tar.gz or a directory", "choose another name"
)
NO_COMMAND = Message("{command}: command not found")

HOW_MUCH_MEMORY = Message("say how much memory in whole memory blocks of {size}: --memory SIZE")
HOW_MUCH_OF_PARTS = Message(
    "say how much memory of virtio-mem, as a multiple of {size}: --memory SIZE"
)

# Machines

NO_ROOM = Message(
    "there is no room for {size} of memory{where}",
    "memsim create --memory SIZE --slots SIZE makes a machine with room",
    manual="there is no room for size of memory",
)
NOT_PLUGGED = Message(
    "no contiguous {size} of plugged-in memory can be taken out{where}",
    "chmem --disable sets memory offline; a DIMM and CXL memory go as a whole, see memsim show",
    manual="no contiguous size of plugged-in memory can be taken out",
)
NOT_ADDED = Message(
    "the kernel did not add the DIMM: its size is no multiple of a memory block, {size}",
    "memsim show --log has what the kernel said",
    manual="the kernel did not add the DIMM: its size is no multiple of a memory block, size",
)
HOW_TO_UNPLUG = Message(
    "say what to take out in one way: --memory SIZE, --device NAME or --blocks FIRST-LAST",
    "--device NAME --memory SIZE takes a part of a device of virtio-mem",
)
HOW_TO_RESIZE = Message("a device that is there has its node and its kind: leave out {option}")
NOT_IN_PARTS = Message("{device} is no device of virtio-mem, so it comes and goes as a whole")
NOT_ALL_RESIZED = Message(
    "{device} has {size} now, {missing} from what was asked for",
    "a device takes the blocks after its own, and memory in use stays",
)
BLOCKS_EXPECTED = Message("--blocks: expected FIRST-LAST, not {text}", "for example 104-111")
NO_DEVICE = Message(
    "no device that was plugged in is named {device}", "memsim show {directory} lists the devices"
)
NOT_TAKEN = Message("memory blocks {blocks} cannot be taken out: {reason}")
STAYS = Message(
    "block {block} cannot be set offline: {reason}; nothing was taken out",
    "memsim show lists the faults, and lsmem --why says what blocks hold",
)
BY_SIZE_ONLY = Message(
    "of a guest, memory is taken out by its size only", "give --memory SIZE, and --as virtio-mem"
)

NOT_SIMULATED = Message(
    "{directory}: expected a simulated machine", "memsim create {quoted} --profile NAME makes one"
)
EXISTS = Message("{file}: exists already, and is left as it is", "choose another name")
NO_PARENT = Message("{file}: there is no directory {directory}")
UNKNOWN_PROFILE = Message("no profile is named {name}; the profiles are {profiles}")
WRONG_MACHINE = Message("{where}: expected {expected}, {found}")
MANY_BLOCKS = Message("making {count} memory blocks in {directory}; Ctrl-C ends it")
NOT_ALIKE = Message("files of the machine that differ from {tree}: {count}, for example {example}")
NO_BLOCKS = Message("{directory}: no memory blocks here: there is no {missing}")
NOT_A_CAPTURE = Message("{file}: not an archive that memsim capture made")
NO_ATTRIBUTE = Message(
    "{attribute}: this machine has no such attribute now", "the attributes are below sys in {root}"
)
PATH_FROM_ROOT = Message("", "did you mean {path}?", NO_ATTRIBUTE.entry)
NO_BLOCK = Message("the machine has no memory block {block}")
DAMAGED = Message(
    "{root}: the simulated machine's records are damaged ({record}: {reason}), so it can only be "
    "read",
    "memsim create makes a new one",
)
IRREGULAR = Message("{file}: expected {expected}, not {found}")

# Mounts

_INSTEAD = "memsim write, and lsmem and chmem --sysroot DIR, work without a mount"
NO_MFUSEPY = Message(
    "mounting needs mfusepy", "{python} -m pip install mfusepy installs it; " + _INSTEAD
)
NO_LIBFUSE = Message("mounting needs libfuse 3", "the package fuse3 has it; " + _INSTEAD)
NO_FUSE_DEVICE = Message(
    "mounting needs /dev/fuse, which is not there", "modprobe fuse can help; " + _INSTEAD
)
FUSE_DENIED = Message("mounting needs /dev/fuse, which only root may open here", _INSTEAD)
NOT_A_DIRECTORY = Message("{mountpoint}: expected a directory to mount on")
MOUNT_ON_ITSELF = Message("{mountpoint}: the machine's own directory cannot be mounted on")
MOUNTED_ALREADY = Message(
    "{mountpoint}: something is mounted here already", "fusermount3 -u {quoted} unmounts it"
)
CANNOT_MOUNT = Message("cannot mount a file system here", "is fuse3 installed? " + _INSTEAD)
NO_NAMESPACE = Message(
    "cannot make a mount namespace here: {reason}",
    "run memsim shell as root, or allow user namespaces (sysctl user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone); " + _INSTEAD,
)

# A booted machine

GUEST_GONE = Message(
    "{directory}: the guest has ended, or is another user's ({reason})",
    manual="directory: the guest has ended, or is another user's (reason)",
)
CANNOT_PLUG = Message("cannot change the guest's memory: {reason}")
NOT_RESIZED = Message(
    "the guest has {has} of virtio-mem, not {wanted}: it takes or gives back no more now",
    "it takes no more than 1G before some is set online; memory in use stays",
)
CANNOT_CAPTURE = Message("cannot capture the guest: {reason}")
HOW_MUCH_OF_A_GUEST = Message("say how much memory: --memory SIZE")

CANNOT_BOOT = Message("cannot boot: {reason}")
BOOT_NOT_HERE = Message(
    "cannot boot: this is the single file, which has no machine to boot",
    "install memory-hotplug-tools for it",
    manual="cannot boot: reason",
)
NOT_FETCHED = Message(
    "cannot boot: there is no {arch} kernel here: memsim boot{words} --fetch gets one, and its "
    "programs, from Debian's archive",
    manual="cannot boot: reason",
)
