"""The former place of what simulated.py and commands.py hold, for work under way."""

from pathlib import Path
from typing import Any

from commands import Outcome, command_here, start_program
from simulated import MIB, Condition, conditions, kernel_of, make, s390, x86

__all__ = ["MIB", "Condition", "conditions", "kernel_of", "make", "run", "s390", "start", "x86"]


def run(capsys: Any, monkeypatch: Any, *arguments: str | Path) -> Outcome:
    return command_here("chmem", capsys, monkeypatch)(*arguments)


def start(*arguments: str | Path, **kwargs: Any) -> Any:
    return start_program("chmem", *arguments, **kwargs)
