"""Forms of times that no column is read or written in: who says them has meant something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.base import DataType, shown
from processor.formats.forms import Form, form
from processor.formats.nested import leaves
from processor.formats.times import READ_FORMS
from processor.model.location import Location


def check_forms(
    who: str,
    columns: Mapping[str, DataType] | None,
    forms: Sequence[str],
    at: Location,
    option: str = "times",
) -> None:
    """Raise `TopologyError` where no column is of what the forms tell: they would do nothing."""
    if columns and not _used(columns, forms):
        told = sorted({_TOLD[_sort_of(form(text))] for text in forms})
        raise TopologyError(
            f"{at}: {who}: {option}={shown(forms)} has {' and '.join(told)}, and no column is one",
            remedy=f"declare the column as one: {' or '.join(map(_MEANT.__getitem__, told))}; or "
            f"leave {option} out",
        )


def forms_for(columns: Mapping[str, DataType], forms: Sequence[str]) -> Sequence[str]:
    """The forms, if a column is of what they tell; those that everything has, if none is.

    >>> forms_for({"n": pl.Int64}, ("%H:%M",)) == READ_FORMS
    True
    """
    return forms if _used(columns, forms) else READ_FORMS


def _used(columns: Mapping[str, DataType], forms: Sequence[str]) -> bool:
    kinds = {type(declared.full(leaf)) for kind in columns.values() for _, leaf in leaves(kind, "")}
    return any(_TAKES[_sort_of(form(text))] & kinds for text in forms)


def _sort_of(made: Form) -> str:
    return "clock" if not made.date else "moment" if made.clock else "day"


_TAKES: Final[Mapping[str, frozenset[type[pl.DataType]]]] = {
    "moment": frozenset({pl.Datetime}),
    "day": frozenset({pl.Datetime, pl.Date}),
    "clock": frozenset({pl.Time}),
}
_TOLD: Final = {"moment": "times", "day": "dates", "clock": "times of day"}
_MEANT: Final = {"times": 'pl.Datetime("us")', "dates": "pl.Date", "times of day": "pl.Time"}
