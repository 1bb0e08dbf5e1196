"""Which blocks an entry of a layout with a size claims, and which ones it leaves to others. Nothing
is read or written here."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import groupby
from operator import or_
from typing import NamedTuple

from memory_hotplug.change.block_sets import ends_of
from memory_hotplug.change.claims import Claims, contradict
from memory_hotplug.change.plan import Order
from memory_hotplug.layout.model import Entry
from memory_hotplug.runs import Run

__all__ = ["Part", "claim_size", "lasting", "reserved", "with_contested"]


class Part(NamedTuple):
    """An entry of a layout, on a machine, with sets of blocks as block_sets.py has them."""

    entry: Entry
    order: Order
    ranges: Sequence[Run]
    """Block numbers; empty for all blocks."""
    within: int
    """The blocks in these ranges."""
    found: int
    """Those of them that the entry may be about."""
    wanted: int
    """With a size, the number of blocks."""
    contested: int = 0
    """With a size, of the blocks found, those that another entry, which has less to choose from,
    may need for something else."""


def with_contested(parts: Sequence[Part]) -> Sequence[Part]:
    """PARTS with the blocks that they leave to others as far as they can."""
    taken: dict[Order, int] = {}
    contested: dict[int, int] = {}
    for _, same in groupby(sorted(parts, key=_choice), key=_choice):
        alike = list(same)
        for part in alike:
            if part.entry.size is not None:
                others = (found for order, found in taken.items() if contradict(order, part.order))
                contested[id(part.entry)] = reduce(or_, others, 0)
        for part in alike:
            taken[part.order] = taken.get(part.order, 0) | part.found
    return [part._replace(contested=contested.get(id(part.entry), 0)) for part in parts]


def _choice(part: Part) -> int:
    """The number of blocks from which an entry can choose."""
    return part.found.bit_count()


def lasting(parts: Sequence[Part], unclaimed: Callable[[], Claims]) -> dict[int, tuple[int, int]]:
    """For each entry with a size, the blocks that are as it wants them, and that earlier entries
    leave so if it does not claim them; and those that earlier sizes may count on, too."""
    before, whole, found = unclaimed(), unclaimed(), dict[int, tuple[int, int]]()
    counted = 0
    for part in parts:
        if part.entry.size is None:
            before.claim(part.found, part.order, part.entry, again=True)
        else:
            found[id(part.entry)] = before.lasting(part.found, part.order), counted
            counted |= whole.so(part.found, part.order)
    return found


def reserved(
    parts: Sequence[Part], unclaimed: Callable[[], Claims], stay: Mapping[int, tuple[int, int]]
) -> dict[int, int]:
    """For each entry with a size, blocks that are so already and that it may need. Without that, a
    later entry would take such memory at the next run, and so on until nothing is left."""
    claims, found = unclaimed(), dict[int, int]()
    for part in reversed(parts):
        if part.entry.size is None:
            claims.claim(part.found, part.order, part.entry)
        else:
            found[id(part.entry)] = _claim_what_is_so(claims, part, stay[id(part.entry)])
    return found


def claim_size(claims: Claims, part: Part, stay: tuple[int, int]) -> int:
    """Have an entry with a size claim its blocks; return how many are lacking."""
    claims.hold(part.found, part.wanted, part.order, part.entry)
    _claim_what_is_so(claims, part, stay)
    count = max(part.wanted - claims.serving(part.found, part.order), 0)
    return claims.claim_best(part.found, count, part.order, part.entry, part.contested)


def _claim_what_is_so(claims: Claims, part: Part, stay: tuple[int, int]) -> int:
    """Have an entry with a size claim what is so already, as far as it needs that; return it.

    Last what another size may need for something else. Of the rest, first what an earlier entry
    would change, and last what earlier sizes may count on: so the next run claims the same, also if
    there is more then that is so.
    """
    order, highest = part.order, part.entry.highest
    count = max(part.wanted - claims.serving(part.found, order), 0)
    so, found = claims.so(part.found, order), 0
    stays, counted = stay
    for some in (so & ~part.contested, so & part.contested):
        for one in (some & ~stays, some & stays & ~counted, some & stays & counted):
            found |= ends_of(one, count - found.bit_count(), highest=highest)
    claims.claim(found, order, part.entry)
    return found
