"""Tables in memory: what committed batches have shown, for whoever asks while it runs."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from processor.errors import SinkError
from processor.model.log import TopicPartition
from processor.plan import nodes, schema

_PIECES: int = 64


@dataclass(slots=True)
class _Table:
    """``parts`` are pieces by the task that they are of; of what is not complete all have one."""

    mode: nodes.OutputMode
    empty: pl.DataFrame
    newest: tuple[str, ...] | None
    parts: dict[TopicPartition | None, list[pl.DataFrame]] = field(default_factory=dict)

    def show(self, task: TopicPartition, rows: pl.DataFrame) -> None:
        if self.mode == "complete":
            self.parts[task] = [rows]
            return
        pieces = self.parts.setdefault(None, [])
        pieces.append(rows)
        if len(pieces) > _PIECES:
            self.parts[None] = [self.frame()]

    def frame(self) -> pl.DataFrame:
        pieces = [piece for pieces in self.parts.values() for piece in pieces]
        frame = pl.concat([self.empty, *pieces]).rechunk()
        if self.newest is None:
            return frame
        if not self.newest:
            return frame.tail(1)
        return frame.unique(self.newest, keep="last", maintain_order=True)


class Tables:
    """The tables of the topologies that run together; any thread may ask.

    >>> from processor import Json, Topology
    >>> topology = Topology("copy")
    >>> rows = topology.read.kafka("from", format=Json({"n": pl.Int64}))
    >>> rows.write.memory("numbers")
    >>> tables = Tables([topology.plan()])
    >>> tables.show("table:numbers", TopicPartition("from", 0), pl.DataFrame({"n": [1, 2]}))
    >>> tables.sql("select sum(n) as n from numbers").item()
    3
    """

    def __init__(self, plans: list[nodes.Plan]) -> None:
        self._lock = threading.Lock()
        self._tables: dict[str, _Table] = {}
        for plan in plans:
            for sink in plan.sinks:
                if isinstance(sink.outside, nodes.Table):
                    empty = pl.DataFrame(schema=schema.columns(plan)[id(sink.parent)])
                    self._tables[sink.outside.name] = _Table(sink.mode, empty, sink.newest)

    def show(self, sink: str, task: TopicPartition, rows: pl.DataFrame) -> None:
        """A committed batch of a task has these rows for a sink."""
        with self._lock:
            self._tables[sink.removeprefix("table:")].show(task, rows)

    def table(self, name: str) -> pl.DataFrame:
        """What a table holds now; raises `SinkError` where there is none of that name."""
        with self._lock:
            if name in self._tables:
                return self._tables[name].frame()
            names = ", ".join(map(repr, self._tables)) or "none"
        near = difflib.get_close_matches(name, self._tables, 1)
        raise SinkError(
            f"there is no table {name!r}",
            remedy=(f"did you mean {near[0]!r}? " if near else "")
            + f'there are: {names}; frame.write.memory("{name}") makes one',
        )

    def sql(self, query: str) -> pl.DataFrame:
        """What a query in SQL finds in the tables as they are now.

        Raises `SinkError` for a query that cannot be.
        """
        with self._lock:
            frames: Mapping[str, pl.DataFrame] = {
                name: table.frame() for name, table in self._tables.items()
            }
        try:
            with pl.SQLContext(frames, eager=True) as context:
                return context.execute(query)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            told = str(error).partition("\n")[0]
            words = sorted(word for word in _words(frames, context) if word in query)
            quoted = f"""write {", ".join(f'"{word}"' for word in words)}: a word of SQL; """
            raise SinkError(
                f"SQL: {told}",
                remedy=(quoted if words else "")
                + f"the tables are {', '.join(map(repr, frames)) or 'none'}; the dialect is that "
                "of Polars",
            ) from error


def _words(
    frames: Mapping[str, pl.DataFrame], context: pl.SQLContext[pl.DataFrame]
) -> Iterator[str]:
    """The columns whose names mean something else in SQL where they are not quoted."""
    for table, frame in frames.items():
        for column in frame.columns:
            try:
                found = context.execute(f"select {column} from {table} limit 0")  # noqa: S608
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
                yield column
            else:
                if found.columns != [column]:
                    yield column
