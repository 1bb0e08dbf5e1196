"""The chmem command line."""

import sys


def main() -> None:
    """The console script."""
    print("chmem: not there yet", file=sys.stderr)
    sys.exit(1)
