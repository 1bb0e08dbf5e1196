"""Trees that lsmem is tried on."""

from pathlib import Path

import pytest

import static_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six online blocks of 128 MiB on two nodes, to be spoilt."""
    group = {"range": [0, 2]}
    other = {"range": [3, 5], "node": 1, "zones": "Movable"}
    return static_tree.make(
        tmp_path, {"block_size": 1 << 27, "memmap_param": "N", "blocks": [group, other]}
    )
