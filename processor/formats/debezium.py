"""Change events of databases, as Debezium writes them: an envelope around the row.

::

    {"before": {...}, "after": {...}, "source": {...}, "op": "u", "ts_ms": ...}        the envelope
    {"schema": {...}, "payload": {"before": ...}}                        with the schema beside it
    {"id": 7, ..., "__op": "u", "__source_ts_ms": ...}           flattened (ExtractNewRecordState)

The envelope is opened here; what is inside is read by `Json`, and `processor.formats.encoded` makes
of it what was declared. A record without a value is a tombstone, which follows a deletion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn, TypeAlias

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
    describe_columns,
    shown,
)
from processor.formats.encoded import UNITS, Encoding, Flag, Rows, TimeUnit, encodings, has_unit
from processor.formats.json import Json
from processor.formats.modelled import Columns, optional_of
from processor.formats.nested import leaves, named
from processor.model.location import Location

Tombstones: TypeAlias = Literal["pass", "row"]
Decimals: TypeAlias = Literal["base64", "text"]
Written: TypeAlias = Literal["numbers", "text"]

TOMBSTONE: Final = "tombstone"
_CHANGES: Final = {"c": "created", "r": "read", "u": "updated", "d": "deleted", "t": "truncated"}
_WITH_ROW: Final = "c", "r", "u"
_TIMES: Final[Mapping[str, DataType]] = {
    "ts_ms": pl.Datetime("ms"), "source_ts_ms": pl.Datetime("ms"),
}  # fmt: skip
_BLOCKS: Final = "source", "transaction"
_UNITS: Final[Mapping[str, TimeUnit]] = {"ms": "ms", "us": "us", "ns": "ns"}
_BEFORE: Final = "__"
_PAYLOAD: Final = "payload"


@dataclass(frozen=True)
class Debezium:
    """Change events of one table.

    Columns are ``op`` (``c`` created, ``r`` read by a snapshot, ``u`` updated, ``d`` deleted, ``t``
    truncated), the row ``before`` and ``after`` as objects, and those of ``added``. Flattened
    events have the row's columns instead. A record is bad when it is no such event, or what is in
    it is not as declared. It is read only: what is computed of it is written by another format.

    Args:
        row: name and Polars type of the table's columns: those of `Json`, and Binary.
        optional: columns of the row, and of ``added``, that may be null or missing; of others that
            is bad in an ``after``, and in a flattened row that was not deleted. In a ``before`` all
            may be null.
        unwrap: whether events are flattened.
        tombstones: what becomes of a record without a value: ``pass`` leaves it out, counted as
            filtered; ``row`` makes a row of it with the ``op`` ``tombstone``, null in the rest.
        added: further columns: ``ts_ms``, ``source_ts_ms``, ``source_table``, ``transaction_id``
            and the like, with their types; a Datetime whose name ends in ``_ms``, ``_us`` or
            ``_ns`` is a number since 1970. Flattened events have them with ``__`` before the name.
            Left out: ``ts_ms`` and ``source_ts_ms``, and none where events are flattened.
        decimals: ``base64`` (``decimal.handling.mode`` ``precise``) or ``text``, which takes
            numbers too (``string``, ``double``).
        times: ``numbers``, or ``text`` (``time.precision.mode`` ``isostring``). Datetimes with a
            zone are text in either case.
        units: columns of times whose numbers are not in the unit of the column: ``ms``, ``us`` or
            ``ns``. A Time is taken for microseconds. Other columns have no unit.
        schema: whether records have the schema beside the payload; left out, each tells.
        value_bytes_max: a longer value is bad without being looked at.

    Raises `TopologyError`, with the line that declares it, for what cannot be read.

    >>> form = Debezium({"id": pl.Int64, "price": pl.Decimal(6, 2)})
    >>> event = b'{"op":"c","ts_ms":1406851380000,"before":null,"after":{"id":7,"price":"AfQ="}}'
    >>> form.decode([event, None]).frame.select("op", "after").row(0)
    ('c', {'id': 7, 'price': Decimal('5.00')})
    >>> form.decode([event, None]).passed
    frozenset({1})
    """

    row: Columns = Columns()  # noqa: RUF009 - it holds nothing of a format
    optional: frozenset[str] = frozenset()
    unwrap: bool = False
    tombstones: Tombstones = "pass"
    added: Mapping[str, DataType] | None = None
    decimals: Decimals = "base64"
    times: Written = "numbers"
    units: Mapping[str, TimeUnit] = field(default_factory=dict)
    schema: bool | None = None
    value_bytes_max: int = VALUE_BYTES_MAX
    _needed: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _stamped: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _encodings: Mapping[str, Encoding] = field(init=False, repr=False, compare=False)
    _inner: Json = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = declared.told_at()
        check_options(self, at)
        declared.check_bytes("Debezium", self.value_bytes_max, at)
        added = dict({} if self.unwrap else _TIMES) if self.added is None else self.added
        self._check(added, at)
        object.__setattr__(self, "optional", frozenset(self.optional) | optional_of(self))
        row = {name: declared.full(kind) for name, kind in self.row.items()}
        object.__setattr__(self, "_needed", tuple(n for n in row if n not in self.optional))
        object.__setattr__(self, "_stamped", tuple(n for n in added if n not in self.optional))
        if self.tombstones == "row":
            object.__setattr__(self, "optional", frozenset({*self.optional, *added}))
        text, numbers = self.decimals == "text", self.times == "numbers"
        found = dict(encodings(row, decimals=not text, numbers=numbers, units=self.units))
        object.__setattr__(self, "_encodings", {
            **self._of_row(row, found),
            **{name: _of_added(name, declared.full(kind)) for name, kind in added.items()},
        })  # fmt: skip
        members = self._members(self._raw_row(found), added)
        wrapped: dict[str, DataType] = {_PAYLOAD: pl.Struct(members)}
        columns = {True: wrapped, False: members}.get(self.schema is True, {})
        if self.schema is None:
            columns = {**members, **wrapped}
        inner = Json(columns, optional=frozenset(columns), value_bytes_max=self.value_bytes_max)
        object.__setattr__(self, "_inner", inner)

    def _check(self, added: Mapping[str, DataType], at: Location) -> None:
        if isinstance(self.row, SchemaFormat):
            raise TopologyError(
                f"{at}: Debezium: {shown(self.row)}: change events in JSON are read here",
                remedy="read those in Avro as they are: Registered(Avro(...)) alone, with the "
                "connector's schema, has the columns op, before and after",
            )
        if not self.row:
            raise TopologyError(
                f"{at}: Debezium: no columns of the row",
                remedy='name them: Debezium({"id": pl.Int64})',
            )
        for columns in (self.row, added):
            declared.check_columns("Debezium", _readable(columns), at, deep=True)
            _check_times(columns, at)
        declared.check_names("Debezium", self.optional, [*self.row, *added], at)
        words = {"tombstones": ("pass", "row"), "decimals": ("base64", "text"),
                 "times": ("numbers", "text")}  # fmt: skip
        for name, allowed in words.items():
            if getattr(self, name) not in allowed:
                raise TopologyError(
                    f"{at}: Debezium: {name}={getattr(self, name)!r}",
                    remedy=f"say {allowed[0]!r} or {allowed[1]!r}",
                )
        declared.check_units("Debezium", self.units, at, "units")
        declared.check_names("Debezium", self.units, self.row, at)
        unit = next((unit for unit in self.units.values() if unit not in UNITS), None)
        if unit is not None:
            raise TopologyError(
                f"{at}: Debezium: {unit!r} is no unit", remedy="say 'ms', 'us' or 'ns'"
            )
        self._check_timed(at)
        own = {"op", "before", "after"} if not self.unwrap else set(self.row)
        twice = next((name for name in added if name in own), None)
        if twice is not None:
            raise TopologyError(
                f"{at}: Debezium: {twice!r} stands for two columns", remedy="leave one of them out"
            )
        if self.schema is None and self.unwrap and not {"schema", _PAYLOAD}.isdisjoint(self.row):
            raise TopologyError(
                f"{at}: Debezium: a row with a column called 'schema' or 'payload' looks like one "
                "that has its schema beside it",
                remedy="say schema=True or schema=False",
            )

    def _check_timed(self, at: Location) -> None:
        """A unit that no time has would be passed over."""
        for name in self.units:
            inside = [kind for _, kind in leaves(self.row[name], name)]
            if self.times == "text" or not any(has_unit(declared.full(kind)) for kind in inside):
                what = "text, by times" if self.times == "text" else str(self.row[name])
                raise TopologyError(
                    f"{at}: Debezium: units={shown(dict(self.units))}: {name!r} is {what}, and a "
                    "unit is for a Datetime without a zone or a Time that is a number",
                    remedy=f'say pl.Datetime("ms") or pl.Time for {name!r}, or leave its unit out',
                )

    @property
    def columns(self) -> Mapping[str, DataType]:
        """The columns of an event: ``op``, ``before``, ``after``; or those of the flattened row."""
        return {name: encoding.kind for name, encoding in self._encodings.items()}

    def decode(self, values: Values) -> Decoded:
        """Events to columns: a row per value, in order; bad values are named, not raised."""
        gone = pl.Series(values, dtype=pl.Binary).is_null()
        if gone.any():
            values = [b"{}" if value is None else value for value in values]
        read = self._inner.decode(values)
        bad = dict(read.bad)
        members = self._opened(read.frame)
        frame = pl.DataFrame(
            [
                self._encodings[name].read(raw.rename(name), bad)
                for name, raw in zip(self._encodings, members, strict=True)
            ]
        )
        self._check_rows(frame, gone, bad)
        _check_nulls(frame, self._stamped, ~gone, "", bad)
        if self.tombstones == "row":
            return Decoded(self._marked(frame, gone), bad)
        return Decoded(frame, bad, frozenset(gone.arg_true().to_list()))

    def encode(self, frame: pl.DataFrame) -> NoReturn:
        """There is none: raises `TopologyError`."""
        raise TopologyError(
            f"change events are read only, and {', '.join(frame.columns)} are to be written",
            remedy="write them in another format: format=Json()",
        )

    def describe(self) -> str:
        """``debezium(name type, …)``, with what makes its columns others."""
        told = [describe_columns(self.row), *(["unwrap"] * self.unwrap), self.tombstones]
        told += [] if self.added is None else [f"added {describe_columns(self.added)}"]
        told += [f"decimals {self.decimals}", f"times {self.times}"]
        told += [f"units {dict(self.units)}"] * bool(self.units)
        return f"debezium({', '.join(told)})"

    def _of_row(
        self, row: Mapping[str, pl.DataType], found: Mapping[str, Encoding]
    ) -> dict[str, Encoding]:
        if self.unwrap:
            return dict(found)
        whole = Rows(pl.Struct(row), columns=found)
        return {"op": Encoding(pl.String()), "before": whole, "after": whole}

    def _raw_row(self, found: Mapping[str, Encoding]) -> dict[str, DataType]:
        raw: dict[str, DataType] = {name: one.raw for name, one in found.items()}
        if self.unwrap:
            return raw
        return {"op": pl.String, "before": pl.Struct(raw), "after": pl.Struct(raw)}

    def _members(
        self, members: dict[str, DataType], added: Mapping[str, DataType]
    ) -> dict[str, DataType]:
        """What is asked of the inner format, by the names that members have there."""
        blocks: dict[str, dict[str, DataType]] = {}
        for name in added:
            raw = self._encodings[name].raw
            block, inner = _place(name)
            if self.unwrap:
                members[_BEFORE + name] = raw
            elif block:
                blocks.setdefault(block, {})[inner] = raw
            else:
                members[name] = raw
        return members | {name: pl.Struct(inner) for name, inner in blocks.items()}

    def _opened(self, frame: pl.DataFrame) -> Iterator[pl.Series]:
        """The raw columns, in the order of the event's, whether there is a schema beside them."""
        if self.schema is not False:
            payload = frame[_PAYLOAD]
            if self.schema is True or not payload.null_count():
                frame = payload.struct.unnest()
            elif payload.null_count() < len(payload):
                there, inner = pl.col(_PAYLOAD).is_not_null(), pl.col(_PAYLOAD).struct
                names = [part.name for part in payload.dtype.fields]  # type: ignore[attr-defined]
                frame = frame.select(
                    pl.when(there).then(inner.field(name)).otherwise(pl.col(name)).alias(name)
                    for name in names
                )
        for name in self._encodings:
            block, inner_name = _place(name)
            if name in frame.columns:
                yield frame[name]
            elif self.unwrap:
                yield frame[_BEFORE + name]
            else:
                yield frame[block].struct.field(inner_name)

    def _check_rows(self, frame: pl.DataFrame, gone: pl.Series, bad: dict[int, str]) -> None:
        """What an event has to have: an operation, and the row behind it."""
        if self.unwrap:
            needed = ~gone
            if frame.schema.get("deleted") == pl.Boolean and "deleted" not in self.row:
                needed &= ~frame["deleted"].fill_null(value=False)
            _check_nulls(frame, self._needed, needed, "", bad)
            return
        op = frame["op"]
        for row in (~op.is_in(list(_CHANGES)).fill_null(value=False) & ~gone).arg_true():
            said = "missing: this is no change event" if op[row] is None else (
                f"{shown(op[row])} is none of {', '.join(_CHANGES)}"
            )  # fmt: skip
            bad.setdefault(row, f"column 'op': {said}")
        after = frame["after"]
        needed = op.is_in(_WITH_ROW).fill_null(value=False)
        for row in (needed & after.is_null()).arg_true():
            bad.setdefault(row, f"column 'after': missing, and the row was {_CHANGES[op[row]]}")
        _check_nulls(after.struct.unnest(), self._needed, needed, "after.", bad)

    def _marked(self, frame: pl.DataFrame, gone: pl.Series) -> pl.DataFrame:
        """The frame with the operation of tombstones, where events have one."""
        if self.unwrap or not gone.any():
            return frame
        op = pl.select(pl.when(gone).then(pl.lit(TOMBSTONE)).otherwise(frame["op"])).to_series()
        return frame.with_columns(op.alias("op"))


def _check_nulls(
    row: pl.DataFrame, names: Iterable[str], needed: pl.Series, where: str, bad: dict[int, str]
) -> None:
    for name in names:
        if row[name].null_count():
            for number in (needed & row[name].is_null()).arg_true():
                bad.setdefault(number, f"column {where + name!r}: null or missing")


def _place(name: str) -> tuple[str, str]:
    """The block of an envelope that a column is in, and what it is called there.

    >>> _place("source_ts_ms"), _place("ts_ms")
    (('source', 'ts_ms'), ('', 'ts_ms'))
    """
    block, _, inner = name.partition("_")
    return (block, inner) if block in _BLOCKS and inner else ("", name)


def _of_added(name: str, kind: pl.DataType) -> Encoding:
    unit = _UNITS.get(name.rpartition("_")[2])
    if isinstance(kind, pl.Datetime) and kind.time_zone is None and unit is not None:
        return Encoding(kind, unit=unit)
    return Flag(kind) if name == "deleted" and kind == pl.Boolean else Encoding(kind, numbers=False)


def _check_times(columns: Mapping[str, DataType], at: Location) -> None:
    for name, column in columns.items():
        for place, kind in leaves(column, name):
            if kind == pl.Duration:
                raise TopologyError(
                    f"{at}: Debezium: column {named(place)!r} cannot be read as Duration",
                    remedy="read it as pl.Int64, which has its microseconds",
                )
            if isinstance(kind, pl.Datetime) and kind.time_unit == "ns":
                raise TopologyError(
                    f"{at}: Debezium: column {named(place)!r}: times have microseconds at most",
                    remedy='declare pl.Datetime("us"), with units={...: "ns"} for numbers of those',
                )


def _readable(columns: object) -> object:
    """The columns as a format is asked whether it can read them: here bytes are text."""
    if not isinstance(columns, Mapping):
        return columns
    return {n: pl.String if kind == pl.Binary else kind for n, kind in columns.items()}
