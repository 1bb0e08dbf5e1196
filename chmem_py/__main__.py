"""python -m chmem_py"""

from chmem_py.cli import main

main()
