"""A machine's memory blocks and a kernel's answers about them: no paths, no files, no clock.

blocks   what is at each block number
zones    which zone a block comes online into
storage  where its memory and its struct pages come from
state    the transitions of blocks, and what makes them fail
"""

from memsim.kernel.blocks import Blocks
from memsim.kernel.state import Kernel

__all__ = ["Blocks", "Kernel"]
