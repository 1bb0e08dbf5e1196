"""The directory of a running guest: how other processes reach its agent, beside the first one."""

import json
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from guest import door, sockets
from guest.channel import Channel
from guest.door import Door, GoneError, GuestFacts, reach
from guest.qemu import MONITOR

FACTS = GuestFacts("x86_64", "7.2")


class Agent:
    """The other end of the channel: it has heard, and says what it is told to."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rwb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A socket is open until its file is closed, too.
        with suppress(OSError):
            self._file.close()

    def heard(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self._file.readline())
        return found

    def says(self, number: object, **message: object) -> None:
        self._file.write(json.dumps({"id": number, **message}).encode() + b"\n")
        self._file.flush()


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Agent]]:
    """The channel of the process that has booted a guest, and the agent."""
    ours, theirs = socket.socketpair()
    agent = Agent(theirs)
    with ours, theirs, agent:
        yield Channel(ours), agent


def turn(entrance: Door, channel: Channel) -> None:
    """What the first process does whenever something can be read."""
    ready, _, _ = select.select([channel.fileno(), *entrance.descriptors], [], [], 10)
    entrance.serve(ready)
    entrance.answer()


def visit(place: Path) -> socket.socket:
    return sockets.connection(place / door.DOOR)


def asks(visitor: socket.socket, what: str, number: int, **request: object) -> None:
    visitor.sendall(json.dumps({"do": what, "id": number, **request}).encode() + b"\n")


def test_each_visitor_gets_the_answers_to_its_own_requests(
    tmp_path: Path, ends: tuple[Channel, Agent]
) -> None:
    channel, agent = ends
    with Door(tmp_path, channel, FACTS) as entrance, visit(tmp_path) as one, visit(tmp_path) as two:
        for _ in "12":
            turn(entrance, channel)
        asks(one, "start", 1, arguments=["first"])
        turn(entrance, channel)
        asks(two, "start", 1, arguments=["second"])
        turn(entrance, channel)
        first, second = agent.heard(), agent.heard()
        assert (first["arguments"], second["arguments"]) == (["first"], ["second"])
        assert first["id"] != second["id"]
        agent.says(second["id"], out="of the second")
        agent.says(first["id"], out="of the first")
        turn(entrance, channel)
        for visitor, text in ((one, "of the first"), (two, "of the second")):
            assert json.loads(visitor.recv(1000)) == {"id": 1, "out": text}


def test_the_first_process_keeps_its_own_answers(
    tmp_path: Path, ends: tuple[Channel, Agent]
) -> None:
    channel, agent = ends
    with Door(tmp_path, channel, FACTS) as entrance, visit(tmp_path) as visitor:
        turn(entrance, channel)
        own = channel.ask("start", arguments=["own"])
        asks(visitor, "start", own, arguments=["other"])
        turn(entrance, channel)
        other = [agent.heard()["id"] for _ in "12"][1]
        agent.says(own, out="own")
        agent.says(other, out="other")
        turn(entrance, channel)
        assert channel.received(own) == [{"id": own, "out": "own"}]
        assert json.loads(visitor.recv(1000)) == {"id": own, "out": "other"}


def test_a_visitor_that_leaves_takes_its_programs_with_it(
    tmp_path: Path, ends: tuple[Channel, Agent]
) -> None:
    channel, agent = ends
    with Door(tmp_path, channel, FACTS) as entrance:
        with visit(tmp_path) as visitor:
            turn(entrance, channel)
            asks(visitor, "start", 1, arguments=["ends"])
            asks(visitor, "start", 2, arguments=["runs"])
            turn(entrance, channel)
            ends_first, runs_on = agent.heard()["id"], agent.heard()["id"]
            agent.says(ends_first, status=0)
            turn(entrance, channel)
        turn(entrance, channel)
        assert agent.heard() == {"do": "signal", "id": runs_on, "signal": 9}
        assert len(entrance.descriptors) == 1


def test_a_directory_of_any_length_has_sockets(tmp_path: Path, ends: tuple[Channel, Agent]) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    channel, agent = ends
    with Door(deep, channel, FACTS) as entrance, visit(deep) as visitor:
        turn(entrance, channel)
        asks(visitor, "call", 1, function="f")
        turn(entrance, channel)
        assert agent.heard()["function"] == "f"


def test_a_guest_that_has_ended_is_said_to_be_gone(
    tmp_path: Path, ends: tuple[Channel, Agent]
) -> None:
    channel, _ = ends
    with Door(tmp_path, channel, FACTS):
        pass
    with pytest.raises(GoneError), reach(tmp_path):
        pytest.fail("it was reached")


def test_a_guest_that_ends_meanwhile_is_gone_too(
    tmp_path: Path, ends: tuple[Channel, Agent]
) -> None:
    channel, _ = ends
    monitor = sockets.listener(tmp_path / MONITOR)

    def greets() -> None:
        connection, _ = monitor.accept()
        with connection, connection.makefile("rwb") as file:
            file.write(b'{"QMP": {}}\n')
            file.flush()
            file.readline()
            file.write(b'{"return": {}}\n')

    greeter = threading.Thread(target=greets)
    greeter.start()
    entrance = Door(tmp_path, channel, FACTS)
    with monitor, pytest.raises(GoneError), reach(tmp_path) as guest:
        assert guest.facts == FACTS
        with entrance:
            turn(entrance, channel)
        guest.channel.start(["anything"])
    greeter.join()


def test_the_directory_of_a_guest_goes_with_it_and_never_replaces_another(tmp_path: Path) -> None:
    place = tmp_path / "guest"
    with door.directory(place) as made:
        assert (made, place.stat().st_mode & 0o777) == (place, 0o700)
        with pytest.raises(FileExistsError), door.directory(place):
            pytest.fail("it was replaced")
    assert not place.exists()


def test_a_guest_without_a_name_is_below_the_runtime_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with door.directory() as made:
        assert made.parent == tmp_path
