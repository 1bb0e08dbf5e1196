"""Simulated machines: a small Linux kernel that answers as /sys does."""
