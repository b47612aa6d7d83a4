"""JSON: one object per record.

Records become raw columns in one call (`processor.formats.objects`), these become columns of the
declared types, and what is no member by itself is made beside them (`processor.formats.extras`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, get_args

import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.arguments import check_options
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    Values,
    by_kind,
    describe_columns,
    from_text,
    in_order,
    of_text,
    only_finite,
    shown,
)
from processor.formats.epoch import Unit
from processor.formats.extras import Extras
from processor.formats.idle_forms import check_forms, forms_for
from processor.formats.lines import join_rows
from processor.formats.members import as_they_stand, members
from processor.formats.modelled import AnyColumns, optional_of
from processor.formats.nested import (
    as_it_stands,
    changed,
    check_finite,
    leaves,
    mapped,
    misfit,
    nested,
    only_texts,
)
from processor.formats.objects import Objects, without_nan
from processor.formats.options import Told, extras
from processor.formats.times import ISO, READ_FORMS
from processor.model.location import Location

OnNan: TypeAlias = Literal["refuse", "null"]
OnTwice: TypeAlias = Literal["first", "refuse"]

_READ_AS: Final[Mapping[DataType, DataType]] = {
    pl.Int8: pl.Int64,
    pl.Int16: pl.Int64,
    pl.Int32: pl.Int64,
    pl.Int64: pl.Int64,
    pl.UInt8: pl.Int64,
    pl.UInt16: pl.Int64,
    pl.UInt32: pl.Int64,
    pl.UInt64: pl.UInt64,
    pl.Float32: pl.Float64,
    pl.Float64: pl.Float64,
    pl.Boolean: pl.Boolean,
    pl.String: pl.String,
}
"""What the parser is asked for; narrower types come by a checked cast, since it knows few."""


@dataclass(frozen=True)
class Json:
    """Objects whose members are the columns; members that are no column are ignored.

    A record is bad when it is no JSON object, when a column's member is missing, null or of another
    type (a number as text is not a number), when a number does not fit the column's type, or when
    it is not UTF-8. Columns named in ``optional`` may be missing or null. A String column takes a
    member that is no text as its JSON stands in the record: ``1.10`` stays ``1.10``. A sink sets a
    row aside that would have a null in a column that is not optional.

    Args:
        columns: name and Polars type of each member to read (String, integers up to 64 bits,
            Float32, Float64, Decimal, Boolean, Enum, Binary as base64, Datetime of any unit with or
            without a zone, Duration as ISO 8601 has it, Date, Time, Struct and List of these, where
            what is missing is null); may be left out for writing only. Rows are written in this
            order.
        optional: names of columns that may be null.
        millis: names of Datetime columns that are whole milliseconds since 1970 in UTC, read and
            written: short for an ``epoch`` of ``ms``.
        time_form: how a Datetime is written, in the words of ``strptime``, with the fraction of a
            second where there is one and the offset where the column has a zone. If left out: the
            first of ``times``, or ISO 8601. It is read before ``times`` are tried.
        times: how times may be read, tried in order. Those with a date alone are for Date columns,
            those with a time of day alone for Time columns, and the first of either is written.
        value_bytes_max: a longer value is bad without being looked at.
        epoch: the Datetime columns that are numbers since 1970 in UTC, each with its unit: ``s``
            (which may have a fraction), ``ms``, ``us`` or ``ns``.
        durations: the Duration columns that are numbers, each with its unit, as in ``epoch``.
        maps: the columns that are objects of any names, as a list of ``{"key", "value"}`` in their
            order: ``pl.List(pl.Struct({"key": pl.String, "value": T}))``; and such places in nested
            columns, as in ``order.tags`` and ``items[].tags``.
        rest: the String column that has the object of all members that are no column, as they stand
            (``{}`` for none). Writing makes members of it again. Left out, they are ignored.
        missing: for an optional column, the Boolean column that tells whether its member is missing
            (and not null); where it is true, the member is left out of what is written.
        nan: what becomes of a number that is not finite: ``refuse`` makes a record with a bare
            ``NaN`` or ``Infinity`` bad, and sets a row aside; ``null`` reads and writes null. If
            left out: ``refuse`` where there are columns, else ``null``.
        duplicates: of members with one name the ``first`` counts, or, by ``refuse``, a record with
            two of them, at any depth, is bad.

    Raises `TopologyError`, with the line that declares it, for what cannot be read or written.

    >>> Json({"cluster": pl.Int64}).decode([b'{"cluster":6}', b'{"cluster":"six"}']).bad
    {1: "column 'cluster': 'six' is no Int64"}
    >>> form = Json({"at": pl.Datetime("us")}, epoch={"at": "s"})
    >>> form.decode([b'{"at":1406851380.25}']).frame.item()
    datetime.datetime(2014, 8, 1, 0, 3, 0, 250000)
    """

    columns: AnyColumns = AnyColumns()  # noqa: RUF009 - it holds nothing of a format
    optional: frozenset[str] = frozenset()
    millis: frozenset[str] = frozenset()
    time_form: str | None = None
    times: Sequence[str] = READ_FORMS
    value_bytes_max: int = VALUE_BYTES_MAX
    epoch: Mapping[str, Unit] = field(default_factory=dict)
    durations: Mapping[str, Unit] = field(default_factory=dict)
    maps: frozenset[str] = frozenset()
    rest: str | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    nan: OnNan | None = None
    duplicates: OnTwice = "first"
    _raw: Mapping[str, DataType] = field(init=False, repr=False, compare=False)
    _times: declared.Times = field(init=False, repr=False, compare=False)
    _texts: set[str] = field(init=False, repr=False, compare=False)
    _leaves: dict[str, pl.DataType] = field(init=False, repr=False, compare=False)
    _objects: Objects = field(init=False, repr=False, compare=False)
    _extras: Extras | None = field(init=False, repr=False, compare=False)
    _binary: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = declared.told_at()
        check_options(self, at)
        columns = self.columns if self.columns is not None else {}
        declared.check_columns("Json", columns, at, deep=True)
        declared.check_bytes("Json", self.value_bytes_max, at)
        declared.check_names("Json", self.optional, columns, at)
        object.__setattr__(self, "optional", frozenset(self.optional) | optional_of(self))
        times = declared.times(
            "Json", self.columns or None, self._forms(), self._written(), self._epoch(at), at,
            self.durations,
        )  # fmt: skip
        if self.times != READ_FORMS:
            check_forms("Json", self.columns, self.times, at)
        if self.time_form is not None:
            check_forms("Json", self.columns, (self.time_form,), at, "time_form")
        if self.nan is not None:
            declared.check_word("Json", "nan", self.nan, get_args(OnNan), at)
        declared.check_word("Json", "duplicates", self.duplicates, get_args(OnTwice), at)
        told = Told(self.maps, self.rest, self.missing, self.duplicates == "refuse")
        beside = extras(columns, self.optional, told, self._values, at) if told else None
        object.__setattr__(self, "_extras", beside)
        if beside is not None:
            columns = {n: kind for n, kind in columns.items() if n not in beside.columns}

        def leaf(kind: pl.DataType, place: str) -> DataType:
            if place in times.kinds:
                return times.raw(place)
            if from_text(kind):
                return pl.String
            return next(to for of, to in _READ_AS.items() if of == kind)

        raw = {name: mapped(kind, name, leaf) for name, kind in columns.items()}
        object.__setattr__(self, "_times", times)
        object.__setattr__(self, "_raw", raw)
        texts = {n for n, kind in columns.items() if kind == pl.String or from_text(kind)}
        object.__setattr__(self, "_texts", texts)
        found = {at: leaf for name, kind in columns.items() for at, leaf in leaves(kind, name)}
        full = {at: declared.full(found[at]) for at in found}
        object.__setattr__(self, "_leaves", full)
        binary = frozenset(at for at, kind in full.items() if kind == pl.Binary)
        object.__setattr__(self, "_binary", binary)
        numbers = {at: kind for at, kind in full.items() if kind in _READ_AS}
        objects = Objects(raw, texts, times.units, self.value_bytes_max, numbers)
        object.__setattr__(self, "_objects", objects)

    def _values(self, kind: pl.DataType | None, maps: frozenset[str]) -> Json:
        """The format of a map's values."""
        columns = None if kind is None else {"value": kind}
        times, written = self.times, self.time_form
        if columns is not None:
            times = forms_for(columns, times)
            if written is not None and forms_for(columns, (written,)) is READ_FORMS:
                written = None
        return replace(
            self, columns=columns, optional=frozenset(columns or ()), millis=frozenset(), epoch={},
            times=times, time_form=written, durations={}, maps=maps, rest=None, missing={},
            duplicates="first",
        )  # fmt: skip

    def _forms(self) -> Sequence[str]:
        if self.time_form is None or isinstance(self.times, str):
            return self.times
        return (self.time_form, *self.times)

    def _written(self) -> str | None:
        if self.time_form is None and tuple(self.times) == READ_FORMS:
            return ISO
        return self.time_form

    def _epoch(self, at: Location) -> dict[str, Unit]:
        declared.check_names("Json", self.millis, self.columns or self.millis, at)
        declared.check_units("Json", self.epoch, at)
        epoch: dict[str, Unit] = {**dict.fromkeys(self.millis, "ms"), **self.epoch}
        for name in self.millis:
            if epoch[name] != "ms":
                raise TopologyError(
                    f"{at}: Json: {name!r} is told to be in {epoch[name]!r} and in milliseconds",
                    remedy="name it in epoch alone",
                )
        return epoch

    def decode(self, values: Values) -> Decoded:
        """Objects to columns: a row per value, in order; bad values are named, not raised."""
        bad: dict[int, str] = {}
        if self.nan == "null":
            values = without_nan(values, self.value_bytes_max)
        frame = self._objects.columns(values, bad)
        if self._texts:
            texts = {name: as_they_stand(frame[name], values, bad) for name in self._texts}
            frame = pl.DataFrame([texts.get(c.name, c) for c in frame.get_columns()])
        for name, kind in self._raw.items():
            if nested(kind):
                frame = frame.with_columns(as_it_stands(frame[name], kind, values, bad))
        if self._binary:
            for name in self._raw:
                only_texts(frame[name], self._raw[name], self._binary, values, bad)
        beside = {} if self._extras is None else self._extras.read(values, bad)
        return Decoded(self._finish(frame, beside, values, bad), bad)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to objects, members in the order of the columns.

        Raises `WriteError` for a cell that would be read back as another one.
        """
        if frame.is_empty():
            return []
        if self.columns:
            frame = in_order(frame, self.columns)
        return by_kind(frame, self._times.kinds_of_rows(frame), self._encode)

    def _encode(self, frame: pl.DataFrame) -> list[bytes]:
        if self._extras is not None:
            return self._extras.write(frame, self._lines)
        return self._lines(frame)

    def _lines(self, frame: pl.DataFrame) -> list[bytes]:
        frame = self._times.write(frame, leave=True)
        lines = join_rows(frame, self._times.written["moment"].text)
        if lines is None:
            if self.nan == "refuse" or (self.nan is None and self.columns):
                check_finite(frame)
            elif self.columns:
                # Inside of a column null may stand; in its place only where it is optional.
                flat = [c for c in frame.get_columns() if c.dtype.is_float()]
                check_finite(pl.DataFrame([c for c in flat if c.name not in self.optional]))
            # The writer escapes line breaks inside text, so every line is one row.
            lines = self._times.write(frame).write_ndjson().encode().split(b"\n")
            del lines[-1]
        return lines

    def describe(self) -> str:
        """``json(name type, …)``."""
        return f"json({describe_columns(self.columns or {})})"

    def _finish(
        self,
        frame: pl.DataFrame,
        beside: Mapping[str, pl.Series],
        values: Values,
        bad: dict[int, str],
    ) -> pl.DataFrame:
        """Raw columns to the wanted types; a required cell that is null makes its row bad."""
        columns = []
        for name, kind in (self.columns or {}).items():
            if name in beside:
                columns.append(beside[name].alias(name))
                continue
            raw = frame[name]
            column = self._nested(raw, bad) if nested(kind) else self._leaf(raw, name)
            columns.append(column.alias(name))
            if not column.null_count():
                continue
            null = column.is_null()
            wrong = null & raw.is_not_null() if name in self.optional else null
            for row in wrong.arg_true().to_list():
                if row not in bad:
                    cell = raw[row]
                    reason = _absent(values[row], name) if cell is None else self._why(cell, name)
                    bad[row] = f"column {name!r}: {reason}"
        return pl.DataFrame(columns)

    def _leaf(self, raw: pl.Series, place: str) -> pl.Series:
        """Cells as they were declared; null where one does not fit."""
        if place in self._times.kinds:
            return self._times.read(raw, place)
        kind = self._leaves[place]
        if raw.dtype == kind:
            return raw
        if from_text(kind):
            return of_text(raw, kind)
        column = raw.cast(kind, strict=False)
        return only_finite(column) if column.dtype.is_float() else column

    def _nested(self, raw: pl.Series, bad: dict[int, str]) -> pl.Series:
        wanted = mapped(raw.dtype, raw.name, lambda _, place: self._leaves[place])
        column, lost = changed(raw, raw.name, self._leaf, wanted)
        places: list[str] = []

        def fits(cell: Any, leaf: pl.DataType, place: str) -> bool:
            places.append(place)
            return not self._leaf(pl.Series([cell], dtype=leaf), place).null_count()

        for row in () if lost is None else lost.arg_true().to_list():
            found = misfit(raw.slice(row, 1).to_list()[0], raw.dtype, raw.name, fits)
            if found is not None:
                bad.setdefault(row, f"column {found[0]!r}: {self._why(found[1], places[-1])}")
        return column

    def _why(self, cell: object, place: str) -> str:
        if place in self._times.kinds:
            return self._times.why(cell, place)
        return f"{shown(cell)} is no {self._leaves[place]}"


def _absent(value: bytes, name: str) -> str:
    """Whether a member that has no value is there.

    >>> _absent(b'{"a":null}', "a"), _absent(b'{"a":null}', "b")
    ('null', 'missing')
    """
    if b"null" not in value:
        return "missing"
    try:
        return "null" if name in members(value.decode()) else "missing"
    except (ValueError, IndexError, RecursionError):
        return "missing"
