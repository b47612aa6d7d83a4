"""Times as RFC 3339 has them, to the character: what a form of times takes is more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

_DAY: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"


@dataclass(frozen=True, slots=True)
class Exact:
    """What a text has to be like.

    Args:
        pattern: of the whole text.
        plain: of the whole text where it is as it is mostly written, and is taken as it is.
        told: what such a text is called, with one of them.
    """

    pattern: str
    plain: str
    told: str

    def takes(self, text: str) -> bool:
        """Whether a text is one.

        >>> DATE.takes("2026-05-01"), DATE.takes("5/1/2026")
        (True, False)
        """
        return re.fullmatch(self.pattern, text) is not None

    def only(self, texts: pl.Series) -> pl.Series:
        """Texts in large letters, with Z for an offset of nothing; null for what is none.

        >>> TIME.only(pl.Series(["09:10:00z", "09:10:00+00:00", "9:10:00Z"])).to_list()
        ['09:10:00Z', '09:10:00Z', None]
        """
        plain = texts.str.contains(f"^{self.plain}$")
        if plain.all():
            return texts
        large = texts.str.to_uppercase().str.replace(r"[+-]00:00$", "Z")
        exact = texts.str.contains(f"^{self.pattern}$")
        return pl.select(pl.when(exact).then(large)).to_series().alias(texts.name)


DATE: Final = Exact(_DAY, _DAY, "date as RFC 3339 has it (2026-05-01)")
DATE_TIME: Final = Exact(
    rf"{_DAY}[Tt]{_CLOCK}(?:[Zz]|[+-][0-9]{{2}}:[0-9]{{2}})",
    rf"{_DAY}T{_CLOCK}(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})",
    "date-time as RFC 3339 has it (2026-05-01T09:10:00Z)",
)
TIME: Final = Exact(
    rf"{_CLOCK}(?:[Zz]|[+-]00:00)",
    rf"{_CLOCK}Z",
    "time of day in UTC as RFC 3339 has it (09:10:00Z)",
)
OF: Final[Mapping[type[pl.DataType], Exact]] = {
    pl.Date: DATE, pl.Datetime: DATE_TIME, pl.Time: TIME,
}  # fmt: skip
"""What each type of times is like."""
