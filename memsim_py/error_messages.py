"""The message for each error of the simulator."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Final

from hotplug_cli.message import Message
from memsim import errors
from memsim.errors import Obstacle
from memsim_py import messages
from safe_files.errors import IrregularError

if TYPE_CHECKING:
    from hotplug_cli.message import Sentence

__all__ = ["sentence_of"]

_OF_MOUNTS: Final[dict[Obstacle, Message]] = {
    Obstacle.NO_MFUSEPY: messages.NO_MFUSEPY,
    Obstacle.NO_LIBFUSE: messages.NO_LIBFUSE,
    Obstacle.NO_DEVICE: messages.NO_FUSE_DEVICE,
    Obstacle.DENIED: messages.FUSE_DENIED,
    Obstacle.NOT_A_DIRECTORY: messages.NOT_A_DIRECTORY,
    Obstacle.ITSELF: messages.MOUNT_ON_ITSELF,
    Obstacle.OCCUPIED: messages.MOUNTED_ALREADY,
    Obstacle.FAILED: messages.CANNOT_MOUNT,
}


def sentence_of(error: Exception) -> Sentence | None:
    """The sentence about an error of memsim; None for any other."""
    match error:
        case errors.UnknownProfileError():
            known = ", ".join(error.profiles)
            return messages.UNKNOWN_PROFILE.of(name=error.name, profiles=known)
        case errors.MachineError():
            return messages.WRONG_MACHINE.of(
                where=error.where, expected=error.expected, found=error.found
            )
        case errors.MountError():
            return _OF_MOUNTS[error.obstacle].of(
                mountpoint=error.mountpoint,
                quoted=shlex.quote(error.mountpoint),
                python=shlex.quote(sys.executable),
            )
        case errors.NamespaceError():
            return messages.NO_NAMESPACE.of(reason=error.reason)
        case _:
            return _of_file(error)


def _of_file(error: Exception) -> Sentence | None:
    match error:
        case errors.DamagedError():
            return messages.DAMAGED.of(
                root=error.filename, record=error.record, reason=error.reason
            )
        case IrregularError():
            return messages.IRREGULAR.of(
                file=error.filename, expected=error.expected, found=error.found
            )
        case errors.NoParentError():
            return messages.NO_PARENT.of(file=error.filename, directory=error.filename2)
        case errors.NoBlocksError():
            return messages.NO_BLOCKS.of(directory=error.filename, missing=error.filename2)
        case errors.NotACaptureError():
            return messages.NOT_A_CAPTURE.of(file=error.filename)
        case FileExistsError():
            return messages.EXISTS.of(file=error.filename)
        case _:
            return None
