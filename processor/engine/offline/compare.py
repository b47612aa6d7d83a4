"""What a topic should hold against what it holds: missing, duplicate, wrong.

Three ways, for the three kinds of topics that a topology writes:

- `Bag`: each row once, in any order: rows of a stateless topology.
- `Groups`: rows of an aggregate, known by the columns of their group.
- `Origins`: records set aside, known by the place that they came from.

A judge first hears what is expected, then what is found, then says what is amiss.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Literal, Protocol, TypeAlias

from processor.connectors.partitioner import partition as partition_of
from processor.engine.offline.rows import Row, RowReader, look_ahead, same
from processor.engine.offline.slack import Slack
from processor.model.headers import headers_of
from processor.model.log import Message, Output, TopicPartition

Kind: TypeAlias = Literal["missing", "duplicate", "wrong"]
_Pair: TypeAlias = tuple[bytes | None, bytes | None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is amiss.

    ``partition`` is where the record lies, or where a missing one would (``None``: anywhere);
    ``offset`` is ``None`` for a missing one. ``origin`` is the input that it comes from, as far as
    that is known.
    """

    kind: Kind
    topic: str
    partition: int | None
    offset: int | None
    what: str
    origin: str = ""

    def __str__(self) -> str:
        where = "" if self.partition is None else f"[{self.partition}]"
        at = "" if self.offset is None else f" offset {self.offset}"
        origin = f", of input {self.origin}" if self.origin else ""
        return f"{self.kind} {self.topic}{where}{at}: {self.what}{origin}"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the input that was recomputed at once, with the largest times before it."""

    partition: TopicPartition
    start: int
    end: int
    event_time_max: int | None
    log_time: int | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What can be judged: ``surplus`` and ``missing`` records, and the topic's partition count."""

    partitions: int
    surplus: bool = True
    missing: bool = True


class Judge(Protocol):
    """Compares one topic."""

    def expect(self, output: Output, piece: Piece) -> None:
        """Hear what the topic should hold."""
        ...

    def found(self, messages: Sequence[Message]) -> None:
        """Hear what it holds; records of a partition come in their order."""
        ...

    def findings(self) -> Iterator[Finding]:
        """What is amiss."""
        ...


class Lost(Protocol):
    """Finds the input record that a missing output comes from."""

    def __call__(self, piece: Piece, topic: str, pair: _Pair) -> str:
        """The record's place in words, or that of the whole piece."""
        ...


@dataclass(slots=True)
class _Wanted:
    left: int
    piece: Piece


class Bag:
    """Rows that are each published once."""

    def __init__(self, topic: str, bounds: Bounds, lost: Lost) -> None:
        self._topic, self._bounds, self._lost = topic, bounds, lost
        self._wanted: dict[_Pair, _Wanted] = {}
        self._findings: list[Finding] = []

    def expect(self, output: Output, piece: Piece) -> None:
        """Hear what the topic should hold."""
        for pair in _pairs(output):
            wanted = self._wanted.get(pair)
            if wanted is None:
                self._wanted[pair] = _Wanted(1, piece)
            else:
                wanted.left += 1

    def found(self, messages: Sequence[Message]) -> None:
        """Hear what it holds."""
        for message in messages:
            pair = (message.key(), message.value())
            wanted = self._wanted.get(pair)
            if wanted is not None and wanted.left > 0:
                wanted.left -= 1
            elif self._bounds.surplus:
                kind: Kind = "wrong" if wanted is None else "duplicate"
                self._findings.append(_at(kind, message))

    def findings(self) -> Iterator[Finding]:
        """What is amiss."""
        yield from self._findings
        if not self._bounds.missing:
            return
        for pair, wanted in self._wanted.items():
            if wanted.left:
                origin = self._lost(wanted.piece, self._topic, pair)
                where = _place(pair[0], self._bounds.partitions)
                finding = Finding("missing", self._topic, where, None, _shown(*pair), origin)
                yield from repeat(finding, wanted.left)


@dataclass(slots=True)
class _Last:
    pair: _Pair
    partition: int
    offset: int


class Groups:
    """Rows of an aggregate.

    Args:
        names: the columns that tell groups apart.
        once: whether each group is published once; else the last record of a group counts.
        rising: whether no two records of a group can be equal, since one of them counts records.
        exact: the columns that have to be equal.
        slack: how far sums and means of fractions may be from those recomputed.
    """

    def __init__(
        self,
        topic: str,
        bounds: Bounds,
        read: RowReader,
        names: Sequence[str],
        *,
        once: bool,
        rising: bool,
        exact: Collection[str],
        slack: Slack | None,
    ) -> None:
        self._topic, self._bounds, self._read, self._names = topic, bounds, read, tuple(names)
        self._once, self._rising = once, rising
        self._exact, self.slack = frozenset(exact), slack
        self._wanted: dict[tuple[Any, ...], _Pair] = {}
        self._last: dict[tuple[Any, ...], _Last] = {}
        self._findings: list[Finding] = []

    def expect(self, output: Output, piece: Piece) -> None:  # noqa: ARG002 - as `Judge`
        """Hear what the topic should hold."""
        look_ahead(self._read, output.values)
        for pair in _pairs(output):
            self._wanted[self._group(self._read(pair[1] or b""))] = pair

    def found(self, messages: Sequence[Message]) -> None:
        """Hear what it holds."""
        look_ahead(self._read, [message.value() for message in messages])
        for message in messages:
            try:
                group = self._group(self._read(message.value() or b""))
                last = self._last.get(group)  # a cell that is a list raises here
            except (ValueError, KeyError, TypeError, IndexError):
                self._findings.append(_at("wrong", message))
                continue
            pair = (message.key(), message.value())
            if last is not None and (self._once or (self._rising and last.pair == pair)):
                self._findings.append(_at("duplicate", message))
                continue
            self._last[group] = _Last(pair, message.partition() or 0, message.offset() or 0)

    def findings(self) -> Iterator[Finding]:
        """What is amiss."""
        yield from self._findings
        for group, last in self._last.items():
            wanted = self._wanted.get(group)
            if wanted is None:
                if not self._bounds.surplus:
                    continue
                why = "no input makes this group"
            elif self._same(group, wanted, last.pair):
                continue
            else:
                why = f"should be {_shown(*wanted)}"
            what = f"{_shown(*last.pair)}, {why}"
            yield Finding("wrong", self._topic, last.partition, last.offset, what)
        for group, wanted in self._wanted.items():
            if self._bounds.missing and group not in self._last:
                where = _place(wanted[0], self._bounds.partitions)
                yield Finding("missing", self._topic, where, None, _shown(*wanted))

    def _group(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._names)

    def _same(self, group: tuple[Any, ...], one: _Pair, other: _Pair) -> bool:
        if one == other:
            return True
        slack = self.slack.of(group) if self.slack else {}
        a, b = self._read(one[1] or b""), self._read(other[1] or b"")
        return one[0] == other[0] and same(a, b, exact=self._exact, slack=slack)


@dataclass(slots=True)
class Origins:
    """Records set aside: exactly one for each that belongs there.

    ``spans`` are the offsets that are judged, by input partition; ``stage`` is who set them aside.
    What others put into the topic is not looked at.
    """

    topic: str
    bounds: Bounds
    spans: Mapping[TopicPartition, tuple[int, int]]
    stage: str
    _wanted: dict[tuple[TopicPartition, int], _Pair] = field(default_factory=dict)
    _seen: set[tuple[TopicPartition, int]] = field(default_factory=set)
    _findings: list[Finding] = field(default_factory=list)

    def expect(self, output: Output, piece: Piece) -> None:  # noqa: ARG002 - as `Judge`
        """Hear what the topic should hold."""
        if output.headers is None:  # rows of a sink that shares the topic
            return
        for pair, headers in zip(_pairs(output), output.headers, strict=True):
            origin = self._origin(dict(headers))
            if origin is not None:
                self._wanted[origin] = pair

    def found(self, messages: Sequence[Message]) -> None:
        """Hear what it holds."""
        for message in messages:
            origin = self._origin(dict(headers_of(message)))
            if origin is None:
                continue
            where, offset = origin
            low, high = self.spans.get(where, (0, 0))
            if not low <= offset < high:
                continue
            name = f"{where} offset {offset}"
            if origin in self._seen:
                self._findings.append(_at("duplicate", message, name))
            elif self._wanted.get(origin) != (message.key(), message.value()):
                self._findings.append(_at("wrong", message, name))
            self._seen.add(origin)

    def findings(self) -> Iterator[Finding]:
        """What is amiss."""
        yield from self._findings
        for (where, offset), pair in self._wanted.items():
            if self.bounds.missing and (where, offset) not in self._seen:
                place = _place(pair[0], self.bounds.partitions)
                name = f"{where} offset {offset}"
                yield Finding("missing", self.topic, place, None, _shown(*pair), name)

    def _origin(self, headers: Mapping[str, bytes | None]) -> tuple[TopicPartition, int] | None:
        if headers.get("processor.stage") != self.stage.encode():
            return None
        try:
            topic, partition, offset = (
                (headers[f"processor.{name}"] or b"").decode()
                for name in ("topic", "partition", "offset")
            )
            return TopicPartition(topic, int(partition)), int(offset)
        except (KeyError, ValueError):
            return None


def _pairs(output: Output) -> Iterable[_Pair]:
    return zip(output.keys or repeat(None), output.values)  # noqa: B905 - `repeat` has no end


def _place(key: bytes | None, partitions: int) -> int | None:
    return None if key is None else partition_of(key, partitions)


def _at(kind: Kind, message: Message, origin: str = "") -> Finding:
    what = _shown(message.key(), message.value())
    return Finding(kind, message.topic() or "", message.partition(), message.offset(), what, origin)


def _shown(key: bytes | None, value: bytes | None) -> str:
    text = "no value" if value is None else _text(value[:200])
    return text if key is None else f"{_text(key[:60])} {text}"


def _text(some: bytes) -> str:
    """Bytes as one line that does nothing to a terminal."""
    text = some.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
