"""A file for the output, which changes at once and as a whole, or not at all."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from safe_files.replace import replacing


@contextmanager
def open_output(path: str) -> Iterator[TextIO]:
    """A stream whose text replaces the file PATH at the end, if no error comes.

    The file can be read by all. Raises OSError; EINVAL if something else than a regular file is
    there.
    """
    directory, name = os.path.split(path)
    foreign: OSError | None = None
    try:
        at = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            with replacing(at, name) as stream:
                os.fchmod(stream.fileno(), 0o644)
                text = io.TextIOWrapper(stream, encoding="utf-8")
                try:
                    yield text
                except OSError as error:
                    # One about another file keeps its name.
                    foreign = error if error.filename is not None else None
                    raise
                text.detach()
        finally:
            os.close(at)
    except OSError as error:
        if error is foreign:
            raise
        raise OSError(error.errno, error.strerror, path) from None
