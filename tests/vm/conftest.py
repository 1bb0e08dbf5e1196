"""Virtual machines for the tests here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from guest.judge.comparison import Comparison
from needs import S390_GUEST, X86_GUEST
from vm.checked import check_documents
from vm.guest import Guest
from vm.machines import ONE_NODE, TWO_NODES

HERE = Path(__file__).parent
S390 = HERE / "s390"

TALLIES = pytest.StashKey[dict[str, Comparison]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLIES] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory is marked `vm`, and needs a guest.

    Tests of s390 guests come last: these boot meanwhile.
    """
    items.sort(key=lambda item: S390 in item.path.parents)
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.vm)
            wanted = S390_GUEST if S390 in item.path.parents else X86_GUEST
            item.add_marker(pytest.mark.needs(*wanted))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The figure: how far the simulator agrees with Linux."""
    tallies = config.stash[TALLIES]
    if tallies:
        terminalreporter.section("simulated kernel and real kernel")
        for name, tally in tallies.items():
            terminalreporter.line(f"{name}: {tally}")
        terminalreporter.line(f"in all: {sum(tallies.values(), Comparison())}")


@pytest.fixture(autouse=True, scope="session")
def documents_are_valid() -> Iterator[None]:
    """What programs write in guests is held against the schemas, as what commands write here is."""
    with pytest.MonkeyPatch.context() as patch:
        check_documents(patch)
        yield


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Comparison:
    """Counts what this test compares; printed at the end of the run."""
    tallies = request.config.stash[TALLIES]
    return tallies.setdefault(request.node.name, Comparison())


@pytest.fixture(scope="session")
def one_node() -> Iterator[Guest]:
    """512 MiB, blocks 0 to 3, and a DIMM of 1 GiB, blocks 32 to 39, which are offline."""
    with Guest(ONE_NODE) as guest:
        yield guest


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[Guest]:
    """Blocks 0 to 2 and 32 to 39 on node 0, 3 and 4 and 40 to 47 on node 1."""
    with Guest(TWO_NODES) as guest:
        yield guest
