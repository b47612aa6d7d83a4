"""A real socket on this machine: a server that sends, ends, and comes back."""

from __future__ import annotations

import socket

import pytest

from processor.feeds.base import Limit
from processor.feeds.tcp import Socket
from tests.unit.feeds.reading import Turned


class Server:
    """Listens, and takes a connection when it is asked to."""

    def __init__(self, port: int = 0) -> None:
        self.listening = socket.create_server(("127.0.0.1", port))
        self.port = self.listening.getsockname()[1]
        self.taken: socket.socket | None = None

    def send(self, data: bytes) -> None:
        if self.taken is None:
            self.listening.settimeout(5)
            self.taken, _ = self.listening.accept()
        self.taken.sendall(data)

    def end(self) -> None:
        if self.taken is not None:
            self.taken.close()
            self.taken = None

    def close(self) -> None:
        self.end()
        self.listening.close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


def waited(one: Turned, records: int = 100):
    for _ in range(200):
        piece = one.reading.read(Limit(records, 1 << 20, wait_s=0.02))
        if piece is not None:
            return piece
    raise AssertionError("nothing came")


def connected(server: Server) -> Turned:
    one = Turned(Socket("127.0.0.1", server.port))
    assert one.reading.read(Limit(1, 1, wait_s=0.0)) is None  # it connects
    return one


def test_lines_come_once_they_are_whole_and_until_they_are_committed(server):
    one = connected(server)
    server.send(b"a\r\nb\nc")
    assert waited(one, 1).values == [b"a"]
    first = waited(one)
    assert first.values == [b"a", b"b"]
    one.commit(first)
    server.send(b"d\n")
    assert waited(one).values == [b"cd"]
    one.reading.close()


def test_a_server_that_ends_is_connected_to_again_and_a_line_that_was_cut_off_is_told(server):
    one = connected(server)
    server.send(b"a\nhalf")
    one.commit(waited(one))
    server.end()
    while not one.told:
        one.reading.read(Limit(9, 9, wait_s=0.02))
    assert "in the middle of a line: 4 bytes are left out" in one.told[0]
    one.reading.read(Limit(9, 9, wait_s=0.0))
    server.send(b"b\n")
    assert waited(one).values == [b"b"]
    one.reading.close()


def test_while_nobody_listens_it_is_tried_again_with_pauses_that_grow(server):
    port = server.port
    server.close()
    one = Turned(Socket("127.0.0.1", port))
    pauses = []
    for _ in range(8):
        one.read()
        before = one.clock.monotonic_s()
        pauses.append(max(0.0, one.reading._again_s - before))
        one.clock.advance(pauses[-1] + 0.001)
    assert pauses == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0], abs=1e-3)
    assert len(one.told) == 1
    assert "refused" in one.told[0]
    again = Server(port)
    one.clock.advance(5)
    one.read()
    again.send(b"x\n")
    assert waited(one).values == [b"x"]
    one.reading.close()
    again.close()


def test_a_line_without_an_end_is_cut_and_told(server):
    one = connected(server)
    server.send(b"x" * 1_100_000 + b"\n")
    found = []
    while sum(map(len, found)) < 1_000_000:
        piece = waited(one)
        found += piece.values
        one.commit(piece)
    assert len(found[0]) <= 1_000_000
    assert "is cut off" in one.told[0]
    one.reading.close()
