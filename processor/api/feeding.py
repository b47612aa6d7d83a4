"""Sources outside Kafka, behind `Topology.read`: each is fed into a topic of the application's."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import polars as pl

from processor.api import arguments
from processor.api.frame import Frame
from processor.api.location import caller
from processor.errors import TopologyError
from processor.feeds import base
from processor.feeds.files import FILE, CleanSource, Files
from processor.feeds.listing import Folder
from processor.feeds.queued import Queue
from processor.feeds.rate import Rate
from processor.feeds.receiving import Received, Receiver
from processor.feeds.tcp import Socket
from processor.formats.base import Format
from processor.formats.json import Json
from processor.formats.parquet import Parquet
from processor.formats.registered import Registered
from processor.formats.text import Text
from processor.plan import nodes

if TYPE_CHECKING:
    from processor.api.topology import Topology

_FORMAT: Final = 'format=Csv({"user": pl.String}, header=True) has the columns and their types'
_FILES: Final = 'read.files("/data/in", format=Csv({"user": pl.String}))'
_PATTERN: Final = 'give one of the shell\'s: pattern="*.csv"'
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_PARTITIONS_MAX: Final = 1_000
_FASTEST: Final = 10_000_000


class FeedReader:
    """The places outside Kafka that records come from."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    @arguments.told(
        _FILES, schema=_FORMAT, columns=_FORMAT, header="format=Csv({...}, header=True)",
        maxFilesPerTrigger="max_files_per_trigger=1", latestFirst="latest_first=True",
        cleanSource='clean_source="archive", archive="/data/read"',
        sourceArchiveDir='archive="/data/read"',
        pathGlobFilter='pattern="*.csv"', recursiveFileLookup="recursive=True", sep=_FORMAT,
        fileNameOnly="a file is known by its path below the folder",
        maxFileAge="a file is known for ever, or until clean_source has cleared it away",
        topic="the topic is called after the application and name=...",
    )  # fmt: skip
    def files(
        self,
        path: str | Path,
        *,
        format: Format | Parquet,  # noqa: A002 - the word that users of Spark look for
        pattern: str = "*",
        recursive: bool = False,
        max_files_per_trigger: int | None = None,
        latest_first: bool = False,
        clean_source: CleanSource | None = None,
        archive: str | Path | None = None,
        file: str | None = None,
        partitions: int = 1,
        name: str | None = None,
        event_time: str | pl.Expr | None = None,
        on_error: str = "dead_letter",
        dead_letters: str | None = None,
        timestamp: str | None = None,
    ) -> Frame:
        """The rows of the files in a folder, and of those that come to lie there.

        A file is to appear whole: written under another name, or elsewhere on the file system, and
        then renamed. It is read once, in pieces if it is large, in the order of the times at which
        files were written, then of names. Names that begin with ``.`` or ``_``, or end in ``.tmp``,
        ``.part``, ``.partial``, ``.swp`` or ``~`` are passed over, folders too. What is written to
        a file after it was read is not read, and told.

        Args:
            path: the folder, or a file by itself.
            format: how a file becomes rows: a record is a line of it, or in CSV what its quotes
                make one of several; Avro and Arrow have files of their own; `Parquet`. Packed by
                gzip it is unpacked.
            pattern: which names are meant, as ``"*.csv"``.
            recursive: whether folders below are looked into.
            max_files_per_trigger: so many at most begin in one batch (of each partition).
            latest_first: the newest first.
            clean_source: what becomes of a file once its rows are committed: ``archive`` moves it
                below ``archive``, ``delete`` deletes it. Left out, it stays.
            archive: the folder for files that were read, on the same file system.
            file: a column to add, with the file's path below the folder.
            partitions: of the topic; a file is in one of them, by its name.
            name: what the feed is called: its topic is ``APP.NAME``. Left out, as the folder.
            event_time: the column that says when the thing happened, or an expression.
            on_error: what happens to a row that cannot be read, as in `kafka`. A file that cannot
                be read stops the run with ``fail``, else it is told and passed over.
            dead_letters: the topic for bad rows; ``<app>-dead-letters`` if left out.
            timestamp: a column to add, with the time at which the row was fed.
        """
        at = caller()
        given: object = path
        if not isinstance(given, str | Path) or not str(given):
            raise TopologyError(f"{at}: the path is {path!r}", remedy=f"name a folder: {_FILES}")
        if any(sign in Path(path).name for sign in "*?["):
            raise TopologyError(
                f"{at}: the path {str(path)!r} is a pattern",
                remedy=f"name the folder, and say pattern={Path(path).name!r}",
            )
        _whether(recursive, "recursive", at)
        _whether(latest_first, "latest_first", at)
        if not arguments.text(pattern, "pattern", at, _PATTERN):
            raise TopologyError(f'{at}: pattern="" is no file\'s name', remedy=_PATTERN)
        place = _archive(Path(path), clean_source, archive, at, recursive=recursive)
        most = _count(max_files_per_trigger, "max_files_per_trigger", at)
        source = Files(
            Folder(Path(path), pattern, recursive),
            format if isinstance(format, Parquet) else None,
            most, latest_first, clean_source, place,
        )  # fmt: skip
        headers = () if file is None else ((FILE, arguments.text(
            file, "file", at, 'give a column\'s name: file="file"')),)  # fmt: skip
        form = format.blocks() if isinstance(format, Parquet) else _of_lines(format, at)
        wanted = name or _NOT_IN_NAMES.sub("-", Path(path).stem or Path(path).name) or "files"
        many = _count(partitions, "partitions", at) or 1
        return self._fed(
            source, wanted, form, at, event_time=event_time, on_error=on_error,
            dead_letters=dead_letters, timestamp=timestamp, headers=headers, partitions=many,
        )  # fmt: skip

    @arguments.told('read.socket("localhost", 9999)', includeTimestamp='timestamp="at"')
    def socket(
        self,
        host: str,
        port: int,
        *,
        format: Format | None = None,  # noqa: A002 - the word that users of Spark look for
        name: str | None = None,
        event_time: str | pl.Expr | None = None,
        on_error: str = "dead_letter",
        dead_letters: str | None = None,
        timestamp: str | None = None,
    ) -> Frame:
        """Lines that a server sends over TCP.

        What was sent cannot be asked for again: a line that came and was not committed when the
        process ended is gone. What is committed is there once, whatever breaks behind it. Where
        the connection ends it is made again, with pauses that grow to 5 s; a line that was cut off
        is left out, and told.

        Args:
            host: of the server.
            port: of the server.
            format: how a line becomes columns; left out, `Text`, with one called ``value``.
            name: what the feed is called: its topic is ``APP.NAME``; ``socket`` if left out.
            event_time: as in `files`; so are ``on_error`` and ``dead_letters``.
            on_error: what happens to a line that cannot be read.
            dead_letters: the topic for bad lines.
            timestamp: a column to add, with the time at which the line was fed.
        """
        at = caller()
        arguments.text(host, "the host", at, 'call it as in read.socket("localhost", 9999)')
        number: object = port
        if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 65_536:
            raise TopologyError(
                f"{at}: the port is {port!r}", remedy="give a number from 1 to 65535"
            )
        return self._fed(
            Socket(host, port), name or "socket", _of_lines(format or Text(), at), at,
            event_time=event_time, on_error=on_error, dead_letters=dead_letters,
            timestamp=timestamp,
        )  # fmt: skip

    @arguments.told(
        "read.rate(rows_per_second=10)", rowsPerSecond="rows_per_second=10",
        numPartitions="there is one partition", rampUpTime="rows come at one rate",
    )  # fmt: skip
    def rate(
        self,
        rows_per_second: float = 1,
        *,
        rows: int | None = None,
        name: str | None = None,
        event_time: str | None = None,
        on_error: str = "dead_letter",
        dead_letters: str | None = None,
    ) -> Frame:
        """Rows ``timestamp`` and ``value`` at a rate; the value counts from 0.

        A row's time is a function of its number. What was missed while nothing ran is given when it
        runs again: no number is left out, and none comes twice.

        Args:
            rows_per_second: how many become due in a second.
            rows: how many there are in all; left out, there is no end. A bounded run needs it, and
                gives all at once.
            name: what the feed is called: its topic is ``APP.NAME``; ``rate`` if left out.
            event_time: ``"timestamp"`` makes it the event time.
            on_error: what happens to a row that a step cannot compute, as in `kafka`.
            dead_letters: the topic for such rows.
        """
        at = caller()
        fast: object = rows_per_second
        if isinstance(fast, bool) or not isinstance(fast, int | float) or not 0 < fast <= _FASTEST:
            raise TopologyError(
                f"{at}: rows_per_second is {rows_per_second!r}",
                remedy="give a number above 0, up to 10,000,000",
            )
        form = Json({"timestamp": pl.Datetime("us"), "value": pl.Int64})
        source = Rate(float(rows_per_second), _count(rows, "rows", at))
        return self._fed(
            source, name or "rate", form, at, event_time=event_time, on_error=on_error,
            dead_letters=dead_letters,
        )  # fmt: skip

    @arguments.told('read.queue(queue, format=Json({"user": pl.String})), with queue = Queue()')
    def queue(
        self,
        queue: Queue,
        *,
        format: Format,  # noqa: A002 - the word that users of Spark look for
        name: str | None = None,
        event_time: str | pl.Expr | None = None,
        on_error: str = "dead_letter",
        dead_letters: str | None = None,
        timestamp: str | None = None,
    ) -> Frame:
        """Rows that Python puts into a queue, in the process that runs the topology.

        Args:
            queue: ``Queue()``, which ``queue.put(rows)`` fills before and while it runs.
            format: how rows are written and read.
            name: what the feed is called: its topic is ``APP.NAME``; ``queue`` if left out.
            event_time: as in `files`; so are ``on_error`` and ``dead_letters``.
            on_error: what happens to a row that cannot be read.
            dead_letters: the topic for bad rows.
            timestamp: a column to add, with the time at which the row was fed.
        """
        at = caller()
        if not isinstance(queue, Queue):
            raise TopologyError(
                f"{at}: the queue is {arguments.shown(queue)}",
                remedy="make one: queue = Queue(), and fill it: queue.put([...])",
            )
        return self._fed(
            queue, name or "queue", _format(format, at), at, event_time=event_time,
            on_error=on_error, dead_letters=dead_letters, timestamp=timestamp,
        )  # fmt: skip

    @arguments.told('read.receiver(MyReceiver(), format=Json({"user": pl.String}))')
    def receiver(
        self,
        receiver: Receiver,
        *,
        format: Format,  # noqa: A002 - the word that users of Spark look for
        name: str | None = None,
        event_time: str | pl.Expr | None = None,
        on_error: str = "dead_letter",
        dead_letters: str | None = None,
        timestamp: str | None = None,
    ) -> Frame:
        """Records of a receiver of one's own: ``read(position, limit)`` gives what comes behind.

        Args:
            receiver: as `Receiver` says.
            format: how records are written, where they are rows, and read.
            name: what the feed is called: its topic is ``APP.NAME``; as the class if left out.
            event_time: as in `files`; so are ``on_error`` and ``dead_letters``.
            on_error: what happens to a record that cannot be read.
            dead_letters: the topic for bad records.
            timestamp: a column to add, with the time at which the record was fed.
        """
        at = caller()
        if isinstance(receiver, type) or not isinstance(receiver, Receiver):
            raise TopologyError(
                f"{at}: the receiver is {arguments.shown(receiver)}",
                remedy="give an object with read(position, limit), which returns records and the "
                "position behind them",
            )
        return self._fed(
            Received(receiver), name or type(receiver).__name__.lower(), _format(format, at), at,
            event_time=event_time, on_error=on_error, dead_letters=dead_letters,
            timestamp=timestamp,
        )  # fmt: skip

    def _fed(
        self,
        source: base.Source,
        name: str,
        form: Format,
        at: nodes.Location,
        *,
        event_time: str | pl.Expr | None,
        on_error: str,
        dead_letters: str | None = None,
        timestamp: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        partitions: int = 1,
    ) -> Frame:
        arguments.text(name, "name", at, 'give a text: name="orders"')
        if not name or _NOT_IN_NAMES.search(name):
            raise TopologyError(
                f"{at}: a feed cannot be called {name!r}",
                remedy="use letters, digits, '.', '_' and '-'",
            )
        app = self._topology._app  # noqa: SLF001 - the reader is a part of the topology
        feed = base.Feed(app, name, source, partitions)
        self._topology._feed(feed, at)  # noqa: SLF001
        time, computed = arguments.event_time(event_time, at)
        if timestamp is not None:
            arguments.takes(timestamp, "timestamp", at)
        if dead_letters is not None:
            arguments.text(dead_letters, "dead_letters", at, 'give a topic\'s name: "rows-dead"')
        return Frame(
            self._topology,
            nodes.Source(
                feed.topic, form, time, (), cast("nodes.OnError", arguments.on_error(on_error, at)),
                dead_letters, at, timestamp, headers=headers or None, time=computed, feed=feed,
            ),
        )  # fmt: skip


def _format(form: Format, at: nodes.Location) -> Format:
    arguments.format_(form, at)
    if isinstance(form, Registered):
        raise TopologyError(
            f"{at}: a feed writes its records by itself, and no registry has a schema of them",
            remedy=f"give the format by itself, without Registered: {form.format.describe()}",
        )
    return form


def _of_lines(form: Format, at: nodes.Location) -> Format:
    """The format of lines, of which an empty one is a row too where a row is any text."""
    form = _format(form, at)
    return replace(form, empty=True) if isinstance(form, Text) else form


def _count(value: int | None, what: str, at: nodes.Location) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and (not whole or value < 1):
        raise TopologyError(f"{at}: {what} is {value!r}", remedy=f"give a number: {what}=1")
    if what == "partitions" and value is not None and value > _PARTITIONS_MAX:
        raise TopologyError(f"{at}: {value} partitions", remedy=f"give {_PARTITIONS_MAX} at most")
    return value


def _whether(value: object, name: str, at: nodes.Location) -> None:
    if not isinstance(value, bool):
        raise TopologyError(f"{at}: {name}={value!r}", remedy=f"say {name}=True or {name}=False")


def _archive(
    path: Path,
    clean: str | None,
    archive: str | Path | None,
    at: nodes.Location,
    *,
    recursive: bool,
) -> Path | None:
    if clean not in (None, "archive", "delete"):
        raise TopologyError(
            f"{at}: clean_source={clean!r}", remedy='say "archive" or "delete", or leave it out'
        )
    if (clean == "archive") != (archive is not None):
        raise TopologyError(
            f"{at}: clean_source={clean!r} and archive={archive!r} do not go together",
            remedy='say clean_source="archive", archive="/data/read", or neither',
        )
    if archive is None:
        return None
    inside = Path(archive).absolute().is_relative_to(path.absolute())
    if Path(archive).absolute() == path.absolute() or (inside and recursive):
        raise TopologyError(
            f"{at}: files that were read would lie in {archive}, where they are looked for",
            remedy="archive them outside of the folder that is read",
        )
    return Path(archive)
