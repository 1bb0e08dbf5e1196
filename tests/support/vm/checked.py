"""What programs write in guests is held against the schemas, as what commands write here is."""

from collections.abc import Sequence
from typing import Any

import pytest

import documents
from guest.channel import Channel, Ended, Program


def check_documents(patch: pytest.MonkeyPatch) -> None:
    """Have each program that ends in a guest checked."""
    start, finish = Channel.start, Program.finish
    commands: dict[tuple[int, int], Sequence[str]] = {}

    def started(channel: Channel, command: Sequence[str], **how: Any) -> Program:
        program = start(channel, command, **how)
        commands[id(channel), program.number] = command
        return program

    def finished(program: Program, *patience: Any, **how: Any) -> Ended:
        ended = finish(program, *patience, **how)
        command = commands.pop((id(program.channel), program.number), ())
        documents.check_line(command, ended.status, ended.stdout)
        return ended

    patch.setattr(Channel, "start", started)
    patch.setattr(Program, "finish", finished)
