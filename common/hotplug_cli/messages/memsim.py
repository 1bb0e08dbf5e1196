"""The messages of memsim only."""

from hotplug_cli.messages import Message

WHAT_TO_DO = Message("say what to do: {commands}")
UNKNOWN_COMMAND = Message("no command is named {name}; the commands are {commands}")
CANNOT_BOOT = Message("cannot boot: {reason}")
NOT_FETCHED = Message(
    "cannot boot: there is no s390 kernel here: memsim boot --fetch gets one, and its programs, "
    "from Debian's archive",
    manual="cannot boot: reason",
)
