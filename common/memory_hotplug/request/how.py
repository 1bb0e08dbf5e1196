"""How a change is carried out."""

from __future__ import annotations

from memory_hotplug.change.lock import Held
from memory_hotplug.change.transaction import Patience, Watch
from memory_hotplug.errors import BadOrderError
from memory_hotplug.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict
else:

    class TypedDict(dict):
        """What typing has is for type checkers, and takes long to import."""

        def __init_subclass__(cls, *, total: bool) -> None:
            pass


__all__ = ["PREFERENCES", "How", "Manner", "check_type", "manner_of"]

PREFERENCES = ("auto", "highest", "best")


class How(TypedDict, total=False):
    """How a change is carried out; all keys can be left out.

    They are keyword arguments of `Machine.change`, `Machine.total`, `Machine.apply`,
    `Machine.undo` and `Machine.forecast`.
    """

    keep_free: int | None
    """Bytes that are to stay available when memory is set offline. Without it, what the layout of
    the machine says, or the kernel's min watermarks and 5 % of what remains."""
    force: bool
    """Take memory however much of it is in use, and let zone Movable become of any size."""
    all_or_nothing: bool
    """Undo all changes if a block fails, or there is too little memory."""
    retry: int
    """How often a busy block is retried."""
    prefer: str
    """Which blocks are tried first for a size to set offline. `auto`, as without it: those that can
    go, so that devices become empty; `highest`: those with the highest numbers; `best`: those with
    the least memory in use."""
    held: Held | None
    """What `Machine.hold` returned, of another object for the same machine. Without it the machine
    is held meanwhile, unless the thread holds it already by this object. BadOrderError is raised in
    the iteration for one that is closed, or of another machine."""
    wait: float | None
    """Seconds to wait for another process that changes the machine; None waits for ever."""
    watch: Watch
    """What can stop the work."""
    observe: bool
    """Whether a block is read after a success as well, which is so by default."""
    dry_run: bool
    """Write nothing: the outcomes are those that are expected."""
    text: str
    """The words of a person for what is asked, for reports."""


class Manner(NamedTuple):
    """`How`, with what is so by default."""

    keep_free: int | None = None
    force: bool = False
    all_or_nothing: bool = False
    retry: int = 0
    prefer: str = "auto"
    held: Held | None = None
    wait: float | None = None
    watch: Watch = Watch()
    observe: bool = True
    dry_run: bool = False
    text: str = ""

    @property
    def patience(self) -> Patience:
        """How often a write is retried."""
        return Patience(busy=self.retry, again=max(self.retry, Patience().again))


def check_type(name: str, value: object, wanted: type) -> None:
    """Raises TypeError for a VALUE that is none. A program without types is told before anything is
    written."""
    if not isinstance(value, wanted):
        raise TypeError(f"{name} must be of type {wanted.__name__}, not {type(value).__name__}")


def manner_of(how: How) -> Manner:
    """Raises TypeError for a key that there is not, and for a value of a wrong type, and
    BadOrderError for a wrong value."""
    found = Manner(**how)
    check_type("watch", found.watch, Watch)
    if found.held is not None:
        check_type("held", found.held, Held)
    if found.prefer not in PREFERENCES:
        raise BadOrderError(f"blocks can be preferred by {', '.join(PREFERENCES)}")
    if found.force and found.keep_free is not None:
        raise BadOrderError("either keep_free or force can be given")
    if found.retry < 0 or (found.keep_free or 0) < 0 or (found.wait or 0) < 0:
        raise BadOrderError("keep_free, retry and wait are 0 or more")
    return found
