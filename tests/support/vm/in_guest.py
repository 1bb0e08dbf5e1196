"""Runs in a guest: what tests ask of it besides running programs. The agent calls its functions."""

import os


def put(path: str, data: str, mode: int) -> None:
    """Write a file, with the directories above it; the data has a character for each byte."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data.encode("latin-1"))
    os.chmod(path, mode)
