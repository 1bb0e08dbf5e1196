"""The messages of chmem about what a dry run finds: comments of its script."""

from hotplug_cli.message import Message

WOULD_BE_CROWDED = Message("zone Movable would have {share}; {ratio}")
WOULD_REMAIN_ON_NODE = Message(
    "node {node}: {rest} of {total} would remain; {used} is in use",
    manual="node N: rest of total would remain; used is in use",
)
WOULD_REMAIN = Message("{rest} of {total} would remain; {used} is in use")
MAY_BE_REFUSED = Message(
    "not in zone Movable, so that the kernel may refuse: {blocks}",
    manual="not in zone Movable, so that the kernel may refuse: memory blocks N",
)
WILL_BE_REFUSED = Message(
    "not removable, so that the kernel will probably refuse: {blocks}",
    manual="not removable, so that the kernel will probably refuse: memory blocks N",
)
WOULD_BE_EMPTY = Message("would be empty, and could be removed: {devices}")
WOULD_BE_EMPTY_IN_PART = Message(
    "would be emptied in part: {device}, of which {size} would stay online"
)
NODE_NOT_KNOWN = Message(
    "the node is not known before they are configured: {blocks}; "
    "what the layout says of their node would be done then",
    manual="the node is not known before they are configured: memory blocks N; "
    "what the layout says of their node would be done then",
)
WOULD_BE_SET = Message("{name} would be set to {word}")
WOULD_CHANGE = Message(
    "{size} would be {done}: {blocks}", manual="size would be enabled: memory blocks N"
)
NOTHING_WOULD_CHANGE = Message("nothing would be changed")
