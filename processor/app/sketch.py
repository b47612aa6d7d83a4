"""A topology that reads a topic, written down from a sample of its records.

It is a beginning: what was found is a guess from these records, and says so where it may be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import orjson
import polars as pl

from processor.app import sketch_schemas
from processor.app.sketch_code import INDENT, code_of, one_line
from processor.app.sketch_keys import Keys, keys_of
from processor.connectors.ports import Log
from processor.errors import SettingsError
from processor.formats.csv import Csv
from processor.formats.inferred import Inferred, infer
from processor.formats.json import Json
from processor.formats.registered import Registered
from processor.formats.registry import Schemas
from processor.formats.spelling import quoted
from processor.formats.text import Text
from processor.model.log import TopicPartition

Record: TypeAlias = tuple[bytes | None, bytes | None]
"""Key and value."""

BYTES_MAX: Final = 32 << 20
"""More than that of a sample is not kept."""

_LINE: Final = 100
_SOME: Final = 10
_FLATTENED: Final = frozenset({"__op", "__deleted", "__source_ts_ms", "__table"})
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def sample(log: Log, topic: str, records_max: int) -> list[Record]:
    """The last records of each partition, as many of each, up to ``records_max`` of all.

    Raises `SettingsError` for a topic that is not there, or holds nothing.
    """
    described = log.describe([topic])
    if topic not in described:
        raise SettingsError(
            f"there is no topic {topic!r}",
            remedy="see that Kafka and the topic's name are the right ones",
        )
    extents = described[topic].extents
    found: list[Record] = []
    size, left = 0, records_max
    by_size = sorted(extents.items(), key=lambda each: (each[1].high - each[1].low, each[0]))
    for number, (partition, extent) in enumerate(by_size):
        share = -(-left // (len(extents) - number))
        start = max(extent.low, extent.high - share)
        for run in log.scan(TopicPartition(topic, partition), start, extent.high):
            for message in run:
                found.append((message.key(), message.value()))
                size += len(message.value() or b"") + len(message.key() or b"")
                if size > BYTES_MAX:
                    return found
        left = records_max - len(found)
    if not found:
        raise SettingsError(
            f"{topic!r} holds no record to look at", remedy="let its producer write some"
        )
    return found


def sketch(topic: str, records: Sequence[Record], schemas: Schemas | None = None) -> str:
    """The code of a topology that reads these records; none of them becomes a dead letter.

    Records without a value are looked at for their keys alone: no format reads them. Records as a
    registry's clients write them are read by the newest of the schemas that they name; the code
    says which of them that one cannot read. Raises `SettingsError` where the values are no text,
    and for those of a registry where there is none.

    >>> code = sketch("rides", [(b"7", b'{"id":7,"fare":2.5}')])
    >>> [line for line in code.splitlines() if "partitioned_by" in line]
    ['    partitioned_by="id",']
    """
    good = [(key, value) for key, value in records if value]
    values = [value for _, value in good if value]
    found: Inferred | None = None
    if sketch_schemas.ids(values):
        found = _by_registry(topic, values, schemas)
    elif values:
        _refuse_frames(topic, values)
        found = infer(values)
    if found is None:
        mixed = _mixed(records)
        raise SettingsError(
            f"of the {len(records)} records of {topic!r} that were looked at "
            + (f"{sum(map(_is_no_text, values))} are no text" if values else "none has a value"),
            remedy=(f"{mixed} Say" if mixed else "say")
            + ' how they are written: docs/guide.md has the formats; Bytes("value") takes any',
        )
    keys = keys_of(topic, [key for key, _ in good], values, found, schemas)
    return "\n".join(_lines(topic, records, found, keys))


def _is_no_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return True
    return False


def _by_registry(topic: str, values: Sequence[bytes], schemas: Schemas | None) -> Inferred:
    if schemas is None:
        numbers = ", ".join(map(str, sketch_schemas.ids(values)[:5]))
        raise SettingsError(
            f"the records of {topic!r} begin as a schema registry's clients write them, with the "
            f"id of a schema: {numbers}",
            remedy="say where the registry is, --schema-registry-url; docs/guide.md has what reads "
            "such records under 'Schemas in a registry'",
        )
    return Inferred(sketch_schemas.registered(topic, values, schemas))


def _refuse_frames(topic: str, values: Sequence[bytes]) -> None:
    """Refuse what needs columns that are not in the records, and say which format takes it."""
    if all(value[:4] == b"\xff\xff\xff\xff" for value in values):
        raise SettingsError(
            f"the records of {topic!r} begin as Arrow's streams of rows do",
            remedy='format=Arrow({"user": pl.String}), with its columns',
        )


def _lines(topic: str, records: Sequence[Record], found: Inferred, keys: Keys) -> Iterator[str]:
    code = code_of(found)
    formats = {code.name, *code.uses}
    of_keys = " ".join([*keys.arguments, keys.written])
    formats |= {name for name in ("Json", "Debezium") if f"={name}(" in of_keys}
    formats |= set(sketch_schemas.spelt_form(keys.form)[1]) if keys.form else set()
    yield (
        f'"""Reads {topic}. The format was found by looking at {len(records)} of its records: '
        'see whether it is right."""'
    )
    yield ""
    yield from ["import polars as pl"] * any("pl." in one for one in (code.line(), *keys.arguments))
    yield f"from processor import {', '.join([*sorted(formats), 'Topology'])}"
    yield ""
    for form in (found.form, keys.form):
        if isinstance(form, Registered):
            yield from [*sketch_schemas.constants(form), ""]
    yield f'topology = Topology("{topic[:200]}-copy")'
    yield from _told_of_empty(records)
    yield from _told_of_bad(records, found)
    yield from _told_of_left_out(found)
    yield from _told_of_control(records, found)
    hint = (_mixed(records) if isinstance(found.form, Text) else "") or _hint(found)
    yield from [f"# {hint}"] * bool(hint)
    yield f"# {keys.told}"
    yield "rows = topology.read.kafka("
    yield f'{INDENT}"{topic}",'
    first, *rest = code.block()
    lines = [f"format={first}", *rest]
    yield from (INDENT + line for line in lines[:-1])
    yield f"{INDENT}{lines[-1]},"
    times = [name for name, kind in (found.form.columns or {}).items() if kind == pl.Datetime]
    times = [name for name in times if name not in getattr(found.form, "optional", ())]
    if times:
        yield f"{INDENT}# event_time={quoted(times[0])}, if that says when a thing happened"
    yield from (f"{INDENT}{argument}," for argument in keys.arguments)
    yield from [f'{INDENT}tombstones="pass",'] * any(value is None for _, value in records)
    yield ")"
    yield f'rows.write.kafka("{topic[:240]}-copy"{keys.written})'


def _told_of_empty(records: Sequence[Record]) -> Iterator[str]:
    none = sum(value is None for _, value in records)
    if none:
        yield f"# {_records(none)} no value: they are passed over."
    if blank := sum(value == b"" for _, value in records):
        yield f"# {_records(blank)} an empty value, and would be dead letters."


def _told_of_bad(records: Sequence[Record], found: Inferred) -> Iterator[str]:
    """What the newest of a registry's schemas cannot read."""
    if isinstance(found.form, Registered):
        bad = found.form.decode([value for _, value in records if value]).bad
        if bad:
            some = next(iter(bad.values()))
            yield f"# {len(bad)} would be dead letters, the first by: {one_line(some)}."


def _told_of_left_out(found: Inferred) -> Iterator[str]:
    """Members that are no column: a name may be none, or have no type by which all are read."""
    if names := ", ".join(one_line(repr(name)) for name in found.left_out[:_SOME]):
        more = len(found.left_out) - _SOME
        yield (
            f"# Left out, as no column is like them: {names}{f' and {more} more' * (more > 0)}. "
            'rest="others" keeps all that is no column.'
        )


def _told_of_control(records: Sequence[Record], found: Inferred) -> Iterator[str]:
    """What is text by chance: a short message of Protobuf, say, is mostly UTF-8."""
    if isinstance(found.form, Text | Csv):
        some = sum(value is not None and _CONTROL.search(value) is not None for _, value in records)
        if some:
            yield (
                f"# {_records(some)} control characters: this may be no text but Protobuf, or "
                "another format of bytes. Ask who writes it; Bytes() takes any."
            )


def _records(count: int) -> str:
    return "1 record has" if count == 1 else f"{count} records have"


def _mixed(records: Sequence[Record]) -> str:
    """How many would be read by columns, where some cannot be."""
    objects = [value for _, value in records if value and _is_object(value)]
    of = infer(objects) if objects else None
    if of is None or not isinstance(of.form, Json):
        return ""
    line = code_of(of).line()
    return (
        f"{len(objects)} of the {len(records)} are JSON objects: with "
        f"{line if len(line) < _LINE else 'Json({...})'} the others would be dead letters."
    )


def _is_object(value: bytes) -> bool:
    try:
        return isinstance(orjson.loads(value), dict)
    except orjson.JSONDecodeError:
        return False


def _hint(found: Inferred) -> str:
    """What is to be said of the whole: what its members look like, which line is no record."""
    names = set(found.form.columns or ())
    if not _FLATTENED.isdisjoint(found.left_out):
        return (
            "These look like change events of a database, flattened: see the format Debezium, "
            "unwrap=True."
        )
    if isinstance(found.form, Csv) and found.form.header:
        line = found.form.separator.join(found.form.columns or ())
        return f"The line {line!r} has the columns' names, and is passed over."
    if isinstance(found.form, Registered):
        return ""
    if {"schema", "payload"} == names and isinstance(
        payload := (found.form.columns or {})["payload"], pl.Struct
    ):
        names = {part.name for part in payload.fields}
    if {"op", "before", "after"} <= names:
        return "These look like change events of a database: see the format Debezium."
    if {"specversion", "id", "source", "type"} <= names:
        return "These look like CloudEvents: see the format of that name."
    return ""
