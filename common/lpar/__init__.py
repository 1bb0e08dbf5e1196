"""Boot a real s390 kernel with standby memory in QEMU, and simulate its service element."""
