"""Runs in the guest: makes writes one after the other and tells what each one did.

On standard input a JSON array of [path, text] (text as latin-1, so that any byte can be written);
on standard output a JSON array with an answer for each: [errno name or "", changes], where changes
maps an attribute's path below /sys/devices/system/memory to its text, for what is not as it was
before (null: gone). Before all of them stands an answer of its own: the condition at the start.
"""

import errno
import json
import os
import sys

MEMORY = "/sys/devices/system/memory"
WATCHED = ("state", "online", "valid_zones")


def read(path: str) -> str | None:
    """An attribute; None when there is none."""
    try:
        descriptor = os.open(f"{MEMORY}/{path}", os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return os.read(descriptor, 4096).decode()
    finally:
        os.close(descriptor)


def write(path: str, data: bytes) -> str:
    """One write(2), even of nothing; the name of the errno, or "" for success.

    Of a long text an attribute takes the first page and leaves the rest (fs/kernfs/file.c).
    """
    try:
        descriptor = os.open(path, os.O_WRONLY)
        try:
            taken = os.write(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "" if taken == min(len(data), 4096) else f"short: {taken}"


def condition() -> dict[str, str | None]:
    """Everything that is watched, of every block, and what becomes of blocks that are added."""
    blocks = [name for name in os.listdir(MEMORY) if name[:6] == "memory" and name[6:].isdigit()]
    paths = [f"{block}/{attribute}" for block in sorted(blocks) for attribute in WATCHED]
    return {path: read(path) for path in [*paths, "auto_online_blocks"]}


def main() -> None:
    """Replay."""
    before: dict[str, str | None] = {}
    answers = []
    for path, text in [(None, ""), *json.load(sys.stdin)]:
        failed = write(path, text.encode("latin-1")) if path else ""
        after = condition()
        changes = {path: text for path, text in after.items() if before.get(path, "") != text}
        changes |= dict.fromkeys(before.keys() - after.keys())
        answers.append([failed, changes])
        before = after
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
