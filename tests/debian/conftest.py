"""Debian guests; without what they need, the tests are skipped."""

from pathlib import Path

import pytest

from vm import debian
from vm.guest import missing

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory is marked `vm`, and skipped where no guest can run."""
    ours = [item for item in items if HERE in item.path.parents]
    reason = missing() if ours else None
    if not reason and not debian.fetched().exists():
        reason = "no Debian here: tests/debian/fetch"
    for item in ours:
        item.add_marker(pytest.mark.vm)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
