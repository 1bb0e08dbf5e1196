"""`python -m lsmem_py`: the same as the console script."""

from lsmem_py.cli import main

main()
