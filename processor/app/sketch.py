"""A topology that reads a topic, written down from a sample of its records.

It is a beginning: what was found is a guess from these records, and says so where it may be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import orjson
import polars as pl

from processor.app import sketch_schemas
from processor.connectors.ports import Log
from processor.errors import SettingsError
from processor.formats.base import VALUE_BYTES_MAX, DataType
from processor.formats.csv import Csv
from processor.formats.inferred import Inferred, infer
from processor.formats.json import Json
from processor.formats.nested import made
from processor.formats.registered import Registered
from processor.formats.registry import Schemas
from processor.formats.spelling import quoted, spelt
from processor.formats.text import Text
from processor.model.log import TopicPartition

Record: TypeAlias = tuple[bytes | None, bytes | None]
"""Key and value."""

BYTES_MAX: Final = 32 << 20
"""More than that of a sample is not kept."""

_AS_TEXT: Final = (pl.String, pl.Boolean, pl.Date)
_INDENT: Final = "    "
_LINE: Final = 100


@dataclass(frozen=True, slots=True)
class _Keys:
    """What was found of keys: arguments of ``read.kafka``, a sentence, and how they are written."""

    arguments: tuple[str, ...]
    told: str
    written: str = ""
    form: Registered | None = None


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
    keys = _keys(topic, [key for key, _ in good], values, found, schemas)
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


def _lines(topic: str, records: Sequence[Record], found: Inferred, keys: _Keys) -> Iterator[str]:
    code = _code(found)
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
    hint = (_mixed(records) if isinstance(found.form, Text) else "") or _hint(found)
    yield from [f"# {hint}"] * bool(hint)
    yield f"# {keys.told}"
    yield "rows = topology.read.kafka("
    yield f'{_INDENT}"{topic}",'
    first, *rest = code.block()
    lines = [f"format={first}", *rest]
    yield from (_INDENT + line for line in lines[:-1])
    yield f"{_INDENT}{lines[-1]},"
    times = [name for name, kind in (found.form.columns or {}).items() if kind == pl.Datetime]
    times = [name for name in times if name not in getattr(found.form, "optional", ())]
    if times:
        yield f"{_INDENT}# event_time={quoted(times[0])}, if that says when a thing happened"
    yield from (f"{_INDENT}{argument}," for argument in keys.arguments)
    yield from [f'{_INDENT}tombstones="pass",'] * any(value is None for _, value in records)
    yield ")"
    yield f'rows.write.kafka("{topic[:240]}-copy"{keys.written})'


@dataclass(frozen=True, slots=True)
class _Code:
    """A format as it is written: its name, its columns with their notes, and other arguments."""

    name: str
    columns: tuple[tuple[str, str], ...]
    more: tuple[str, ...]
    uses: tuple[str, ...] = ()

    def line(self) -> str:
        """All in one line, without notes."""
        columns = f"{{{', '.join(code for code, _ in self.columns)}}}"
        return f"{self.name}({', '.join([*([columns] * bool(self.columns)), *self.more])})"

    def block(self) -> list[str]:
        """A line for each column, with its note."""
        if not self.columns:
            return [self.line()]
        lines = [f"{self.name}(", f"{_INDENT}{{"]
        for code, note in self.columns:
            lines.append(f"{_INDENT * 2}{code}," + f"  # {_one_line(note)}" * bool(note))
        return [*lines, f"{_INDENT}}},", *(f"{_INDENT}{one}," for one in self.more), ")"]


def _code(found: Inferred) -> _Code:
    form = found.form
    if isinstance(form, Registered):
        text, uses = sketch_schemas.spelt_form(form)
        return _Code("Registered", (), (text.removeprefix("Registered(")[:-1],), tuple(uses))
    more: list[str] = []
    if form.value_bytes_max != VALUE_BYTES_MAX:
        more.append(f"value_bytes_max={form.value_bytes_max}")
    if isinstance(form, Text):
        return _Code("Text", (), tuple(more))
    if isinstance(form, Json) and form.optional:
        more.append(f"optional=frozenset({{{', '.join(map(quoted, sorted(form.optional)))}}})")
    if isinstance(form, Json) and form.maps:
        more.append(f"maps=frozenset({{{', '.join(map(quoted, sorted(form.maps)))}}})")
    if isinstance(form, Csv) and form.optional:
        more.append(f"optional=frozenset({{{', '.join(map(quoted, sorted(form.optional)))}}})")
    if isinstance(form, Csv) and form.header:
        more.append("header=True")
    if isinstance(form, Csv) and form.separator != ",":
        more.append(f"separator={quoted(form.separator)}")
    if form.epoch:
        units = (f"{quoted(name)}: {quoted(unit)}" for name, unit in form.epoch.items())
        more.append(f"epoch={{{', '.join(units)}}}")
    columns = (
        (f"{quoted(name)}: {spelt(kind)}", found.notes.get(name, ""))
        for name, kind in (form.columns or {}).items()
    )
    return _Code(type(form).__name__, tuple(columns), tuple(more))


def _one_line(note: str) -> str:
    return " ".join(note.split()).encode("unicode_escape").decode()


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
            yield f"# {len(bad)} would be dead letters, the first by: {_one_line(some)}."


def _records(count: int) -> str:
    return "1 record has" if count == 1 else f"{count} records have"


def _mixed(records: Sequence[Record]) -> str:
    """How many would be read by columns, where some cannot be."""
    objects = [value for _, value in records if value and _is_object(value)]
    of = infer(objects) if objects else None
    if of is None or not isinstance(of.form, Json):
        return ""
    line = _code(of).line()
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


def _keys(
    topic: str,
    keys: Sequence[bytes | None],
    values: Sequence[bytes],
    found: Inferred,
    schemas: Schemas | None,
) -> _Keys:
    present = [key for key in keys if key is not None]
    columns = found.form.columns or {}
    if not present:
        return _Keys((), "The records have no keys. Aggregates need a topic that is keyed.")
    if sketch_schemas.ids(present):
        return _keys_by_registry(topic, present, columns, schemas, every=len(present) == len(keys))
    same = _same(keys, values, found)
    if same is not None:
        return _Keys(
            (f"partitioned_by={quoted(same)}",),
            f"The records' keys are the text of {same!r}.",
            f", key={quoted(same)}",
        )
    formatted = infer(present) if all(present) else None
    if formatted is not None and isinstance(formatted.form, Json) and formatted.form.columns:
        return _formatted(formatted, columns, every=len(present) == len(keys))
    try:
        for key in present:
            key.decode()
    except UnicodeDecodeError:
        return _Keys((), f"The records' keys are no text: the first is {present[0][:20]!r}.")
    name = next(n for n in ("key", "record_key", "key_of_record_") if n not in columns)
    told = f"The records' keys are text, as {present[0][:40].decode(errors='ignore')!r}."
    return _Keys((f'key="{name}"',), told, f', key="{name}"')


def _keys_by_registry(
    topic: str,
    keys: Sequence[bytes],
    columns: Mapping[str, DataType],
    schemas: Schemas | None,
    *,
    every: bool,
) -> _Keys:
    told = "The records' keys are as a registry's clients write them"
    if schemas is None or not every:
        return _Keys((), f"{told}: key_format=Registered(...)")
    try:
        form = sketch_schemas.registered(topic, keys, schemas, "key")
    except SettingsError as error:
        return _Keys((), f"{told}; {_one_line(error.message)}.")
    code = sketch_schemas.spelt_form(form)[0]
    return replace(_arguments(code, list(form.columns), columns, told), form=form)


def _same(keys: Sequence[bytes | None], values: Sequence[bytes], found: Inferred) -> str | None:
    """The column whose text each record has as its key."""
    if None in keys:
        return None
    texts = pl.Series(keys, dtype=pl.Binary)
    frame = found.form.decode(values).frame
    for column in frame.get_columns():
        plain = column.dtype in _AS_TEXT or column.dtype.is_integer()
        if plain and column.cast(pl.String).cast(pl.Binary).equals(texts):
            return column.name
    return None


def _formatted(found: Inferred, columns: Mapping[str, DataType], *, every: bool) -> _Keys:
    form = found.form
    names = list(form.columns or ())
    if not every and isinstance(form, Json):
        form = replace(form, optional=frozenset(names))
    code = _code(Inferred(form)).line()
    payload = (form.columns or {}).get("payload")
    if set(names) == {"schema", "payload"} and isinstance(payload, pl.Struct):
        # Of Kafka Connect's converter, with their schema beside them.
        columns_of = {part.name: made(part.dtype) for part in payload.fields}
        names = list(columns_of)
        parts = (f"{quoted(name)}: {spelt(kind)}" for name, kind in columns_of.items())
        code = f"Debezium({{{', '.join(parts)}}}, unwrap=True)"
    keys = _arguments(code, names, columns, "The records' keys are JSON")
    if every:
        return keys
    arguments = (each for each in keys.arguments if not each.startswith("partitioned_by="))
    return _Keys(tuple(arguments), keys.told)


def _arguments(
    code: str, names: Sequence[str], columns: Mapping[str, DataType], told: str
) -> _Keys:
    """Keys by a format, whose columns have other names than the values' columns have."""
    arguments = [f"key_format={code}"]
    prefix = ""
    if not set(names).isdisjoint(columns):
        prefix = "key_"
        while not {prefix + name for name in names}.isdisjoint(columns):
            prefix += "_"
        arguments.append(f'key_prefix="{prefix}"')
    listed = ", ".join(quoted(prefix + name) for name in names)
    arguments.append(f"partitioned_by=[{listed}]")
    # With a prefix the key's members would be written under other names than they had.
    written = "" if prefix else f", key=[{listed}], key_format=Json()"
    return _Keys(tuple(arguments), f"{told}.", written)
