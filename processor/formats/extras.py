"""Columns of JSON that are no members as the parser has them: maps, the rest, what is missing.

::

    {"id": 7, "tags": {"a": 1}, "x": null}

    maps={"tags"}               tags       List(Struct({key: String, value: Int64}))   [("a", 1)]
    rest="other"                other      String                                   {"x":null}
    missing={"x": "no_x"}       no_x       Boolean                                  false

They are made of the members as they stand (`processor.formats.pieces`), and written beside what the
writer makes of the other columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from processor.formats.base import DataType, Format, Values, WriteError, shown
from processor.formats.inner_maps import Inner
from processor.formats.objects import Objects
from processor.formats.pieces import first, pieces, twice, twice_inside

_EMPTY: Final = "{}"
_ANY: Final = Objects({}, (), {}, 2**63)
"""Reads any object."""


MAP: Final = 'pl.List(pl.Struct({"key": pl.String, "value": pl.Int64})), with any type of values'


@dataclass(frozen=True, slots=True)
class Extras:
    """What a format was told of them.

    Args:
        members: the names of members that have a column; of the others the rest is made.
        maps: the columns of maps, each with its type, and the format of its values (``value``).
        rest: the column of all other members; ``None``: they are left out.
        missing: by the member's column, the one that says whether it is missing.
        optional: the columns that may be null.
        once: whether two members of one name make a record bad.
        inner: the columns with maps inside of them.
    """

    members: Collection[str] = ()
    maps: Mapping[str, tuple[pl.DataType, Format]] = field(default_factory=dict)
    rest: str | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    optional: Collection[str] = ()
    once: bool = False
    inner: Mapping[str, Inner] = field(default_factory=dict)

    @property
    def columns(self) -> set[str]:
        """The columns that are made here."""
        rest = set() if self.rest is None else {self.rest}
        return {*self.maps, *self.inner, *self.missing.values()} | rest

    def read(self, values: Values, bad: dict[int, str]) -> dict[str, pl.Series]:
        """The columns by name; rows that turn out to be bad are added to ``bad``."""
        good = [None if row in bad else value for row, value in enumerate(values)]
        records = pl.Series("record", good, dtype=pl.Binary).cast(pl.String)
        table, odd = pieces(records)
        for row, reason in odd.items():
            bad.setdefault(row, reason)
        if self.once:
            for found in (twice(table), twice_inside(table)):
                for row, name in found.items():
                    bad.setdefault(row, f"two members are called {name!r}")
        made: dict[str, pl.Series] = {}
        for name, (kind, form) in self.maps.items():
            cells = self._cells(name, table, len(values), bad)
            entries = self._entries(name, form, cells, bad)
            made[name] = _lists(kind, cells, entries, len(values))
        for name, inside in self.inner.items():
            member = first(table, name).select("row", "text")
            self._absent(name, member, member.filter(pl.col("text") != "null"), len(values), bad)
            made[name] = inside.read(name, member, len(values), bad)
        for name, flag in self.missing.items():
            there = first(table, name)["row"]
            made[flag] = ~_rows(len(values)).is_in(there.implode())
        if self.rest is not None:
            made[self.rest] = self._others(table, len(values))
        return made

    def _others(self, table: pl.DataFrame, height: int) -> pl.Series:
        others = table.filter(~pl.col("name").is_in(list(self.members)))
        joined = others.group_by("row", maintain_order=True).agg(
            pl.concat_str("raw", "text", separator=":").str.join(",")
        )
        bodies = joined.select("row", pl.format("{{{}}}", "raw").alias("cell"))
        return _placed(bodies, "cell", height).fill_null(_EMPTY)

    def _cells(
        self, name: str, table: pl.DataFrame, height: int, bad: dict[int, str]
    ) -> pl.DataFrame:
        """The objects of a column of maps, with their rows; what is none makes its row bad."""
        member = first(table, name).select("row", "text")
        objects = member.filter(pl.col("text").str.starts_with("{"))
        others = member.filter(~pl.col("text").str.starts_with("{"))
        for row, text in others.filter(pl.col("text") != "null").iter_rows():
            bad.setdefault(row, f"column {name!r}: {shown(text)} is no object")
        self._absent(name, member, objects, height, bad)
        return objects

    def _absent(
        self,
        name: str,
        members: pl.DataFrame,
        there: pl.DataFrame,
        height: int,
        bad: dict[int, str],
    ) -> None:
        """Make rows without a value bad, if the column is not optional."""
        if name not in self.optional:
            null = set(members["row"].to_list())
            for row in sorted(set(range(height)) - set(there["row"].to_list())):
                bad.setdefault(row, f"column {name!r}: {'null' if row in null else 'missing'}")

    @staticmethod
    def _entries(
        name: str, form: Format, objects: pl.DataFrame, bad: dict[int, str]
    ) -> pl.DataFrame:
        """What is in the objects: row, key and value."""
        entries, odd = pieces(objects["text"])
        rows = objects["row"]
        for at, reason in odd.items():
            bad.setdefault(rows[at], f"column {name!r}: {reason}")
        for at, key in twice(entries).items():
            bad.setdefault(rows[at], f"column {name!r}: {key!r} stands in it twice")
        lines = entries.select(pl.format('{{"value":{}}}', "text").cast(pl.Binary)).to_series()
        decoded = form.decode(lines.to_list())
        for entry, reason in decoded.bad.items():
            row, key = rows[entries["row"][entry]], entries["name"][entry]
            bad.setdefault(row, reason.replace("column 'value", f"column '{name}.{key}", 1))
        return pl.DataFrame({
            "row": rows.gather(entries["row"]), "key": entries["name"],
            "value": decoded.frame["value"],
        })  # fmt: skip

    def write(
        self, frame: pl.DataFrame, lines: Callable[[pl.DataFrame], list[bytes]]
    ) -> list[bytes]:
        """Rows to objects; ``lines`` writes those of other columns.

        Raises `WriteError` for a cell that would be read back as another, `ValueError` for columns
        that are not there or are no maps.
        """
        for name in sorted(self.columns - set(frame.columns)):
            raise ValueError(f"there is no column {name!r}")
        flags = set(self.missing.values())
        members = set(frame.columns) - flags - {self.rest}
        bodies: list[pl.Series] = []
        plain: list[str] = []

        def flush() -> None:
            if plain:
                bodies.append(_bodies(lines(frame.select(plain))))
                plain.clear()

        for name in frame.columns:
            if name in flags:
                continue
            if name not in self.columns and name not in self.missing:
                plain.append(name)
                continue
            flush()
            body = self._body(name, frame, members)
            if body is None:
                body = _bodies(lines(frame.select(name)))
            bodies.append(self._left_out(body, name, frame))
        flush()
        if not bodies:
            return [_EMPTY.encode()] * frame.height
        joined = pl.concat_str([pl.lit(b) for b in bodies], separator=",", ignore_nulls=True)
        rows = pl.format("{{{}}}", joined).cast(pl.Binary)
        return pl.select(rows).to_series().to_list()

    def _body(self, name: str, frame: pl.DataFrame, members: set[str]) -> pl.Series | None:
        """What is written of a column that is made here; ``None`` for one that is as others are."""
        if name == self.rest:
            return self._written_rest(frame[name], members)
        if name in self.maps:
            return self._written_map(frame[name])
        if name in self.inner:
            return json.dumps(name, ensure_ascii=False) + ":" + self.inner[name].write(frame[name])
        return None

    def _left_out(self, body: pl.Series, name: str, frame: pl.DataFrame) -> pl.Series:
        """A member as text, null where it is to be missing."""
        if name not in self.missing:
            return body
        cells, flags = frame[name], frame[self.missing[name]]
        if flags.null_count():
            raise WriteError(f"column {flags.name!r} is null, and tells whether one is missing")
        if (flags & cells.is_not_null()).any():
            raise WriteError(f"column {flags.name!r} is true, and {cells.name!r} has a value")
        return pl.select(pl.when(~flags).then(body)).to_series()

    def _written_rest(self, cells: pl.Series, members: set[str]) -> pl.Series:
        """The members in each cell, without its brackets."""
        wrong = f"column {cells.name!r}"
        if cells.null_count():
            raise WriteError(f"{wrong} is null: an object without members is '{{}}'")
        bad: dict[int, str] = {}
        _ANY.columns(cells.cast(pl.Binary).to_list(), bad)
        table, odd = (pl.DataFrame(), {}) if bad else pieces(cells)
        for row, reason in (bad | odd).items():
            raise WriteError(f"{wrong}: {shown(cells[row])}: {reason}")
        again = twice(table) | twice_inside(table) if self.once else {}
        for name in again.values():
            raise WriteError(f"{wrong} has two members {name!r}")
        known = table.filter(pl.col("name").is_in(list(members)))
        if not known.is_empty():
            raise WriteError(f"{wrong} has a member {known['name'][0]!r}, which is a column")
        bodies = self._others(table, len(cells)).str.slice(1).str.head(-1)
        return pl.select(pl.when(bodies != "").then(bodies)).to_series()

    def _written_map(self, cells: pl.Series) -> pl.Series:
        """Each map as a member, in the order of its entries."""
        _, form = self.maps[cells.name]
        if map_of(cells.dtype) is None:
            raise ValueError(f"column {cells.name!r} is {cells.dtype}, no map: {MAP}")
        lengths = cells.list.len()
        rows = _rows(len(cells)).filter(cells.is_not_null())
        counts = lengths.drop_nulls()
        of = rows.to_frame("row").select(pl.col("row").repeat_by(counts).explode().drop_nulls())
        entries = cells.filter(lengths > 0).explode()
        self._check_keys(cells.name, of.to_series(), entries)
        fields = entries.struct.unnest() if len(entries) else pl.DataFrame()
        bodies = pl.DataFrame(schema={"row": pl.UInt32, "cell": pl.String})
        if len(entries):
            keys = _bodies_of("key", fields["key"])
            values = self._values(cells.name, form, fields.select("value"))
            made = of.with_columns(pl.Series("cell", keys + ":" + values))
            bodies = made.group_by("row", maintain_order=True).agg(pl.col("cell").str.join(","))
        inside = _placed(bodies, "cell", len(cells)).fill_null("")
        text = pl.when(pl.lit(cells.is_not_null())).then(pl.format("{{{}}}", pl.lit(inside)))
        name = json.dumps(cells.name, ensure_ascii=False)
        return pl.select(pl.lit(f"{name}:") + text.otherwise(pl.lit("null"))).to_series()

    @staticmethod
    def _values(name: str, form: Format, cells: pl.DataFrame) -> pl.Series:
        try:
            lines = form.encode(cells)
        except WriteError as error:
            told = str(error).replace("column 'value'", f"column {name!r}", 1)
            raise WriteError(told) from error
        return _bodies(lines).str.slice(len('"value":'))

    @staticmethod
    def _check_keys(name: str, rows: pl.Series, entries: pl.Series) -> None:
        if entries.is_empty():
            return
        keys = entries.struct.field("key")
        if keys.null_count():
            raise WriteError(f"column {name!r}: an entry of the map has no key")
        again = pl.select(pl.struct(pl.lit(rows), pl.lit(keys).alias("key")).is_duplicated())
        twice_there = keys.filter(again.to_series())
        if not twice_there.is_empty():
            raise WriteError(f"column {name!r}: {twice_there[0]!r} stands in the map twice")


def map_of(kind: DataType) -> pl.DataType | None:
    """The type of a map's values; ``None`` where a type is none of a map.

    >>> map_of(pl.List(pl.Struct({"key": pl.String, "value": pl.Int64})))
    Int64
    """
    if not isinstance(kind, pl.List) or not isinstance(kind.inner, pl.Struct):
        return None
    fields = {of.name: of.dtype for of in kind.inner.fields}
    if list(fields) != ["key", "value"] or fields["key"] != pl.String:
        return None
    value = fields["value"]
    return value() if isinstance(value, type) else value


def _lists(
    kind: pl.DataType, objects: pl.DataFrame, entries: pl.DataFrame, height: int
) -> pl.Series:
    """Entries as lists in their rows: empty for an object without any, null for no object."""
    entry = pl.struct("key", "value").alias("cell")
    lists = entries.group_by("row", maintain_order=True).agg(entry)
    cells = _placed(lists.with_columns(pl.col("cell").cast(kind)), "cell", height)
    empty = pl.Series([[]], dtype=kind)
    there = _rows(height).is_in(objects["row"].implode())
    return pl.select(pl.when(there).then(pl.coalesce(cells, pl.lit(empty)))).to_series()


def _rows(height: int) -> pl.Series:
    return pl.int_range(height, dtype=pl.UInt32, eager=True)


def _placed(found: pl.DataFrame, column: str, height: int) -> pl.Series:
    """Cells in the rows where they belong; null in the others."""
    every = _rows(height).alias("row").to_frame()
    return every.join(found, on="row", how="left", maintain_order="left")[column]


def _bodies(lines: Sequence[bytes | None]) -> pl.Series:
    """What objects have between their brackets."""
    return pl.Series(lines, dtype=pl.Binary).cast(pl.String).str.slice(1).str.head(-1)


def _bodies_of(name: str, texts: pl.Series) -> pl.Series:
    """Texts as JSON has them."""
    lines = texts.alias(name).to_frame().write_ndjson().encode().split(b"\n")[:-1]
    return _bodies(lines).str.slice(len(name) + 3)
