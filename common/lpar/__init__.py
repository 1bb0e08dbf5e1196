"""A real s390 kernel with standby memory, booted in QEMU, whose service element is played here."""
