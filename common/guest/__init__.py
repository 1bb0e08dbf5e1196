"""Boot real kernels in QEMU, with memory that comes and goes; on s390, with standby memory."""

FACTS = "guest.json"
"""A file in the directory of a guest, and in no simulated machine: what the guest is."""
