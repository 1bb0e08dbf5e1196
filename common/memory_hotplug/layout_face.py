"""The public face of layouts: a layout that has a text, and where a machine is not as it says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

from memory_hotplug.checks import check_type
from memory_hotplug.layout import model

if TYPE_CHECKING:
    from memory_hotplug.change.absence import Absence
    from memory_hotplug.change.plan import Change
    from memory_hotplug.layout.settings import Setting
    from memory_hotplug.machine import Machine

__all__ = ["Differences", "Layout"]


class Differences(NamedTuple):
    """Where a machine is not as a layout says."""

    settings: "Sequence[Setting]"
    """The settings that would be written."""
    changes: "Sequence[Change]"
    """The blocks that would be changed, in the order of changing."""
    absences: "Sequence[Absence]"
    """What the layout asks for and the machine does not have."""

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(self)


class Layout(model.Layout):
    """A memory layout, as memory-layout.d(5) describes it. Of the entries that match a block, the
    last one counts."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str, file: str = "layout") -> Self:
        """The layout in a text, which is TOML or JSON; FILE is its name in errors. Raises
        LayoutError."""
        from memory_hotplug.layout.notation import parse_layout

        check_type("text", text, str)
        check_type("file", file, str)
        found = parse_layout(text, file)
        return cls(found.policy, found.entries, found.keep_free)

    def differences(self, machine: "Machine") -> Differences:
        """Where MACHINE is not as this layout says. Raises LayoutError for what is impossible
        there."""
        from memory_hotplug.machine import Machine
        from memory_hotplug.request.asked import Request
        from memory_hotplug.request.wholes import select_layout

        check_type("machine", machine, Machine)
        found = select_layout(Request(), machine, self, force=True)
        ahead = [change for change in found.changes if change.is_ahead or change.plan.refused]
        return Differences(tuple(found.settings), ahead, tuple(found.absences))
