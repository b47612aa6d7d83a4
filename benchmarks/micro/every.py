"""Every format, flat and nested, there and back: the rows that its decoder is fuzzed with."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

import polars as pl

from tests.fuzz.cases import CASES, Changes, OneRow

DISTINCT: Final = 500


def every_steps(records: int) -> dict[str, Callable[[int], object]]:
    """Each as a function of a batch's number; rows repeat after `DISTINCT` of them."""
    steps: dict[str, Callable[[int], object]] = {}
    for name, case in CASES.items():
        rng = Random(name)
        rows = [case.row(rng) for _ in range(DISTINCT)]
        columns: dict[str, Any] = dict(case.form.columns or {})
        few = pl.DataFrame(
            [pl.Series(n, [r[n] for r in rows], dtype=kind) for n, kind in columns.items()]
        )
        frame = pl.concat([few] * -(-records // DISTINCT))[:records].rechunk()
        if isinstance(case.form, OneRow):
            form: Any = case.form.form
            write, values = form.pack, [value for _, value in form.pack(frame)]
        else:
            form = case.form
            write, values = form.encode, form.encode(frame)
        steps[f"every format: {name} to columns"] = _call(form.decode, values)
        if not isinstance(form, Changes):  # these are read only
            steps[f"every format: columns to {name}"] = _call(write, frame)
    return steps


def _call(function: Callable[[Any], object], argument: object) -> Callable[[int], object]:
    return lambda _: function(argument)
