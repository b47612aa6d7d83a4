r"""The sink that is no topic: each task's rows by themselves, and what a file of them holds.

::

    rows of tasks 0, 1, 2 ──┬── task 0: rows, bytes of a file
                            └── task 2: rows, bytes of a file      task 1 has none
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import polars as pl

from processor.formats.base import Format, WriteError
from processor.formats.csv import Csv
from processor.formats.parquet import Parquet
from processor.formats.rows import Rows
from processor.formats.text import Text
from processor.model.batch import Shown
from processor.operators.base import HIDDEN, TASK, Context
from processor.operators.emit import Emit


@dataclass(frozen=True, slots=True)
class Show:
    """Adds each task's rows to what the batch shows.

    Args:
        sink: what the plan calls it.
        form: of a file; or `Rows`, where what is given is columns.
        lines: the format, where a file has a line for each row.
        required: columns in which no reader of that format takes just any cell.
        newest: columns that tell groups apart, of each of which a batch shows the last row only.
    """

    sink: str
    form: Format
    lines: Format | None = None
    required: tuple[str, ...] = ()
    newest: tuple[str, ...] | None = None

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """Add the rows; nothing goes on. Raises `WriteError` for rows that are no line."""
        if frame.is_empty():
            return frame.clear()
        if self.lines is not None:
            for cell in self._emit().misfits(frame).values():
                raise WriteError(cell)
        for (number,), part in frame.partition_by(TASK, as_dict=True, maintain_order=True).items():
            rows = part.select_seq(pl.exclude(HIDDEN)).rechunk()
            if self.newest is not None:
                rows = _last(rows, self.newest)
            data = None if isinstance(self.form, Rows) else as_file(self.form, rows)
            context.result.shown.append(Shown(self.sink, int(number), rows, data))
        return frame.clear()

    def misfits(self, frame: pl.DataFrame) -> dict[int, str]:
        """The rows with a null where the format has none, with the column."""
        return {} if self.lines is None else self._emit().misfits(frame)

    def _emit(self) -> Emit:
        return Emit(self.sink, self.form, None, required=self.required)


def ending(form: Format) -> str:
    """What the names of files end with.

    >>> ending(Parquet())
    'parquet'
    """
    words = {Csv: "csv", Parquet: "parquet", Text: "txt"}
    return next((word for kind, word in words.items() if isinstance(form, kind)), "json")


def _last(rows: pl.DataFrame, of: tuple[str, ...]) -> pl.DataFrame:
    """The last row of each group; without columns there is one group."""
    return rows.unique(of, keep="last", maintain_order=True) if of else rows.tail(1)


def as_file(form: Format, rows: pl.DataFrame) -> bytes:
    r"""The bytes of a file; raises `WriteError` for a row that is no line of it.

    >>> from processor import Csv, Text
    >>> as_file(Text(), pl.DataFrame({"value": ["a", "b"]}))
    b'a\nb\n'
    >>> form = Csv({"a": pl.String, "n": pl.Int64}, header=True)
    >>> as_file(form, pl.DataFrame({"a": ["x"], "n": [1]}))
    b'a,n\nx,1\n'
    """
    values = form.encode(rows)
    if isinstance(form, Parquet):
        return b"".join(value for value in values if value is not None)
    quoted = isinstance(form, Csv) and form.quote is not None
    for value in values:
        if value is None or (not quoted and (b"\n" in value or b"\r" in value)):
            raise WriteError("a row without text, or with a line break, is no line of a file")
    lines = [value for value in values if value is not None]
    if isinstance(form, Csv) and form.header:
        lines.insert(0, _header(form))
    return b"\n".join(lines) + b"\n"


def _header(form: Csv) -> bytes:
    out = io.StringIO()
    quote = form.quote or '"'
    csv.writer(out, delimiter=form.separator, quotechar=quote, lineterminator="").writerow(
        list(form.columns)
    )
    return out.getvalue().encode()
