"""A file that appears with all of its content, or not at all."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def replacing(path: str) -> Iterator[TextIO]:
    """A stream whose text replaces the file PATH at the end, if no error comes.

    Until then nobody sees it: it is written beside the file, under a name that begins with a dot.
    The file can be read by all. Raises OSError; EINVAL if something else than a regular file is
    there.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
    directory, name = os.path.split(path)
    new = os.path.join(directory, f".{name}.{os.getpid()}")
    try:
        with suppress(FileNotFoundError):
            os.unlink(new)
        file = os.open(new, _NEW, 0o644)
        try:
            with os.fdopen(file, "w", encoding="utf-8") as stream:
                os.fchmod(file, 0o644)
                yield stream
                stream.flush()
                os.fsync(file)
            os.rename(new, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(new)
            raise
    except OSError as error:
        if error.filename not in (None, new):
            raise
        raise OSError(error.errno, error.strerror, path) from None
