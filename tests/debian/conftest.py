"""Debian guests."""

from pathlib import Path

import pytest

from needs import X86_GUEST

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory is marked `vm`, and needs a guest."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.vm)
            item.add_marker(pytest.mark.needs(*X86_GUEST, "Debian guest"))
