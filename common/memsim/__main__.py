"""`python -m memsim`: the same as the console script."""

from memsim.cli import main

main()
