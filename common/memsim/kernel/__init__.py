"""The state machine of a kernel's memory blocks. It knows no paths, no files and no clock.

blocks       what is at each block number
state        what else changes
zones        the zone in which a block is set online
storage      where a block's storage and its struct pages come from
transitions  the transitions of blocks, and what makes them fail
devices      what brings memory in, and its memory groups
slots        blocks that come and go with a device
"""

from memsim.kernel.blocks import Blocks
from memsim.kernel.transitions import Kernel

__all__ = ["Blocks", "Kernel"]
