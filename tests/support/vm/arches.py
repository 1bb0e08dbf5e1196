"""Tests of several architectures."""

import pytest

from needs import S390_GUEST, arch_guest

IN_CI = ("x86_64", "s390x")
"""What .ci/run boots."""


def with_guest(*names: str) -> list[object]:
    """Architectures as parameters; those that .ci/run does not boot have a mark."""
    return [
        pytest.param(
            name,
            marks=[
                pytest.mark.needs(*(S390_GUEST if name == "s390x" else arch_guest(name))),
                *([] if name in IN_CI else [pytest.mark.arches]),
            ],
        )
        for name in names
    ]
