"""The chmem command: set memory online and offline, configure and deconfigure it."""
