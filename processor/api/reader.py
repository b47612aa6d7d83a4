"""`Reader`: the places that records come from, behind `Topology.read`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NoReturn, cast

import polars as pl

from processor.api import arguments, ways
from processor.api.feeding import FeedReader
from processor.api.frame import Frame
from processor.api.location import caller
from processor.errors import TopologyError
from processor.formats.base import Format
from processor.formats.parquet import Parquet
from processor.plan import nodes

_WHERE: Final = "`processor run --bootstrap-servers` says where Kafka is"
_FORMAT: Final = 'format=Json({"user": pl.String}) has the columns and their types'


class Reader(FeedReader):
    """The places that records come from."""

    @arguments.told(
        'read.kafka("trips", format=Json({"user": pl.String}))',
        bootstrap_servers=_WHERE, servers=_WHERE, bootstrapServers=_WHERE,
        topics='one topic each: read.kafka("a", ...).union(read.kafka("b", ...))',
        subscribe="the topic is the first argument, without a name",
        schema=_FORMAT, columns=_FORMAT, value_format=_FORMAT,
        startingOffsets="`processor run --from earliest|latest`", from_="`processor run --from "
        "earliest|latest`", group="the group is the application's: Topology(\"name\")",
        group_id="the group is the application's: Topology(\"name\")",
        includeHeaders='headers="headers"', include_headers='headers="headers"',
        keyFormat="key_format=Json({...})", keySchema="key_format=Json({...})",
        key_by='partitioned_by="user"', partition_by='partitioned_by="user"',
    )  # fmt: skip
    def kafka(
        self,
        topic: str,
        *,
        format: Format,  # noqa: A002 - the word that users of Spark look for
        event_time: str | pl.Expr | None = None,
        partitioned_by: str | Sequence[str] = (),
        on_error: str = "dead_letter",
        dead_letters: str | None = None,
        timestamp: str | None = None,
        watermark: nodes.Carried | None = None,
        key: str | None = None,
        headers: str | Mapping[str, str] | None = None,
        partition: str | None = None,
        offset: str | None = None,
        key_format: Format | None = None,
        key_prefix: str = "",
        tombstones: nodes.OnTombstone = "bad",
    ) -> Frame:
        """Records of a topic.

        Args:
            topic: its name.
            format: how bytes become columns.
            event_time: the column that says when the thing happened; or an expression with a name
                of its own, which computes it of each record and adds it as a column. A record of
                which it cannot be computed, or is null, is one that cannot be read.
            partitioned_by: the columns that the topic is keyed by, if it is: equal values lie in
                one partition. Aggregates need it.
            on_error: what happens to a record that cannot be read: ``dead_letter`` publishes its
                bytes to ``dead_letters`` with origin and reason in headers; ``fail`` stops;
                ``skip`` counts it.
            dead_letters: the topic for them; ``<app>-dead-letters`` if left out.
            timestamp: a column to add, with each record's own timestamp in Kafka (in UTC, to the
                millisecond); ``event_time`` may name it.
            watermark: ``"carried"``: it is the least of what all tasks that wrote the topic tell
                in their records, which takes ``write.kafka(..., watermark="carried")`` there.
                Left out: `Frame.with_watermark` makes it of the event times.
            key: a column to add, with the text of each record's key; null where it has none. What
                is not UTF-8 makes a record one that cannot be read. Which columns the key is made
                of, ``partitioned_by`` says; it may name this one.
            headers: columns to add, by the header's name, as in ``{"trace": "trace_id"}``: the text
                of the last header of that name, or null. Or one column for all headers, a list of
                ``{"key": String, "value": Binary}``, for ``write.kafka(headers=...)`` to keep them.
            partition: a column to add, with the number of the partition (Int32).
            offset: a column to add, with the offset (Int64).
            key_format: how the bytes of keys become columns, which ``partitioned_by`` may name. A
                key that cannot be read makes its record bad; none is null in all of them, if the
                format has them all as optional, and else bad.
            key_prefix: what the names of these columns begin with, where the value has the same.
            tombstones: what becomes of a record without a value, of which the format makes no row:
                ``bad``, as one that cannot be read; ``pass`` leaves it out, counted as filtered.
        """
        at = caller()
        arguments.text(topic, "the topic", at, 'give its name: read.kafka("trips", format=...)')
        arguments.format_(format, at)
        if isinstance(format, Parquet):
            raise TopologyError(
                f"{at}: no record of a topic is a file of Parquet",
                remedy='read.files("/data/in", format=Parquet({"user": pl.String}))',
            )
        if key_format is not None:
            arguments.one_row(key_format, at, "key_format")
        arguments.text(key_prefix, "key_prefix", at, 'give text: key_prefix="key_"')
        time, computed = arguments.event_time(event_time, at)
        keys = arguments.columns(partitioned_by, "partitioned_by", at)
        own = {"timestamp": timestamp, "key": key, "partition": partition, "offset": offset}
        for option, column in own.items():
            if column is not None:
                arguments.takes(column, option, at)
        named = arguments.header_columns(headers, at)
        if dead_letters is not None:
            arguments.text(dead_letters, "dead_letters", at, 'give a topic\'s name: "trips-dead"')
        arguments.on_error(on_error, at)
        if tombstones not in ("bad", "pass"):
            raise TopologyError(
                f"{at}: tombstones={tombstones!r}",
                remedy='say "bad" or "pass"; a row of them make Text(tombstones=True), '
                'Bytes(tombstones=True) and Debezium(..., tombstones="row")',
            )
        arguments.carried(watermark, at, 'frame.with_watermark("10 minutes") sets a delay')
        source = nodes.Source(
            topic,
            arguments.of_topic(format, topic),
            time,
            keys,
            cast("nodes.OnError", on_error),
            dead_letters,
            at,
            timestamp,
            watermark,
            key,
            named,
            partition,
            offset,
            computed,
            key_format and arguments.of_topic(key_format, topic, "key"),
            key_prefix,
            tombstones,
        )
        return Frame(self._topology, source)

    if not TYPE_CHECKING:  # to a type checker there is no such name

        def __getattr__(self, name: str) -> NoReturn:
            raise ways.missing("read", name, ways.READER, ways.public(Reader))
