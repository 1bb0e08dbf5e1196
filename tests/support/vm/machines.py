"""The virtual machines of the tests, as data. Sizes in bytes."""

from dataclasses import dataclass

from guest.hardware import CXL_MODULES, GIB, MIB, Dimm

__all__ = ["GIB", "MIB", "Dimm", "Machine"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What QEMU and the kernel are started with.

    `nodes` is the boot memory of each NUMA node; `dimms` are there from the start (their blocks are
    offline, unless a parameter says otherwise); `parameters` go to the kernel's command line.
    """

    nodes: tuple[int, ...] = (512 * MIB,)
    dimms: tuple[Dimm, ...] = ()
    parameters: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    """Further options of QEMU."""
    modules: tuple[str, ...] = ()
    """More modules of the kernel, which are loaded at boot."""
    most: int = 4 * GIB
    """Room for DIMMs."""


ONE_NODE = Machine(dimms=(Dimm("dimm0", GIB),))
ONE_LARGE_DIMM = Machine(dimms=(Dimm("dimm0", 2 * GIB),))
TWO_NODES = Machine(
    nodes=(384 * MIB, 256 * MIB), dimms=(Dimm("dimm0", GIB, 0), Dimm("dimm1", GIB, 1))
)
TWO_NODES_NO_DIMM = Machine(nodes=(384 * MIB, 256 * MIB))

VIRTIO_MEM_BLOCKS = 2
VIRTIO_MEM_AND_DAX = Machine(
    nodes=(768 * MIB,),
    dimms=(Dimm("dimm0", 256 * MIB),),
    devices=(
        "-object",
        f"memory-backend-ram,id=ram-virtio,size={512 * MIB}",
        "-device",
        f"virtio-mem-pci,memdev=ram-virtio,requested-size={VIRTIO_MEM_BLOCKS * 128 * MIB}",
    ),
    modules=CXL_MODULES[-3:],
    # 256 MiB of the RAM are "soft reserved", as firmware does with memory for dax.
    parameters=("memmap=256M%0x10000000-1+0xefffffff",),
)

# Linux 6.1 takes the struct pages from the added memory itself only where that is one block
# (mm/memory_hotplug.c, mhp_supports_memmap_on_memory).
MEMMAP_ON_MEMORY = Machine(
    dimms=tuple(Dimm(f"dimm{number}", 128 * MIB) for number in range(4)),
    parameters=("memory_hotplug.memmap_on_memory=1",),
)
