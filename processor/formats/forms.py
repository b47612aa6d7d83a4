r"""Forms of times: the directives of ``strptime``, checked once, and read a column at a time.

A form in which the column engine reads what ``strptime`` reads goes to the engine as it stands.
Any other is matched with ``strptime``'s own pattern first, and what was found is put in the order
of ISO 8601, which the engine then reads::

    "%d. %b %y, %I %p"    1. Aug 14, 3 PM  ──►  2014-Aug-1 3:0:0 PM    "%Y-%b-%d %I:%M:%S %p"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import polars as pl

Unit: TypeAlias = Literal["us", "ns"]

DIRECTIVES: Final = "%Y %y %m %b %B %d %j %H %I %p %M %S %f %.f %3f %6f %z %:z %a %A %%"

_TOKEN: Final = re.compile(
    r"%(?P<unpadded>-?)(?P<name>\.[36]?f|[36]f|:z|[A-Za-z%])|(?P<text>[^%]+)|(?P<wrong>%.{0,2})",
    re.DOTALL,
)
_GROUPS: Final = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M", "%D": "%m/%d/%y"}
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_DAYS: Final = "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"


def _names(names: tuple[str, ...], length: int | None = None) -> str:
    return "|".join(name[:length] for name in names)


# What each directive tells, and what of a text it takes.
_TELLS: Final = {
    "Y": ("year", "(?P<Y>[0-9]{4})"),
    "y": ("year", "(?P<y>[0-9]{2})"),
    "m": ("month", "(?P<m>1[0-2]|0[1-9]|[1-9])"),
    "b": ("month", f"(?P<b>{_names(_MONTHS, 3)})"),
    "B": ("month", f"(?P<b>{_names(_MONTHS)})"),
    "d": ("day", " ?(?P<d>3[01]|[12][0-9]|0[1-9]|[1-9])"),
    "j": ("day of the year", " {0,2}(?P<j>36[0-6]|3[0-5][0-9]|[12][0-9]{2}|0[0-9]{2}|[0-9]{1,2})"),
    "H": ("hour", "(?P<H>2[0-3]|[01][0-9]|[0-9])"),
    "I": ("hour", " ?(?P<I>1[0-2]|0[1-9]|[1-9])"),
    "p": ("half of the day", "(?P<p>AM|PM)"),
    "M": ("minute", "(?P<M>[0-5][0-9]|[0-9])"),
    "S": ("second", "(?P<S>60|[0-5][0-9]|[0-9])"),
    "f": ("fraction", "(?P<f>[0-9]{1,6})"),
    "3f": ("fraction", "(?P<f>[0-9]{3})"),
    "6f": ("fraction", "(?P<f>[0-9]{6})"),
    ".f": ("fraction", r"(?P<f>(?:\.[0-9]+)?)"),
    ".3f": ("fraction", r"(?P<f>\.[0-9]{3})"),
    ".6f": ("fraction", r"(?P<f>\.[0-9]{6})"),
    "z": ("offset", "(?P<z>[+-][0-9]{2}(?::?[0-9]{2})?|Z)"),
    ":z": ("offset", "(?P<z>[+-][0-9]{2}(?::?[0-9]{2})?|Z)"),
    "a": ("weekday", f"(?:{_names(_DAYS, 3)})"),
    "A": ("weekday", f"(?:{_names(_DAYS)})"),
}
_PADDED: Final = frozenset("dmHIMSj")
_INSTEAD: Final = {
    "Z": "a zone's name tells no offset: say %z, or write the name as it stands, as in "
    "'%Y-%m-%d %H:%M:%S UTC', or give the column its zone: pl.Datetime('us', 'Europe/Berlin')",
    "s": "numbers since 1970 are declared by the column's name: epoch={'ts': 's'}",
    "c": "say it in full: %a %b %d %H:%M:%S %Y",
    "x": "say it in full: %m/%d/%y",
    "X": "say %H:%M:%S",
    "+": "say %Y-%m-%dT%H:%M:%S%.f%z",
    "e": "say %d, which takes one digit too",
    "h": "say %b",
    "k": "say %H",
    "l": "say %I",
    "P": "say %p",
    "n": "write the line break as it stands",
    "t": "write the tab as it stands",
    "r": "say %I:%M:%S %p",
    "9f": "say %.f, which takes any number of digits",
    ".9f": "say %.f, which takes any number of digits",
} | dict.fromkeys("UWuwGVgC", "tell days by %Y with %m and %d, or with %j")

_PLAIN: Final = frozenset("YmdHMSz") | {":z", ".f", "3f", "6f", ".3f", ".6f"}
_CLOCK: Final = {"hour", "half of the day", "minute", "second", "fraction", "offset"}
_UTC: Final = frozenset({"Z", "UTC", "GMT"})
_MARK: Final = "\x1e"  # no text that the pattern does not fit begins so
_YEAR_1000_US: Final = -30_610_224_000_000_000
YEARS_US: Final = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The first and the last microsecond of the years 1 to 9999."""


class FormError(ValueError):
    """A form that cannot be used; ``remedy`` says what would be right."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Form:
    """A form, compiled.

    Args:
        text: as the user wrote it.
        tells: what it tells: year, month, day, hour, …
        instant: whether a text says which moment it is, by an offset or by ``Z``, ``UTC``, ``GMT``.
        writes: the form in the column engine's words for writing; a second carries its fraction
            where it has one and the form does not say how many digits.
        exact: whether what it tells, a date, a time of day or both, is told to the microsecond, so
            that what ``writes`` makes of any time of the years 1 to 9999 is that time when read.
    """

    text: str
    tells: frozenset[str]
    instant: bool
    writes: str
    exact: bool
    _engine: str | None
    _pattern: str
    _checked: bool
    _ordered: tuple[tuple[str, str, str], ...]

    @property
    def date(self) -> bool:
        """Whether it tells a date."""
        return "year" in self.tells

    @property
    def clock(self) -> bool:
        """Whether it tells a time of day."""
        return "hour" in self.tells

    def read(self, text: pl.Series, unit: Unit = "us") -> pl.Series:
        """Times without a zone (UTC, where the form is an instant's), null for none.

        They are in microseconds, or in nanoseconds if ``unit`` says so, which end in 1677 and 2262.
        A form without a date gives `pl.Time`.

        >>> form("%d.%m.%y %H:%M").read(pl.Series(["1.8.69 0:03", "1969-08-01 00:03"])).to_list()
        [datetime.datetime(1969, 8, 1, 0, 3), None]
        """
        found = self._plainly(text, "us")
        if self._engine is not None and self._checked and found.null_count() < len(found):
            found = _only(found, text.str.contains(self._pattern))
        if not self.date:
            return found
        found = self._dated(text, found)
        if unit == "us":
            return found
        fine = self._plainly(text, "ns")
        # Beyond its range the engine wraps around.
        return _only(fine, fine.cast(pl.Int64) // 1_000 == found.cast(pl.Int64))

    def _plainly(self, text: pl.Series, unit: Unit) -> pl.Series:
        if self._engine is None:
            return self._in_order(text, unit)
        return _parsed(text, self._engine, unit, date=self.date)

    def _in_order(self, text: pl.Series, unit: Unit = "us") -> pl.Series:
        tried = [
            _parsed(text.str.replace(pattern, order), engine, unit, date=self.date)
            for pattern, order, engine in self._ordered
        ]
        return tried[0] if len(tried) == 1 else pl.select(pl.coalesce(tried)).to_series()

    @property
    def plain(self) -> bool:
        """Whether the engine reads it by itself, but for years of fewer than four digits."""
        return self._engine is not None and not self._checked

    def expression(self, text: pl.Expr) -> pl.Expr:
        """What `read` does for a plain form with a date, whatever the year."""
        found = text.str.to_datetime(self._engine, time_unit="us", strict=False, cache=False)
        return found.dt.replace_time_zone(None) if "offset" in self.tells else found

    def _dated(self, text: pl.Series, found: pl.Series) -> pl.Series:
        """Only years of four digits, and of our calendar; the extremes tell at next to no cost."""
        if four_digits(found):
            return found
        early = (found.cast(pl.Int64) < _YEAR_1000_US).arg_true()
        if self._engine is not None and len(early):
            # The engine takes a year of fewer digits, and the rest of them for the month.
            texts = text.gather(early)
            again = _only(self._in_order(texts), texts.str.contains(self._pattern))
            found = found.scatter(early, again)
        return _only(found, found.cast(pl.Int64).is_between(*YEARS_US))


def four_digits(times: pl.Series) -> bool:
    """Whether the years of times in microseconds are all from 1000 to 9999."""
    numbers = times.cast(pl.Int64)
    low, high = numbers.min(), numbers.max()
    return low is None or bool(low >= _YEAR_1000_US and high <= YEARS_US[1])  # type: ignore[operator]


def in_years(numbers: pl.Series) -> bool:
    """Whether microseconds since 1970 are all of the years 1 to 9999."""
    low, high = numbers.min(), numbers.max()
    return low is None or bool(low >= YEARS_US[0] and high <= YEARS_US[1])  # type: ignore[operator]


@lru_cache(maxsize=256)
def form(text: str) -> Form:
    """Compile a form; raises `FormError` for one that ``strptime`` does not have.

    >>> form("%Y-%m-%d %Q")
    Traceback (most recent call last):
    processor.formats.forms.FormError: '%Q' in '%Y-%m-%d %Q' is no directive
    """
    tokens = list(_tokens(text))
    names = [name for name, _ in tokens if name]
    tells = [_TELLS[name][0] for name in names]
    _consistent(text, tells)
    utc = "hour" in tells and "offset" not in tells and tokens[-1][1].strip() in _UTC
    engine, checked = _engine(tokens, tells)
    pattern = _pattern(tokens)
    return Form(
        text,
        frozenset(tells),
        "offset" in tells or utc,
        _writes(tokens, tells),
        engine is not None and _complete(tokens, set(tells)),
        engine,
        pattern,
        checked,
        tuple(_ordered(pattern, names)),
    )


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Directives as (name, flag), and what stands between as ("", text)."""
    for group, members in _GROUPS.items():
        text = text.replace(group, members)
    for found in _TOKEN.finditer(text):
        name, unpadded = found["name"], found["unpadded"]
        if found["text"] is not None:
            yield "", found["text"]
        elif name == "%" and not unpadded:
            yield "", "%"
        elif name in _TELLS and (not unpadded or name in _PADDED):
            yield name, unpadded
        else:
            raise _refused(text, found[0])


def _refused(text: str, wrong: str) -> FormError:
    instead = _INSTEAD.get(wrong[1:]) or _INSTEAD.get(wrong[1:2])
    if instead is not None:
        return FormError(f"{wrong!r} in {text!r} cannot be read as strptime does", instead)
    return FormError(f"{wrong!r} in {text!r} is no directive", f"the directives are {DIRECTIVES}")


def _consistent(text: str, tells: list[str]) -> None:
    twice = next((what for what in tells if tells.count(what) > 1), None)
    if twice is not None:
        raise FormError(f"{text!r} tells the {twice} twice", f"keep one directive for the {twice}")
    told = set(tells)
    if "year" not in told and (not told & _CLOCK or told - _CLOCK):
        way = "begin it with %Y, or %y for two digits of it"
        if "yyyy" in text or "MM" in text or "HH" in text:
            way = "these are Java's letters; Python's are '%Y-%m-%d %H:%M:%S'"
        raise FormError(f"{text!r} tells no year", way)
    if "day of the year" in told and told & {"month", "day"}:
        raise FormError(f"{text!r} tells the day in two ways", "say %j alone, or %m and %d")
    for part, whole in (("fraction", "second"), ("second", "minute"), ("minute", "hour")):
        if part in told and whole not in told:
            raise FormError(f"{text!r} tells a {part} without the {whole}", f"tell the {whole} too")
    if "offset" in told and not told >= {"year", "hour"}:
        raise FormError(f"{text!r} tells an offset of no moment", "tell the date and the hour too")
    if "half of the day" in told and "hour" not in told:
        raise FormError(f"{text!r} has %p without an hour", "say %I %p")


def _engine(tokens: list[tuple[str, str]], tells: list[str]) -> tuple[str | None, bool]:
    """The form as the engine reads it by itself, and whether it takes more than strptime does."""
    told = set(tells)
    dated = {"year", "month", "day"}
    days, hours = told & dated, told & {"hour", "minute"}
    if not {name for name, _ in tokens if name} <= _PLAIN | {"f"}:
        return None, False
    if (days and days != dated) or len(hours) == 1:
        return None, False
    parts: list[str] = []
    checked = False
    for name, value in tokens:
        if name == "f":
            if len(parts) < 2 or parts[-2:] != ["%S", "."]:
                return None, False
            parts[-1], checked = "%.f", True
        elif name.endswith("f") and parts[-1] not in ("%S", "."):
            return None, False
        elif name.endswith("z"):
            parts.append("%#z")
        else:
            parts.append(f"%{name}" if name else value.replace("%", "%%"))
    return "".join(parts), checked


def _complete(tokens: list[tuple[str, str]], told: set[str]) -> bool:
    """Whether a form of plain directives leaves nothing out and nothing to guess."""
    shortened = any(name in ("3f", ".3f") or (name and flag) for name, flag in tokens)
    digits = any(not name and re.search("[0-9]", value) for name, value in tokens)
    clock = "hour" not in told or "second" in told
    return clock and not shortened and not digits


def _pattern(tokens: list[tuple[str, str]]) -> str:
    """What ``strptime`` takes, as a regular expression."""
    parts = [
        _TELLS[name][1]
        if name
        else r"\s+".join(re.escape(piece) for piece in re.split(r"\s+", value))
        for name, value in tokens
    ]
    return f"(?i)^{''.join(parts)}$"


def _ordered(pattern: str, names: list[str]) -> Iterator[tuple[str, str, str]]:
    """Patterns, what is made of what they find, and the engine's form for that."""
    order, engine = _order(names)
    if "y" not in names:
        yield pattern, order, engine
        return
    for century, years in (("19", "69|[7-9][0-9]"), ("20", "[0-5][0-9]|6[0-8]")):
        part = pattern.replace(_TELLS["y"][1], f"(?P<y>{years})")
        yield part, order.replace("${y}", f"{century}${{y}}"), engine


def _order(names: list[str]) -> tuple[str, str]:
    """What is found, in the order of ISO 8601; what is not told is the least that it can be."""
    found = set(names)
    order, engine = _MARK, _MARK
    if found & {"Y", "y"}:
        year = "${Y}" if "Y" in found else "${y}"
        month = ("${m}", "%m") if "m" in found else ("${b}", "%B")
        if not found & {"m", "b", "B"}:
            month = ("1", "%m")
        if "j" in found:
            order, engine = f"{order}{year} ${{j}} ", f"{engine}%Y %j "
        else:
            day = "${d}" if "d" in found else "1"
            order, engine = f"{order}{year}-{month[0]}-{day} ", f"{engine}%Y-{month[1]}-%d "
    minute, second = ("${M}" if "M" in found else "0"), ("${S}" if "S" in found else "0")
    hour = "${I}" if "I" in found else "${H}" if "H" in found else "0"
    order += f"{hour}:{minute}:{second}"
    engine += "%I:%M:%S" if "I" in found else "%H:%M:%S"
    fraction = next((name for name in names if name.endswith("f")), None)
    if fraction is not None:
        order, engine = order + ("" if fraction[0] == "." else ".") + "${f}", engine + "%.f"
    if "I" in found:
        order, engine = order + (" ${p}" if "p" in found else " AM"), engine + " %p"
    if found & {"z", ":z"}:
        order, engine = f"{order} ${{z}}", f"{engine} %#z"
    return order, engine


def _writes(tokens: list[tuple[str, str]], tells: list[str]) -> str:
    parts: list[str] = []
    for name, value in tokens:
        if name == "f":
            parts.append("%6f")
        elif name == "S" and "fraction" not in tells:
            parts.append(f"%{value}S%.f")
        else:
            parts.append(f"%{value}{name}" if name else value.replace("%", "%%"))
    return "".join(parts)


def _parsed(text: pl.Series, engine: str, unit: Unit, *, date: bool) -> pl.Series:
    if not date:
        return text.str.to_time(engine, strict=False, cache=False)
    found = text.str.to_datetime(engine, time_unit=unit, strict=False, cache=False)
    zone = found.dtype.time_zone  # type: ignore[attr-defined]
    return found if zone is None else found.dt.replace_time_zone(None)


def _only(column: pl.Series, keep: pl.Series) -> pl.Series:
    """The column, null where ``keep`` is not true."""
    return pl.select(pl.when(keep).then(column)).to_series()
