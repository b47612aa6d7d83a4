"""`Writer`: the places that rows can go, behind `Frame.write`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, NoReturn

from processor.api import arguments, calls, ways
from processor.api.location import caller
from processor.errors import TopologyError
from processor.formats.base import Format
from processor.formats.json import Json
from processor.formats.rows import Rows
from processor.plan import nodes

if TYPE_CHECKING:
    from processor.api.frame import Frame

_ONE_FOLDER: Final = "files go to one directory: make a sink of each part, rows.filter(...)"
_WHERE: Final = "`processor run --bootstrap-servers` says where Kafka is"


class Writer:
    """The places that rows can go."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    @arguments.told(
        'write.kafka("topic", key="user", mode="update", format=Json())',
        bootstrap_servers=_WHERE, servers=_WHERE, bootstrapServers=_WHERE,
        outputMode='mode="append", "update" or "complete"',
        output_mode='mode="append", "update" or "complete"', value="format=Text() or Json()",
        partitioned_by='key="user"', partition_by='key="user"', partition='key="user"',
        keys='key=["a", "b"], key_format=Json()',
        partitions="`processor run --create-topics N` makes topics of N partitions",
        checkpointLocation=ways.CHECKPOINTS, trigger=ways.TRIGGER,
    )  # fmt: skip
    def kafka(
        self,
        topic: str,
        *,
        key: str | Sequence[str] | None = None,
        mode: nodes.OutputMode = "append",
        format: Format | None = None,  # noqa: A002 - the word that users of Spark look for
        watermark: nodes.Carried | None = None,
        timestamp: str | None = None,
        headers: str | Mapping[str, str] | None = None,
        key_format: Format | None = None,
    ) -> None:
        """Publish the rows to a topic.

        Args:
            topic: its name.
            key: the column whose text is the record's key, which picks the partition; or those
                that ``key_format`` makes it of.
            mode: ``append``: each row once; ``update``: groups that changed, the last record of a
                key is the right one; ``complete``: all groups with every batch.
            format: how rows become bytes; JSON if left out.
            timestamp: the column of the records' timestamps; left out, or null: the time of
                writing. Retention goes by it.
            headers: columns by the header's name, as in ``{"trace": "trace_id"}``: each record
                has their text, and none where it is null. Or the column with all headers that
                ``read.kafka(headers="...")`` has made, to keep them.
            watermark: ``"carried"``: the last record of a batch in each partition tells, in a
                header, how far the tasks have come, for ``read.kafka(..., watermark="carried")``.
            key_format: how the key's columns become its bytes; left out, it is the text of one.
        """
        at = caller()
        arguments.text(topic, "the topic", at, 'give its name: write.kafka("totals")')
        keyed = arguments.keys(key, key_format, at)
        if format is not None:
            arguments.format_(format, at)
        if timestamp is not None:
            arguments.column(timestamp, "timestamp", at)
        named = arguments.header_columns(headers, at)
        arguments.carried(watermark, at, 'leave it out, or say watermark="carried"')
        node = self._frame._node  # noqa: SLF001 - Writer is a part of Frame
        form = arguments.of_topic(format or Json(), topic)
        of_key = key_format and arguments.of_topic(key_format, topic, "key")
        sink = nodes.Sink(node, topic, form, keyed, mode, at, watermark, timestamp, named, of_key)
        self._frame._topology._append(sink)  # noqa: SLF001

    @arguments.told('write.console(mode="update")', format="format=Json(), Csv(...) or Text()")
    def console(
        self,
        *,
        key: str | None = None,
        mode: nodes.OutputMode = "append",
        format: Format | None = None,  # noqa: A002 - the word that users of Spark look for
    ) -> None:
        """Show the rows on the screen, where `processor run` uses the embedded log.

        They go to the topic ``<app>-console``, and each committed row is a line. The arguments mean
        what they mean to `kafka`; a run on Kafka refuses it.
        """
        app = self._frame._topology._app  # noqa: SLF001
        self.kafka(nodes.console_topic(app), key=key, mode=mode, format=format)

    @arguments.told(
        'write.files("out/trips", format=Json())', path='write.files("out/trips")',
        outputMode='mode="append"', output_mode='mode="append"', partition_by=_ONE_FOLDER,
        partitionBy=_ONE_FOLDER, checkpointLocation="it is kept with the application's own",
        header="format=Csv({...}, header=True)", compression='format=Parquet(compression="zstd")',
    )  # fmt: skip
    def files(
        self,
        folder: str | PathLike[str],
        *,
        format: Format | None = None,  # noqa: A002 - the word that users of Spark look for
        mode: nodes.OutputMode = "append",
    ) -> None:
        """Write the rows to files in a directory, each row once, whatever happens.

        Each task writes a file for each batch in which it has rows; readers see whole files of
        committed batches only. What is not committed lies in ``.pending`` in the same directory,
        which all workers have to see under its name.

        Args:
            folder: the directory; it is made, in one that is there.
            format: `Json`, `Csv` or `Text` (a line for each row), or `Parquet`; JSON if left out.
            mode: ``append``, and no other: what stands in a file is not revised.
        """
        at = caller()
        given: object = folder
        if not isinstance(given, str | PathLike) or not str(given):
            raise TopologyError(
                f"{at}: the directory is {arguments.shown(folder)}",
                remedy='give its name: write.files("out/trips")',
            )
        if format is not None:
            arguments.format_(format, at)
        path = str(folder)
        self._outside(nodes.Files(path), f"files:{path}", format or Json(), mode, at)

    @arguments.told(
        "write.foreach_batch(function), of (frame, epoch)", outputMode='mode="update"',
        output_mode='mode="update"', format="the function gets columns: a frame of Polars",
    )  # fmt: skip
    def foreach_batch(
        self,
        function: Callable[..., Any],
        *,
        mode: nodes.OutputMode = "append",
        per: nodes.Per = "batch",
        name: str | None = None,
    ) -> None:
        """Call a function with the rows of each batch: ``function(frame, epoch)``.

        It may be called again with the same epoch, and then with the same rows: who writes the
        epoch as a primary key, in the transaction of the rows, writes each row once. With a third
        parameter it is given a `Batch` too: application, life, task, sink and epoch.

        Args:
            function: takes a ``polars.DataFrame`` and an epoch; what it returns is nothing.
            mode: what of an aggregate comes: ``append``, ``update`` or ``complete``, as for
                `kafka`.
            per: ``batch``: all rows are gathered in one place, and a batch is one call; ``task``:
                each partition's rows are a call of their own, where they are, at once.
            name: what it is called in messages, and the stage that gathers its rows; the
                function's name if left out.
        """
        at = caller()
        call = calls.of_batches(function, per, name, at)
        self._call(call, mode, at)

    @arguments.told("write.foreach(function), of one row", outputMode='mode="update"',
                    output_mode='mode="update"')  # fmt: skip
    def foreach(
        self,
        function: Callable[[dict[str, Any]], Any] | object,
        *,
        mode: nodes.OutputMode = "append",
        name: str | None = None,
    ) -> None:
        """Call a function with each row, or an object with ``process(row)``.

        A row is a dictionary by column. The object may have ``open(partition, epoch)``, which says
        whether the rows of that partition and epoch are wanted, and ``close(error)``. After a crash
        the rows of the same epoch may come again, and then they are the same.
        """
        at = caller()
        self._call(calls.of_rows(function, name, at), mode, at)

    @arguments.told('write.memory("totals", mode="update")', queryName='write.memory("totals")',
                    outputMode='mode="update"', output_mode='mode="update"')  # fmt: skip
    def memory(self, name: str, *, mode: nodes.OutputMode = "append") -> None:
        """Keep the rows in memory, as a table of the query that `start` gives.

        ``query.table("totals")`` is a frame, and ``query.sql("select * from totals")`` is one too.
        Rows are there once their batch is committed; a table begins empty with each start.
        ``append`` keeps every row, ``update`` the last row of each group, ``complete`` the groups
        of the last batch.
        """
        at = caller()
        arguments.text(name, "the table's name", at, 'give one: write.memory("totals")')
        if not name.isidentifier():
            raise TopologyError(
                f"{at}: {name!r} cannot be a table",
                remedy="use letters, digits and '_', as SQL names it: write.memory(\"totals\")",
            )
        self._outside(nodes.Table(name), f"table:{name}", Rows(), mode, at)

    def _call(self, call: nodes.Call, mode: nodes.OutputMode, at: nodes.Location) -> None:
        sinks = self._frame._topology._sinks  # noqa: SLF001
        names = {sink.outside.name for sink in sinks if isinstance(sink.outside, nodes.Call)}
        named = calls.free(call, names)
        self._outside(named, f"call:{named.name}", Rows(), mode, at)

    def _outside(
        self,
        outside: nodes.Outside,
        called: str,
        form: Format,
        mode: nodes.OutputMode,
        at: nodes.Location,
    ) -> None:
        node = self._frame._node  # noqa: SLF001
        sink = nodes.Sink(node, called, form, None, mode, at, outside=outside)
        self._frame._topology._append(sink)  # noqa: SLF001

    if not TYPE_CHECKING:  # to a type checker there is no such name

        def __getattr__(self, name: str) -> NoReturn:
            raise ways.missing("write", name, ways.WRITER, ways.public(Writer))
