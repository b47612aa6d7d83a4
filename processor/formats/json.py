"""JSON: one object per record.

Reading goes through one call for the batch. Its parser works line by line and a value may hold line
breaks between its tokens, so the fast path is taken only where every value is one line that begins
an object; then a value cannot take a neighbour's row. Otherwise, and when the fast call refuses
something, the bad rows are found by halving.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
import polars as pl

from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    Values,
    describe_columns,
    size_errors,
)
from processor.formats.times import ISO, READ_FORMS, format_times, parse_times


@dataclass(frozen=True)
class Json:
    """Objects whose members are the columns; members that are no column are ignored.

    A record is bad when it is no JSON object, when a column's member is missing, null or of another
    type (a number as text is not a number), or when it is not UTF-8. Columns named in ``optional``
    may be missing or null.

    Args:
        columns: name and Polars type of each member to read; may be left out for writing only. A
            Datetime is read from text in one of the forms of ``times``, or from whole milliseconds
            since 1970 when its name stands in ``millis``.
        time_form: how a Datetime is written.

    >>> Json({"cluster": pl.Int64}).decode([b'{"cluster":6}', b'{"cluster":"six"}']).bad
    {1: "column 'cluster': not Int64"}
    """

    columns: Mapping[str, DataType] | None = None
    optional: frozenset[str] = frozenset()
    millis: frozenset[str] = frozenset()
    time_form: str = ISO
    times: tuple[str, ...] = READ_FORMS
    value_bytes_max: int = VALUE_BYTES_MAX
    _raw: Mapping[str, DataType] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        raw: dict[str, DataType] = {}
        for name, kind in (self.columns or {}).items():
            text = kind == pl.Datetime and name not in self.millis
            raw[name] = pl.String if text else pl.Int64 if kind == pl.Datetime else kind
        object.__setattr__(self, "_raw", raw)

    def decode(self, values: Values) -> Decoded:
        """Objects to columns."""
        bad: dict[int, str] = {}
        frame = self._fast(values)
        if frame is None:
            frame = self._slow(values, bad)
        return Decoded(self._finish(frame, bad), bad)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to objects, members in the order of the columns."""
        if frame.is_empty():
            return []
        # The writer escapes line breaks inside text, so every line is one row.
        lines = format_times(frame, self.time_form).write_ndjson().encode().split(b"\n")
        del lines[-1]
        return lines

    def describe(self) -> str:
        """``json(name type, …)``."""
        return f"json({describe_columns(self.columns or {})})"

    def _fast(self, values: Values) -> pl.DataFrame | None:
        """The columns as they stand in the text, or ``None`` when any row needs a closer look."""
        if not values:
            return pl.DataFrame(schema=dict(self._raw))
        column = pl.Series(values, dtype=pl.Binary)
        if column.null_count() or not column.bin.starts_with(b"{").all():
            return None
        if int(column.bin.size().max() or 0) > self.value_bytes_max:  # type: ignore[arg-type]
            return None
        joined = b"\n".join(values)  # type: ignore[arg-type]
        if joined.count(b"\n") != len(values) - 1:
            return None
        return self._parse(joined, len(values))

    def _parse(self, joined: bytes, count: int) -> pl.DataFrame | None:
        try:
            frame = pl.read_ndjson(joined, schema=dict(self._raw))
        except (pl.exceptions.PolarsError, UnicodeDecodeError):
            return None
        return frame if frame.height == count else None

    def _slow(self, values: Values, bad: dict[int, str]) -> pl.DataFrame:
        bad.update(size_errors(values, self.value_bytes_max))
        lines: list[bytes] = []
        for row, value in enumerate(values):
            line = b"{}"
            if row not in bad and value is not None:
                line = value.strip()
                if b"\n" in line or not line.startswith(b"{"):
                    line = _one_line(row, line, bad)
            lines.append(line)
        _drop_unparsable(lines, bad)
        parts: list[pl.DataFrame] = []
        self._halve(lines, 0, bad, parts)
        return pl.concat(parts)

    def _halve(
        self, lines: list[bytes], start: int, bad: dict[int, str], parts: list[pl.DataFrame]
    ) -> None:
        """Parse ``lines``, which begin at row ``start``, cutting out those that cannot be."""
        frame = self._parse(b"\n".join(lines), len(lines))
        if frame is not None:
            parts.append(frame)
        elif len(lines) == 1:
            bad[start] = self._reason(lines[0])
            parts.append(pl.DataFrame({name: [None] for name in self._raw}, schema=dict(self._raw)))
        else:
            middle = len(lines) // 2
            self._halve(lines[:middle], start, bad, parts)
            self._halve(lines[middle:], start + middle, bad, parts)

    def _reason(self, line: bytes) -> str:
        """Why a line that is a JSON object does not fit the columns."""
        for name, kind in self._raw.items():
            try:
                pl.read_ndjson(line, schema={name: kind})
            except (pl.exceptions.PolarsError, UnicodeDecodeError):
                return f"column {name!r}: not {kind}"
        return "no JSON object"

    def _finish(self, frame: pl.DataFrame, bad: dict[int, str]) -> pl.DataFrame:
        """Text to times; and every required cell that is null makes its row bad."""
        columns = []
        for name, kind in (self.columns or {}).items():
            raw = frame[name]
            column = raw
            if kind == pl.Datetime:
                if name in self.millis:
                    column = (raw * 1000).cast(pl.Datetime("us"))
                else:
                    column = parse_times(raw, self.times)
            columns.append(column.alias(name))
            if not column.null_count():
                continue
            wrong = raw.is_not_null() if name in self.optional else pl.repeat(True, len(raw), eager=True)
            for row in (column.is_null() & wrong).arg_true().to_list():
                cell = raw[row]
                reason = "missing" if cell is None else f"{cell!r} is no time"
                bad.setdefault(row, f"column {name!r}: {reason}")
        return pl.DataFrame(columns)


def _one_line(row: int, value: bytes, bad: dict[int, str]) -> bytes:
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        bad[row] = f"no JSON: {error}"
        return b"{}"
    if not isinstance(parsed, dict):
        bad[row] = "no JSON object"
        return b"{}"
    return orjson.dumps(parsed)


def _drop_unparsable(lines: list[bytes], bad: dict[int, str]) -> None:
    """Blank the lines that are no JSON at all, so that halving need not find each."""
    for i, line in enumerate(lines):
        try:
            orjson.loads(line)
        except orjson.JSONDecodeError as error:
            bad[i] = f"no JSON: {error}"
            lines[i] = b"{}"
