"""Boot real kernels in QEMU, with memory that comes and goes; on s390, with standby memory."""
