"""What a machine shows beside its blocks: memory in use, pages, devices, logs, events."""
