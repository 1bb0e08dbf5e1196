"""The job that a command line asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.request.asked import Request
from memory_hotplug.request.how import How
from memory_hotplug.request.work import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.layout.model import Policy

__all__ = ["Job"]


class Job(NamedTuple):
    """What is asked for, and how the work on it is begun once the machine is held."""

    request: Request
    work: Callable[[How], Work | None]
    """Begins it; None, once it is said why, if this machine cannot do that to any block."""
    policy: Policy | None = None
    """The policy that is asked for, with --policy."""
    layout_files: Sequence[str] = ()
    """The files, or the directory, that the layout of --apply is read from."""
