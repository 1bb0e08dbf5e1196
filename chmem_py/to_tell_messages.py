"""The messages of chmem about who must be told of a change."""

from hotplug_cli.message import Message

KDUMP_NOT_TOLD = Message(
    "kdump may still have the memory map from before: the kernel does not update it"
    " (crash_hotplug is not 1)",
    "{command} loads it anew",
)
KDUMP_NOT_TOLD_BY_HAND = Message(
    KDUMP_NOT_TOLD.text, "load the crash kernel anew, as it was loaded", KDUMP_NOT_TOLD.entry
)
FADUMP_NOT_TOLD = Message(
    "fadump may still have the memory map from before: the kernel does not update it"
    " (hotplug_ready is not 1)",
    "{command} registers it anew",
)
KUBELET_NOT_TOLD = Message(
    "kubelet counts the memory when it starts, and this change came later",
    "{command} has it count again",
)
POLICY_TOO_LATE = Message(
    "auto_online_blocks is {word} when the kernel starts ({file}): memory that a driver adds before"
    " the layout is applied is treated so",
    "memhp_default_state={policy} on the kernel's command line sets it from the start",
)
