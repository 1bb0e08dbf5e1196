"""The udev rules of a machine, and what they do with memory that is added."""
