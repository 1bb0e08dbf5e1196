"""The documents that programs write in guests, as the tests there look at them."""

import json
import socket

import pytest

from guest.channel import Channel, Ended
from vm.checked import check_documents

WRONG = '{"messages": ["text"]}'


def ended(line: str, out: str, status: int) -> Ended:
    """What a program was in a guest, whose agent says OUT of it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for message in ({"pid": 7}, {"out": out}, {"status": status}):
            theirs.sendall(json.dumps({"id": 1, **message}).encode() + b"\n")
        return Channel(ours).start(["sh", "-c", line]).finish(10)


def test_a_document_that_a_program_writes_in_a_guest_is_held_against_its_schema(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ended("chmem --json -e 1g", WRONG, 1).status == 1
    check_documents(monkeypatch)
    with pytest.raises(AssertionError, match="'text' is not of type"):
        ended("cd /; chmem --json -e 1g", WRONG, 1)
    assert ended("cat file", WRONG, 0).stdout == WRONG
    assert ended("chmem -e 1g", "done", 0).stdout == "done"
