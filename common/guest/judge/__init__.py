"""Judges the simulator by a real kernel: the same writes, and what both make of them.

writes      random writes, the same for the same seed
replay      runs in the guest: makes them and tells what came of each
real        the real kernel's answers, and a simulated machine like the guest
comparison  the simulator's answers beside them
shorten     fewer writes with the same difference, as a script
"""
