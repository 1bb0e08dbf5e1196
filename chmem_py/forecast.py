"""What a dry run finds, in messages: the comments of its script."""

from collections.abc import Iterator, Sequence

from chmem_py import forecast_messages as rows
from chmem_py.advice import done_word, may_have, share_of
from hotplug_cli import sizes
from hotplug_cli.block_names import named
from hotplug_cli.message import Sentence, Wording
from memory_hotplug.change.guard import ratio_of
from memory_hotplug.change.removal import Emptied
from memory_hotplug.request.outlook import Remains, forecast_of
from memory_hotplug.request.work import Work


def format_forecast(work: Work) -> Iterator[Sentence]:
    """What the dry run WORK, which is over, has found: whether zone Movable would be large, what
    would remain of each node, what could fail, which devices would be empty, and what would be
    changed."""
    tally, size = work.tally, work.selection.block_size
    found = forecast_of(work)
    if crowded := tally.crowded(ratio_of(work.machine)):
        yield rows.WOULD_BE_CROWDED.of(share=share_of(crowded), ratio=may_have(crowded))
    if found.machine:
        for node, remains in found.nodes.items():
            yield rows.WOULD_REMAIN_ON_NODE.of(node=node, **_words_of(remains))
        yield rows.WOULD_REMAIN.of(**_words_of(found.machine))
    if found.doubtful:
        yield rows.MAY_BE_REFUSED.of(blocks=named(found.doubtful))
    if found.not_removable:
        yield rows.WILL_BE_REFUSED.of(blocks=named(found.not_removable))
    yield from _of_devices(found.devices, size)
    if work.selection.again and (configured := tally.configured):
        yield rows.NODE_NOT_KNOWN.of(blocks=named(sorted(configured)))
    for setting in tally.settings:
        yield rows.WOULD_BE_SET.of(name=setting.name, word=setting.word)
    if found.changed:
        yield rows.WOULD_CHANGE.of(
            size=sizes.exact(len(found.changed) * size),
            done=done_word(tally.selection.request.action),
            blocks=named(found.changed),
        )
    elif not tally.settings:
        yield rows.NOTHING_WOULD_CHANGE.of()


def _of_devices(devices: Sequence[Emptied], block_size: int) -> Iterator[Sentence]:
    if empty := [one.device for one in devices if not one.left]:
        yield rows.WOULD_BE_EMPTY.of(devices=Wording(", ".join(empty), empty))
    for device, _, left in devices:
        if left:
            rest = sizes.human(left * block_size)
            yield rows.WOULD_BE_EMPTY_IN_PART.of(device=device, size=rest)


def _words_of(remains: Remains) -> dict[str, Wording]:
    return {name: sizes.human(size) for name, size in remains._asdict().items()}
