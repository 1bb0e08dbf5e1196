"""The memsim command: make simulated machines, change them, and run programs on them."""
