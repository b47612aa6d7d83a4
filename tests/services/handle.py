"""What every rung of the ladder gives: a running server that can be stopped, killed, restarted."""

from __future__ import annotations

import socket
from typing import Protocol


class Unavailable(Exception):  # noqa: N818 - a rung is skipped, nothing failed
    """This rung cannot give the server; the message says why."""


class Server(Protocol):
    """A server for the tests. `restart` brings it back on the same port with the same data."""

    rung: str
    address: str

    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def restart(self) -> None: ...
    def close(self) -> None: ...


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
