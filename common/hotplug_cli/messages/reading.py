"""The messages of lsmem and chmem about what was left out of a reading, or could not be read."""

from hotplug_cli.messages import Message

LEFT_OUT = Message("{blocks} left out: {reason}", manual="memoryN is left out: reason")
NOT_KNOWN = Message(
    "{attribute} of {blocks} not known: {file}: {reason}",
    manual="attribute of memoryN is not known: file: reason",
)
