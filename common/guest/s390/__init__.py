"""The part of an s390 that QEMU has not: a service element that assigns and takes back storage."""
