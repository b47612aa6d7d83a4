"""Files of Parquet. There is no record of it, so rows travel on as blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from processor.feeds.parts import Mark, Part, TornError
from processor.formats import declared
from processor.formats.base import DataType
from processor.formats.parquet import Parquet

_NUMBER: Final = re.compile(r"(U?)Int(\d+)")


class ParquetFile:
    """Implements `processor.feeds.opened.Opened`. A place counts rows."""

    def __init__(self, form: Parquet, path: Path, size: int) -> None:
        self._form, self._path, self._size = form, path, size
        path.open("rb").close()  # what the system refuses is told as it is
        try:
            have = pl.read_parquet_schema(path)
            self._rows = pl.scan_parquet(path).select(pl.len()).collect().item()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise TornError(f"no file of Parquet that can be read: {error}") from error
        self._columns = [
            self._column(name, kind, have) for name, kind in (form.columns or {}).items()
        ]

    def _column(self, name: str, kind: DataType, have: Mapping[str, pl.DataType]) -> pl.Expr:
        wanted = declared.full(kind)
        if name not in have:
            if name in self._form.optional:
                return pl.lit(None, wanted).alias(name)
            raise TornError(f"there is no column {name!r}, but {', '.join(have)}")
        if not _fits(have[name], wanted):
            raise TornError(f"column {name!r} is {have[name]}, not {wanted}")
        return pl.col(name).cast(wanted)

    def read(self, at: int, records: int, size: int) -> Part:
        """As the protocol has it; a record holds many rows, so ``records`` counts rows."""
        del size
        if self._path.stat().st_size != self._size:
            raise TornError("it was written to while it was read")
        try:
            rows = pl.scan_parquet(self._path).slice(at, records).select(self._columns).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise TornError(f"it cannot be read behind row {at}: {error}") from error
        for column in rows.get_columns():
            if column.name not in self._form.optional and column.null_count():
                row = at + int(column.is_null().arg_max() or 0)
                raise TornError(f"column {column.name!r} is null in row {row}, and not optional")
        packed = self._form.blocks().pack(rows)
        end = at + rows.height
        return Part([value for _, value in packed], [n for n, _ in packed], end, end >= self._rows)

    def goes_on(self, at: int, mark: Mark | None) -> bool:
        """No: it is written as a whole."""
        del at, mark
        return False

    def close(self) -> None:
        """Nothing is open."""


def _fits(have: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether each value of one type is one of the other."""
    if have == wanted:
        return True
    if isinstance(have, pl.Datetime) and isinstance(wanted, pl.Datetime):
        order = ("ms", "us", "ns")
        finer = order.index(wanted.time_unit) >= order.index(have.time_unit)
        return finer and have.time_zone == wanted.time_zone
    if have.is_float() and wanted.is_float():
        return bool(wanted == pl.Float64)
    numbers = _NUMBER.fullmatch(str(have)), _NUMBER.fullmatch(str(wanted))
    if numbers[0] and numbers[1]:
        (unsigned, bits), (to_unsigned, to_bits) = (found.groups() for found in numbers if found)
        if unsigned == to_unsigned:
            return int(bits) <= int(to_bits)
        return bool(unsigned) and int(bits) < int(to_bits)
    return isinstance(have, pl.Categorical | pl.Enum) and wanted == pl.String
