"""JSON by a JSON Schema: its columns, and the rest of what it asks for.

`Json` does the reading and the writing. Beside it, records are looked at that columns alone cannot
judge: a number where the schema has text, a null where a member may only be missing. These are
found by column, and looked at one by one. Where objects may have no other members than those that
are named (``"additionalProperties": false``), every record is looked at. A schema with words that
no column says (``pattern``, ``minimum`` and so on) has every record checked by the library
``jsonschema``, which takes some 50 µs each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.arguments import check_options
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    SchemaFormat,
    Values,
    WriteError,
    by_kind,
    describe_columns,
    in_order,
    shown,
)
from processor.formats.exact import OF
from processor.formats.idle_forms import forms_for
from processor.formats.json import Json
from processor.formats.json_misfit import (
    Test,
    anywhere,
    misfit,
    parsed,
    strange_records,
    without_nulls,
)
from processor.formats.json_schema_checks import (
    check_required,
    check_schema,
    checker,
    loaded,
    too_deep,
)
from processor.formats.json_shape import Reader, Shape
from processor.formats.times import ISO
from processor.model.location import Location

# A time of day has an offset in JSON Schema, and a column has none: it is UTC.
_FORMS: Final = (ISO, "%H:%M:%SZ", "%H:%M:%S")
_NO_TEXT: Final = r"^(?:-?[0-9]|true$|false$|[\[{])"


@dataclass(frozen=True)
class JsonSchema(SchemaFormat):
    """An object per record, as a JSON Schema has it.

    ``integer`` is Int64, ``number`` Float64, ``string`` String, with the format ``date-time`` a
    Datetime in UTC, with ``date`` or ``time`` a Date or Time, each as RFC 3339 has it and bad
    otherwise (a ``date-time`` has its offset), with an ``enum`` a `pl.Enum`; objects
    are `pl.Struct`, arrays `pl.List`. What is not ``required`` or may be null is optional. What may
    be of several types, or is an object without ``properties``, is text as it stands, which can be
    read and not written.

    Args:
        schema: the schema, as a mapping, as text, or as the path of a file.
        value_bytes_max: a longer value is bad without being looked at.
        references: the schemas that it refers to by name (``{"$ref": "customer.json"}``); nothing
            is loaded from elsewhere.

    Raises `TopologyError`, with the line that declares it, for what is no schema of an object.

    >>> form = JsonSchema({"type": "object", "required": ["id"],
    ...                    "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}})
    >>> form.decode([b'{"id": 1, "name": "a"}', b'{"id": 1, "name": 5}', b'{"name": "a"}']).bad
    {2: "column 'id': missing", 1: "column 'name': 5 is no text"}
    >>> form.encode(pl.DataFrame({"id": [1], "name": [None]}, schema_overrides={"name": pl.String}))
    [b'{"id":1}']
    """

    schema: Mapping[str, Any] | str | Path
    value_bytes_max: int = VALUE_BYTES_MAX
    references: Mapping[str, Any] = field(default_factory=dict)
    root: Mapping[str, Any] = field(init=False, repr=False, compare=False)
    shape: Shape = field(init=False, repr=False, compare=False)
    _others: Mapping[str, Any] = field(init=False, repr=False, compare=False)
    _json: Json = field(init=False, repr=False, compare=False)
    _strangers: Callable[[bytes], bool] | None = field(init=False, repr=False, compare=False)
    _errors: Callable[[Any], str | None] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = declared.told_at()
        check_options(self, at)
        declared.check_bytes("JsonSchema", self.value_bytes_max, at)
        try:
            self._build(at)
        except RecursionError as error:
            raise too_deep(at) from error

    def _build(self, at: Location) -> None:
        root = loaded(self.schema, at)
        others = {name: loaded(other, at) for name, other in self.references.items()}
        check_required(root, at)
        for schema in (root, *others.values()):
            check_schema(schema, at)
        reader = Reader(root, others, at)
        shape = reader.shape()
        columns = {name: member.kind for name, member in shape.members}
        optional = {name for name, member in shape.members if member.null or not member.required}
        form = Json(
            columns, optional=frozenset(optional), times=forms_for(columns, _FORMS),
            value_bytes_max=self.value_bytes_max,
        )  # fmt: skip
        times = form._times  # noqa: SLF001 - a schema's times are narrower than any forms
        exact = {place: OF[type(kind)] for place, kind in times.kinds.items() if type(kind) in OF}
        object.__setattr__(form, "_times", replace(times, exact=exact))
        object.__setattr__(self, "root", root)
        object.__setattr__(self, "_others", others)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "_json", form)
        object.__setattr__(self, "_strangers", strange_records(shape))
        errors = checker(root, others, at) if reader.words else None
        object.__setattr__(self, "_errors", errors)

    @property
    def others(self) -> Mapping[str, Any]:
        """The schemas that it refers to, by name."""
        return self._others

    @property
    def columns(self) -> Mapping[str, DataType]:
        """A column for each of the schema's properties."""
        return self._json.columns or {}

    @property
    def optional(self) -> frozenset[str]:
        """The columns that may be null."""
        return self._json.optional

    def decode(self, values: Values) -> Decoded:
        """Objects to columns: a row per value, in order; bad values are named, not raised."""
        decoded = self._json.decode(values)
        bad = dict(decoded.bad)
        check = self._misfit if self._errors is None else self._errors
        for row in self._doubtful(decoded, values):
            value = values[row]
            if row not in bad and value is not None:
                reason = check(parsed(value))
                if reason is not None:
                    bad[row] = reason
        return Decoded(decoded.frame, bad)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to objects; what is null and may only be missing is left out.

        Raises `WriteError` for a row that the schema does not allow, and `TopologyError` for
        columns that may be of any type.
        """
        free = [name for name, member in self.shape.members if _is_free(member)]
        if free:
            raise TopologyError(
                f"column {free[0]!r} may be of several types by its schema, or of none: what text "
                "is to be written as cannot be told",
                remedy="give it one type in the schema that is written",
            )
        frame = in_order(frame, self.columns)
        self._check(frame)
        left_out = [name for name, member in self.shape.members if not member.null]
        left_out = [name for name in left_out if frame[name].null_count()]
        kinds = None
        if left_out:
            nulls = [pl.col(name).is_null().cast(pl.Int8) for name in left_out]
            kinds = frame.select(pl.concat_str(nulls).rank("dense")).to_series()
        lines = by_kind(frame, kinds, self._encode)
        if self._errors is not None:
            for line in lines:
                reason = self._errors(parsed(line))
                if reason is not None:
                    raise WriteError(reason)
        return lines

    def records(self, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Rows as JSON, as they are."""
        return [orjson.dumps(row) for row in rows]

    def told(self) -> Any:
        """The schema, and those that it refers to."""
        return [self.root, self._others]

    def describe(self) -> str:
        """``json-schema(name type, …)``."""
        return f"json-schema({describe_columns(self.columns)})"

    def _encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows of which the same columns are null."""
        members = dict(self.shape.members)
        kept = [c for c in frame.get_columns() if members[c.name].null or not c.null_count()]
        if not kept:
            return [b"{}"] * frame.height
        rows = pl.DataFrame(kept)
        lines = self._writer(rows.columns).encode(rows)
        inside = self._rows(rows, _may_be_missing)
        for row in [] if inside is None else inside.arg_true().to_list():
            lines[row] = orjson.dumps(without_nulls(orjson.loads(lines[row]), self.shape))
        return lines

    def _writer(self, names: list[str]) -> Json:
        columns = {name: self.columns[name] for name in names}
        return Json(columns, times=forms_for(columns, _FORMS))

    def _check(self, frame: pl.DataFrame) -> None:
        for test, what in (
            (_is_missing, "null, and has to be there"),
            (_is_no_number, "no number, and JSON has no such value"),
        ):
            found = self._rows(frame, test)
            if found is not None and found.any():
                row = frame.row(int(found.arg_true()[0]), named=True)
                raise WriteError(f"a column is {what}: {shown(row)}")

    def _rows(self, frame: pl.DataFrame, test: Test) -> pl.Series | None:
        """The rows in which a test finds something; ``None``: none could be."""
        members = [(name, member) for name, member in self.shape.members if name in frame]
        found = [anywhere(pl.col(name), member, test) for name, member in members]
        there = [one for one in found if one is not None]
        return frame.select(pl.any_horizontal(there)).to_series() if there else None

    def _doubtful(self, decoded: Decoded, values: Values) -> list[int]:
        """The rows that have to be looked at."""
        if self._errors is not None:
            return list(range(len(values)))
        frame = decoded.frame
        doubt = np.zeros(frame.height, np.bool_)
        if self._strangers is not None:
            for row, value in enumerate(values):
                if value is not None and row not in decoded.bad:
                    doubt[row] = self._strangers(value)
        for test in (_is_unlike_text, _is_missing, _is_missing_or_null):
            found = self._rows(frame, test)
            if found is not None:
                doubt |= found.to_numpy()
        maybe = self._rows(frame, _may_be_missing)
        if maybe is not None and maybe.any():
            rows = (maybe & ~pl.Series(doubt)).arg_true()
            said = pl.Series(values, dtype=pl.Binary).gather(rows).bin.contains(b"null")
            doubt[rows.filter(said.fill_null(value=False)).to_numpy()] = True
        return [int(row) for row in np.flatnonzero(doubt)]

    def _misfit(self, cell: Any) -> str | None:
        return misfit(cell, self.shape, "")


def _is_unlike_text(cells: pl.Expr, shape: Shape) -> pl.Expr | None:
    """Text may have been a number, or an object, in the record."""
    if shape.free or not isinstance(shape.kind, pl.String | pl.Enum):
        return None
    return cells.cast(pl.String).str.contains(_NO_TEXT)


def _is_missing(cells: pl.Expr, shape: Shape) -> pl.Expr | None:
    """Null where there has to be a value."""
    return cells.is_null() if shape.required and not shape.null else None


def _is_missing_or_null(cells: pl.Expr, shape: Shape) -> pl.Expr | None:
    """Null where the member has to be there, be it null."""
    return cells.is_null() if shape.required and shape.null else None


def _may_be_missing(cells: pl.Expr, shape: Shape) -> pl.Expr | None:
    """Null where the member may be missing, and may not be null; or is an element of a list."""
    return cells.is_null() if not shape.required and not shape.null else None


def _is_no_number(cells: pl.Expr, shape: Shape) -> pl.Expr | None:
    return ~cells.is_finite() if shape.kind.is_float() else None


def _is_free(shape: Shape) -> bool:
    inside = [member for _, member in shape.members]
    return shape.free or any(map(_is_free, [*inside, *filter(None, [shape.element])]))
