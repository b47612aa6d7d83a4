"""The keys of a sample of records: what reads them, and what writes them again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

import polars as pl

from processor.app import sketch_schemas
from processor.app.sketch_code import code_of, one_line
from processor.errors import SettingsError
from processor.formats.base import DataType
from processor.formats.inferred import Inferred, infer
from processor.formats.json import Json
from processor.formats.nested import made
from processor.formats.registered import Registered
from processor.formats.registry import Schemas
from processor.formats.spelling import quoted, spelt

_AS_TEXT: Final = (pl.String, pl.Boolean, pl.Date)


@dataclass(frozen=True, slots=True)
class Keys:
    """What was found of keys: arguments of ``read.kafka``, a sentence, and how they are written."""

    arguments: tuple[str, ...]
    told: str
    written: str = ""
    form: Registered | None = None
    prefix: str = ""


def keys_of(
    topic: str,
    keys: Sequence[bytes | None],
    values: Sequence[bytes],
    found: Inferred,
    schemas: Schemas | None,
) -> Keys:
    """What reads and writes the keys of records, beside the format that was found for values.

    >>> keys_of("in", [b"7"], [b'{"id":7}'], infer([b'{"id":7}']), None).arguments
    ('partitioned_by="id"',)
    """
    present = [key for key in keys if key is not None]
    columns = found.form.columns or {}
    if not present:
        return Keys((), "The records have no keys. Aggregates need a topic that is keyed.")
    if sketch_schemas.ids(present):
        return _keys_by_registry(topic, present, columns, schemas, every=len(present) == len(keys))
    same = _same(keys, values, found)
    if same is not None:
        return Keys(
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
        return Keys((), f"The records' keys are no text: the first is {present[0][:20]!r}.")
    name = _free("key", columns)
    told = f"The records' keys are text, as {present[0][:40].decode(errors='ignore')!r}."
    return Keys((f'key="{name}"',), told, f', key="{name}"')


def _keys_by_registry(
    topic: str,
    keys: Sequence[bytes],
    columns: Mapping[str, DataType],
    schemas: Schemas | None,
    *,
    every: bool,
) -> Keys:
    told = "The records' keys are as a registry's clients write them"
    if schemas is None or not every:
        why = "" if schemas is None else ", with columns that may be null: some records have none"
        return Keys((), f"{told}: key_format=Registered(...){why}. The copy writes none.")
    try:
        form = sketch_schemas.registered(topic, keys, schemas, "key")
    except SettingsError as error:
        return Keys((), f"{told}; {one_line(error.message)}.")
    code = sketch_schemas.spelt_form(form)[0]
    found = _arguments(code, list(form.columns), columns, told)
    again = "The copy writes them as JSON."
    if found.prefix:
        listed = ", ".join(quoted(found.prefix + name) for name in form.columns)
        again = (
            "The copy writes none: columns of the value have their names. If they may be called "
            f"otherwise there, say key=[{listed}], key_format=Json()."
        )
    return replace(found, form=form, told=f"{found.told} {again}")


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


def _formatted(found: Inferred, columns: Mapping[str, DataType], *, every: bool) -> Keys:
    form = found.form
    names = list(form.columns or ())
    if not every and isinstance(form, Json):
        form = replace(form, optional=frozenset(names))
    code = code_of(Inferred(form)).line()
    payload = (form.columns or {}).get("payload")
    if set(names) == {"schema", "payload"} and isinstance(payload, pl.Struct):
        # Of Kafka Connect's converter, with their schema beside them.
        columns_of = {part.name: made(part.dtype) for part in payload.fields}
        names = list(columns_of)
        parts = (f"{quoted(name)}: {spelt(kind)}" for name, kind in columns_of.items())
        code = f"Debezium({{{', '.join(parts)}}}, unwrap=True)"
    keys = _arguments(code, names, columns, "The records' keys are JSON")
    if every and not keys.prefix:
        return keys
    # Their text beside their columns: under these it could not be written as it was, or for each.
    text = _free("record_key", {**columns, **dict.fromkeys(keys.prefix + n for n in names)})
    arguments = [one for one in keys.arguments if every or not one.startswith("partitioned_by=")]
    why = "columns of the value have their names" if every else "some records have none"
    return Keys(
        (f'key="{text}"', *arguments),
        f"The records' keys are JSON, and written by their text: {why}.",
        f', key="{text}"',
    )


def _free(name: str, taken: Collection[str]) -> str:
    """A name like that, which no column has."""
    return next(each for each in _names(name) if each not in taken)


def _names(name: str) -> Iterator[str]:
    yield from (name, "record_key")
    yield from (f"{name}_{number}" for number in count(2))


def _arguments(code: str, names: Sequence[str], columns: Mapping[str, DataType], told: str) -> Keys:
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
    written = f", key=[{listed}], key_format=Json()"
    return Keys(tuple(arguments), f"{told}.", "" if prefix else written, prefix=prefix)
