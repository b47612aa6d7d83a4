"""An event time that is computed from what a record holds, before lateness is decided.

It is computed at the source, of each record for itself. One of which it cannot be computed, or is
null, is bad like one that cannot be read, and as that says nothing of the time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from processor.formats.base import Decoded
from processor.model.batch import Result
from processor.operators.base import Context
from processor.operators.fit import fit_of
from processor.operators.search import ROW_ERRORS, failing
from processor.operators.stateless import Extend
from processor.plan import schema
from processor.plan.nodes import Source


def derived_of(source: Source) -> Derived | None:
    """What computes a source's event time; ``None`` where it is a column that was read."""
    if source.time is None or source.event_time is None:
        return None
    have = schema.read(source)
    kind = pl.DataFrame(schema=have).select(source.time).dtypes[0]
    fit, expressions = fit_of(source.at, [source.time], have)
    return Derived(source.event_time, kind, Extend(expressions, fit))


@dataclass(frozen=True, slots=True)
class Derived:
    """Adds the column ``name`` that a step computes; ``kind`` is its type."""

    name: str
    kind: pl.DataType
    step: Extend

    def added(self, decoded: Decoded) -> Decoded:
        """What was decoded, with the column; bad rows with their reason."""
        try:
            frame, bad = self._of(decoded.frame), dict(decoded.bad)
        except ROW_ERRORS:
            frame, bad = self._apart(decoded)
        for row in frame[self.name].is_null().arg_true().to_list():
            bad.setdefault(row, f"column {self.name!r}: null")
        return decoded.grown(frame, bad)

    def _apart(self, decoded: Decoded) -> tuple[pl.DataFrame, dict[int, str]]:
        """The same where some rows cannot be computed: these have null."""
        good = np.ones(decoded.frame.height, np.bool_)
        good[[*decoded.bad, *decoded.passed]] = False
        places = np.flatnonzero(good)
        rows = decoded.frame[places]
        found = dict(self.step.misfits(rows))
        left = [row for row in range(rows.height) if row not in found]
        found |= {left[row]: reason for row, reason in self._failing(rows[left]).items()}
        fine = [row for row in range(rows.height) if row not in found]
        times = self._of(rows[fine])[self.name]
        column = pl.Series(self.name, [None], dtype=self.kind).new_from_index(0, len(good))
        column = column.scatter(places[fine], times)
        bad = {int(places[row]): reason for row, reason in found.items()}
        return decoded.frame.with_columns(column), bad | dict(decoded.bad)

    def _failing(self, rows: pl.DataFrame) -> dict[int, str]:
        try:
            self._of(rows)
        except ROW_ERRORS:
            return failing(lambda first, end: self._of(rows[first:end]), rows.height)
        return {}

    def _of(self, frame: pl.DataFrame) -> pl.DataFrame:
        return self.step.process(frame, Context([], [], Result()))
