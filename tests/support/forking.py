"""Tests whose own process forks, as the code that they test does in a process with one thread."""

import os

import pytest

forks = pytest.mark.filterwarnings(
    r"ignore:This process \(pid=\d+\) is multi-threaded, use of fork\(\):DeprecationWarning"
)
"""A mark for them: Python 3.12 and later warn, because pytest-xdist has a thread in this process.

That thread waits for messages and puts them into a queue. A child that tests make touches neither,
and ends with os._exit(). The locks that both could want, those of Python and of malloc, are sound
in the child: os.fork() and libc see to it.
"""


def noted_forks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that this one makes from now on."""
    children: list[int] = []
    fork = os.fork

    def noted() -> int:
        child = fork()
        if child:
            children.append(child)
        return child

    monkeypatch.setattr(os, "fork", noted)
    return children
