"""`Writer`: the places that rows can go, behind `Frame.write`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from processor.api import arguments, ways
from processor.api.location import caller
from processor.formats.base import Format
from processor.formats.json import Json
from processor.plan import nodes

if TYPE_CHECKING:
    from processor.api.frame import Frame

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
        checkpointLocation="`processor run --redis-url` says where checkpoints are kept",
        trigger="`processor run --interval 500ms`",
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

    if not TYPE_CHECKING:  # to a type checker there is no such name

        def __getattr__(self, name: str) -> NoReturn:
            raise ways.missing("write", name, ways.WRITER, ways.public(Writer))
