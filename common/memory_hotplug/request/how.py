"""How a change is carried out."""

from __future__ import annotations

from collections.abc import Iterable

from memory_hotplug.change.lock import Held
from memory_hotplug.change.transaction import Patience, Watch
from memory_hotplug.checks import check_type, optional, seconds, several, whole_number
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


__all__ = ["PREFERENCES", "How", "Manner", "Memory", "What", "manner_of", "parted"]

PREFERENCES = ("auto", "highest", "best")


class How(TypedDict, total=False):
    """How a change is carried out; all keys can be left out.

    They are keyword arguments of `Machine.change`, `Machine.total`, `Machine.apply` and
    `Machine.undo`, and with `What` of `Machine.forecast`.
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


class What(How, total=False):
    """Which memory is changed, with the keys of `How` for how; all keys can be left out.

    They are keyword arguments of `Machine.change` and `Machine.forecast`. A size, blocks, a device
    or a node must be given; with a device or a node, a size and blocks are only of these.
    """

    size: int | None
    """Bytes, a multiple of the block size. Which blocks are taken is chosen."""
    blocks: Iterable[int] | None
    """Numbers of blocks; not with a size. The lowest is changed first, and the highest is set
    offline first."""
    device: str | None
    """The name of the device that brought the blocks, as `Device.name` has it."""
    node: int | None
    """The number of a NUMA node."""
    absent_ok: bool
    """Change what there is if the machine lacks some of the blocks, or the node: the work is not
    complete then, and its `absences` tell. Without it nothing is begun."""


class Memory(NamedTuple):
    """The keys of `What` alone, with what is so by default."""

    size: int | None = None
    blocks: Iterable[int] | None = None
    """A range has each number between its ends."""
    device: str | None = None
    node: int | None = None
    absent_ok: bool = False


def parted(what: What) -> tuple[Memory, How]:
    """Which memory, and how. Raises TypeError for a value of a wrong type."""
    memory = Memory(**{key: what[key] for key in Memory._fields if key in what})  # type: ignore[literal-required]  # its own keys
    how = How(**{key: what[key] for key in what if key not in Memory._fields})  # type: ignore[typeddict-item, literal-required]  # the others
    optional("device", memory.device, str)
    check_type("absent_ok", memory.absent_ok, bool)
    return (
        memory._replace(
            size=None if memory.size is None else whole_number("size", memory.size),
            blocks=_numbers(memory.blocks),
            node=None if memory.node is None else whole_number("node", memory.node),
        ),
        how,
    )


def _numbers(blocks: Iterable[int] | None) -> Iterable[int] | None:
    """BLOCKS, of which a range stays one."""
    whole_range = isinstance(blocks, range) and blocks.step == 1
    return blocks if blocks is None or whole_range else several("blocks", blocks)


def manner_of(how: How) -> Manner:
    """Raises TypeError for a key that there is not, and for a value of a wrong type, and
    BadOrderError for a wrong value."""
    if unknown := how.keys() - Manner._fields:
        raise TypeError(f"there is no argument {min(unknown)}")
    found = Manner(**how)
    check_type("watch", found.watch, Watch)
    optional("held", found.held, Held)
    check_type("text", found.text, str)
    for name in ("force", "all_or_nothing", "observe", "dry_run"):
        check_type(name, how.get(name, False), bool)
    seconds("wait", found.wait)
    whole_number("retry", found.retry)
    if found.keep_free is not None:
        whole_number("keep_free", found.keep_free)
    if found.prefer not in PREFERENCES:
        raise BadOrderError(f"blocks can be preferred by {', '.join(PREFERENCES)}")
    if found.force and found.keep_free is not None:
        raise BadOrderError("either keep_free or force can be given")
    if found.retry < 0 or (found.keep_free or 0) < 0 or not (found.wait or 0) >= 0:
        raise BadOrderError("keep_free, retry and wait are 0 or more")
    return found
