"""What memsim alone can say."""

from hotplug_cli.messages import Message

WHAT_TO_DO = Message("say what to do: {commands}")
UNKNOWN_COMMAND = Message("no command is named {name}; the commands are {commands}")
