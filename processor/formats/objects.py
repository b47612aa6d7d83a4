"""JSON records to raw columns: all of a batch in one call, and each alone where that is refused.

The parser works line by line and refuses a line that is not one document, so where every value is
one line that begins an object, a value cannot take a neighbour's row. Otherwise, and when the call
refuses something, each value is looked at alone: what cannot be read is blanked, and the rest goes
through the call again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import polars as pl

from processor.formats.base import DataType, Values, shown, size_errors
from processor.formats.epoch import WORDS
from processor.formats.members import as_text, first_of, members
from processor.formats.nested import is_raw, misfit, nested, word

_LARGE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*', re.DOTALL)
"""Texts, and the numbers between them."""
_NOT_FINITE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?Infinity|NaN', re.DOTALL)
_NO_COLUMN: Final = {"\0": pl.String}


@dataclass(frozen=True, slots=True)
class Objects:
    """Reads records that are JSON objects.

    Args:
        raw: the members to read, with the types that the parser is asked for.
        texts: those of them that are texts, whatever they are in the record.
        units: the units of those that are numbers in a unit, for what is told.
        value_bytes_max: a longer value is bad.
        told: the types that are declared, by their places, where they have other names.

    >>> objects = Objects({"n": pl.Int64}, (), {}, 100)
    >>> bad = {}
    >>> objects.columns([b'{"n":1}', b'{"n":"x"}'], bad)["n"].to_list(), bad
    ([1, None], {1: "column 'n': 'x' is no Int64"})
    """

    raw: Mapping[str, DataType]
    texts: Collection[str]
    units: Mapping[str, str]
    value_bytes_max: int
    told: Mapping[str, pl.DataType] = field(default_factory=dict)

    def columns(self, values: Values, bad: dict[int, str]) -> pl.DataFrame:
        """A row for each value, in order; bad ones are named, and their cells of no meaning."""
        frame = self._fast(values)
        return self._slow(values, bad) if frame is None else frame

    @property
    def _schema(self) -> dict[str, DataType]:
        # Without a column there would be no rows.
        return dict(self.raw or _NO_COLUMN)

    def _fast(self, values: Values) -> pl.DataFrame | None:
        """The columns as they stand in the text, or ``None`` when any row needs a closer look."""
        if not values:
            return pl.DataFrame(schema=self._schema)
        column = pl.Series(values, dtype=pl.Binary)
        if column.null_count() or int(column.bin.size().max() or 0) > self.value_bytes_max:  # type: ignore[arg-type]
            return None
        joined = b"\n".join(values)  # type: ignore[arg-type]
        if joined.count(b"\n") != len(values) - 1 or not column.bin.starts_with(b"{").all():
            lines = [value.strip() for value in values if value is not None]
            joined = b"\n".join(lines)
            begun = pl.Series(lines, dtype=pl.Binary).bin.starts_with(b"{")
            if joined.count(b"\n") != len(values) - 1 or not begun.all():
                return None
        return self._parse(joined, len(values))

    def _parse(self, joined: bytes, count: int) -> pl.DataFrame | None:
        # The parser turns half of a surrogate pair into NUL; the closer look refuses it.
        # A single byte is found ten times as fast, and most batches have no escape at all.
        if b"\\" in joined and (b"\\ud" in joined or b"\\uD" in joined):
            return None
        return self._parse_lines(joined, count)

    def _parse_lines(self, joined: bytes, count: int) -> pl.DataFrame | None:
        try:
            frame = pl.read_ndjson(joined, schema=self._schema)
        except (pl.exceptions.PolarsError, UnicodeDecodeError):
            return None
        return frame if frame.height == count else None

    def _slow(self, values: Values, bad: dict[int, str]) -> pl.DataFrame:
        bad.update(size_errors(values, self.value_bytes_max))
        lines: list[bytes] = []
        for row, value in enumerate(values):
            line = b"{}"
            if value is not None and row not in bad:
                try:
                    line = self._line(value)
                except (ValueError, RecursionError) as error:
                    bad[row] = str(error)
            lines.append(line)
        parts: list[pl.DataFrame] = []
        self._halve(lines, 0, bad, parts)
        return pl.concat(parts)

    def _halve(
        self, lines: list[bytes], start: int, bad: dict[int, str], parts: list[pl.DataFrame]
    ) -> None:
        """Parse ``lines``, which begin at row ``start``, cutting out those that cannot be.

        Only what the closer look let pass and the parser refuses is cut out here: next to nothing.
        """
        frame = self._parse_lines(b"\n".join(lines), len(lines))
        if frame is None and len(lines) == 1:
            # A member that is no column may be what the parser does not take.
            frame = self._parse_lines(self._columns_alone(_text(lines[0])), 1)
        if frame is not None:
            parts.append(frame)
        elif len(lines) == 1:
            bad[start] = self._refused(lines[0])
            parts.append(pl.DataFrame({name: [None] for name in self._schema}, schema=self._schema))
        else:
            middle = len(lines) // 2
            self._halve(lines[:middle], start, bad, parts)
            self._halve(lines[middle:], start + middle, bad, parts)

    def _refused(self, line: bytes) -> str:
        """Why the parser does not take what the closer look has let pass."""
        # That one looked at the last of members with one name.
        parsed = json.loads(line, object_pairs_hook=first_of)
        if misfit := self._misfit(parsed):
            return misfit
        found = members(_text(line))
        for name in (name for name in self.raw if name in found):
            alone = f"{{{json.dumps(name)}:{found[name]}}}".encode()
            if name not in self.texts and self._parse_lines(alone, 1) is None:
                return f"column {name!r}: {shown(parsed[name])} cannot be read"
        return "no JSON object with these columns"

    def _line(self, value: bytes) -> bytes:
        """A record as the parser takes it, in one line; raises `ValueError` with what is wrong."""
        try:
            parsed = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            if "infinity" not in str(error):
                raise ValueError(f"no JSON: {error}") from error
            parsed = json.loads(value)
            # The standard library is more lenient: all but the numbers has to pass the other one.
            _checked(_LARGE.sub(_small, value))
        if not isinstance(parsed, dict):
            raise ValueError("no JSON object")  # noqa: TRY004 - of the record, not of a call
        if self._misfit(parsed) is not None:
            # Of members with one name the fast parser takes the first, orjson the last.
            parsed = json.loads(value, object_pairs_hook=first_of)
            misfit = self._misfit(parsed)
            if misfit is not None:
                raise ValueError(misfit)
        # JSON has line breaks between its tokens only.
        return value.strip().replace(b"\n", b" ")

    def _columns_alone(self, text: str) -> bytes:
        """A record's members that are columns, those of text columns as text."""
        found = members(text)
        cells = {name: found[name] for name in self.raw if name in found}
        for name in self.texts & cells.keys():
            cells[name] = json.dumps(as_text(cells[name]))
        return f"{{{','.join(f'{json.dumps(n)}:{cell}' for n, cell in cells.items())}}}".encode()

    def _misfit(self, parsed: Mapping[str, Any]) -> str | None:
        places: list[str] = []

        def fits(cell: object, kind: DataType, place: str) -> bool:
            places.append(place)
            return is_raw(cell, kind)

        for name, kind in self.raw.items():
            found = misfit(parsed.get(name), kind, name, fits)
            if found is not None:
                where, cell, due = found
                unit = self.units.get(name)
                said = due if nested(due) else self.told.get(places[-1], due)
                told = WORDS[unit] if unit else word(said)
                return f"column {where!r}: {shown(cell)} is no {told}"
        return None


def without_nan(values: Values, value_bytes_max: int) -> Values:
    """Records with null where they have a number that is not finite, which JSON has no word for.

    >>> without_nan([b'{"x": NaN, "s": "NaN"}', None], 100)
    [b'{"x": null, "s": "NaN"}', None]
    """
    column = pl.Series(values, dtype=pl.Binary)
    named = column.bin.contains(b"NaN") | column.bin.contains(b"Infinity")
    rows = named.arg_true()
    if rows.is_empty():
        return values
    kept = list(values)
    for row in rows:
        value = kept[row] or b""
        if len(value) <= value_bytes_max:
            kept[row] = _NOT_FINITE.sub(_null, value)
    return kept


def _null(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else b"null"


def _checked(value: bytes) -> None:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error}") from error


def _small(found: re.Match[bytes]) -> bytes:
    """A text as it stands, or a number that is not too large."""
    return found[0] if found[0].startswith(b'"') else b"0"


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
