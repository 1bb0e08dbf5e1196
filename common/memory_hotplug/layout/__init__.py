"""What a machine shall be: a memory layout, its text and files, and what applies it at boot."""
