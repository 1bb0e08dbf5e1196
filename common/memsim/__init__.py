"""Simulated machines: a small Linux kernel with the files of /sys that are about memory."""
