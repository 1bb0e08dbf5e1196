"""s390 guests: a fresh one for each test that asks for it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import needs
from guest.judge.comparison import Answer
from guest.judge.real import replayed
from guest.s390.lpar import Lpar
from guest.s390.parameters import Partition
from vm.lpar_machines import COVER_LETTER, FUZZED, Fuzzed
from vm.lpars import Lpars, Meanwhile

HERE = Path(__file__).parent


GUESTS = pytest.StashKey[Lpars]()
MEANWHILE = pytest.StashKey[Meanwhile]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to boot guests, and to make the random writes, beside the tests that come first."""
    ours = [item for item in session.items if HERE in item.path.parents]
    if not ours or session.config.option.collectonly or needs.missing(needs.S390_GUEST):
        return
    guests = session.config.stash[GUESTS] = Lpars()
    work: dict[str, Callable[[], Any]] = {"boot": lambda: guests.fresh(COVER_LETTER).close()}
    for item in ours:
        name = item.callspec.params.get("fuzzed") if hasattr(item, "callspec") else None
        if name:
            work[name] = partial(_replayed, guests, FUZZED[name])
    session.config.stash[MEANWHILE] = Meanwhile(work)


def _replayed(guests: Lpars, fuzzed: Fuzzed) -> list[Answer]:
    with guests.fresh(fuzzed.partition) as guest:
        return replayed(guest, fuzzed.writes)


@pytest.fixture
def answers(fuzzed: str, request: pytest.FixtureRequest) -> list[Answer]:
    """What the real kernel made of the random writes on a machine."""
    found: list[Answer] = request.config.stash[MEANWHILE].result(fuzzed)
    return found


@pytest.fixture(scope="session")
def guests(request: pytest.FixtureRequest) -> Lpars:
    """The session's guests."""
    return request.config.stash[GUESTS]


@pytest.fixture
def boot(guests: Lpars) -> Iterator[Callable[[Partition], Lpar]]:
    """Gives a guest that has just booted, and is gone after the test."""
    with ExitStack() as running:
        yield lambda partition: running.enter_context(guests.fresh(partition))


@pytest.fixture
def lpar(boot: Callable[[Partition], Lpar]) -> Lpar:
    """2 GiB online and 2 GiB standby, blocks of 128 MiB."""
    return boot(COVER_LETTER)
