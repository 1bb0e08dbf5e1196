"""What chmem alone can say."""

from hotplug_cli.messages import Message

# The command line

WHAT_TO_DO = Message("say what to do: {actions}", manual="bad usage")
ONE_OPERAND = Message("it takes one SIZE, RANGE or BLOCKRANGE, {given}", manual="bad usage")
UNKNOWN_ZONE = Message("unknown memory zone: {name}", "the zones are {zones}")
