"""The memsim command line."""

import sys


def main() -> None:
    """The console script."""
    print("memsim: not there yet", file=sys.stderr)
    sys.exit(1)
