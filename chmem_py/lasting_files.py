"""The files that chmem writes to have a change outlive a boot: the layout, and what applies it."""

import errno
import os

from chmem_py import messages
from chmem_py.output import FileChange, Output
from hotplug_cli.message import Message, Sentence
from memory_hotplug.layout.at_boot import RULES, UNIT, WANTED, is_empty
from memory_hotplug.trees.files import Tree
from memory_hotplug.trees.root_files import (
    is_masked,
    is_there,
    read_file,
    remove_file,
    replace_file,
    why_not_written,
)


def mask_of(root: str, path: str) -> Message | None:
    """The message about a file that is there to mask others of its name; None about any other. An
    empty layout is none: it is written anew."""
    if is_masked(root, path):
        return messages.MASKED
    if path in (UNIT, RULES) and is_empty(root, path):
        return messages.MASKED_BY_EMPTY
    return None


def why_not_made(tree: Tree, path: str) -> Sentence | None:
    """Why a file below the root of TREE masks others or cannot be written; None if nothing is known
    against it."""
    if mask := mask_of(tree.root, path):
        return mask.of(file=f"/{path}")
    refusal = why_not_written(tree.root, path, as_link=path == WANTED)
    if not isinstance(tree.system, str):
        # An archive.
        refusal = OSError(errno.EROFS, os.strerror(errno.EROFS), f"/{path}")
    if refusal is None:
        return None
    return messages.NOT_WRITABLE.of(file=refusal.filename, reason=refusal.strerror)


def text_of(root: str, path: str) -> str:
    """The text of a file; empty without one, and a line without text for an empty file, which masks
    those with its name. Raises OSError."""
    try:
        text = read_file(root, path).decode(errors="replace")
    except FileNotFoundError:
        text = ""
    return text or ("\n" if is_there(root, path) else "")


def bring(
    root: str, path: str, text: str, output: Output, line: str | None = None, *, dry_run: bool
) -> None:
    """Have a file with that TEXT; none, if it is empty. What is done is told, as LINE if that is
    given; in a dry run it is only said. Raises OSError."""
    if text == text_of(root, path):
        return
    if not dry_run and text:
        replace_file(root, path, text.encode())
    elif not dry_run:
        remove_file(root, path)
    output.tell(FileChange(path, removed=not text, rehearsed=dry_run), None if dry_run else line)
