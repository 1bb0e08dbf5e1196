"""Read and drive the memory blocks of a Linux machine, real or simulated."""
