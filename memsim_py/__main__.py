"""`python -m memsim_py`: the same as the console script."""

from memsim_py.cli import main

main()
