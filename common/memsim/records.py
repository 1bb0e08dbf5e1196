"""The condition of a running kernel, except for its blocks, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from memsim.kernel import Blocks, Kernel
from memsim.kernel.storage import Hypervisor
from memsim.kernel.zones import Policy
from memsim.machine import Fault, Machine

__all__ = ["live", "restored"]


def live(kernel: Kernel) -> dict[str, Any]:
    """All that changes in a kernel, except for its blocks. `restored` is the inverse."""
    return {
        "pool": kernel.hypervisor.pool,
        "auto_online_blocks": kernel.auto_online_blocks,
        **asdict(kernel.zones.policy),
        "online_types": {str(block): word for block, word in kernel.online_types.items()},
        "faults": {
            transition: {str(block): list(asdict(fault).values()) for block, fault in of.items()}
            for transition, of in kernel.faults.items()
        },
        "delays": {
            transition: {str(block): seconds for block, seconds in of.items()}
            for transition, of in kernel.delays.items()
        },
    }


def restored(machine: Machine, blocks: bytes, values: Mapping[str, Any]) -> Kernel:
    """The kernel from the content of its blocks and from what `live` returned.

    Raises KeyError, TypeError, AttributeError or ValueError for values that no kernel can have.
    """
    if type(values["pool"]) is not int:
        raise TypeError("expected a number")
    return Kernel.restored(
        machine,
        Blocks.restored(machine, blocks),
        Hypervisor(machine, values["pool"]),
        Policy(
            values["online_policy"],
            values["auto_movable_ratio"],
            values["auto_movable_numa_aware"],
        ),
        auto_online_blocks=values["auto_online_blocks"],
        online_types={int(block): word for block, word in values["online_types"].items()},
        faults={
            transition: {int(block): Fault(*fault) for block, fault in of.items()}
            for transition, of in values["faults"].items()
        },
        delays={
            transition: {int(block): float(seconds) for block, seconds in of.items()}
            for transition, of in values["delays"].items()
        },
    )
