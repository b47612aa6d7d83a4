"""The embedded log on disk."""

from __future__ import annotations

from pathlib import Path

from processor.clock import Clock, SystemClock
from processor.connectors.memory.log import MemoryLog
from processor.connectors.sqlite.broker import SqliteBroker
from processor.connectors.sqlite.database import Database


class SqliteLog(MemoryLog):
    """Topics in a directory, for one process; implements `processor.connectors.ports.Log`.

    What is committed is on the disk when the call returns, whenever the process is killed after.
    Nothing is deleted by itself: the log grows until `trim`. Raises `SettingsError` and `LogError`
    as `Database` does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     log = SqliteLog(Path(place, "data")); log.create({"rides": 1})
    ...     log.feed("rides", [b"a"]); log.close()
    ...     again = SqliteLog(Path(place, "data"))
    ...     print(again.read("rides")); again.close()
    [rides[0]@0: None b'a']
    """

    def __init__(
        self, directory: Path, clock: Clock | None = None, session_timeout_s: float = 10.0
    ) -> None:
        clock = clock or SystemClock()
        super().__init__(clock, session_timeout_s)
        self._database = Database(directory)
        try:
            self._broker = SqliteBroker(self._database, clock, session_timeout_s)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Let go of the directory; the records stay."""
        with self._broker.changed:
            self._database.close()
