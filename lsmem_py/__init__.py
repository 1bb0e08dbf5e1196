"""The lsmem command: list the memory blocks of a machine."""
