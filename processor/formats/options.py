"""What `Json` is told of maps, the rest and what is missing: checked where it is told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.base import DataType, Format
from processor.formats.extras import MAP, Extras, map_of
from processor.formats.inner_maps import Inner, lists_in
from processor.model.location import Location

Make: TypeAlias = Callable[[pl.DataType | None, frozenset[str]], Format]
"""Makes the format of values of a type, as the column ``value``, with these maps."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the user says of them: the columns' names, and whether members come once."""

    maps: Collection[str]
    rest: str | None
    missing: Mapping[str, str]
    once: bool

    def __bool__(self) -> bool:
        return bool(self.maps or self.rest is not None or self.missing or self.once)


def extras(
    columns: Mapping[str, DataType],
    optional: Collection[str],
    told: Told,
    values: Make,
    at: Location,
) -> Extras:
    """Check and take what a format was told; raises `TopologyError`.

    ``values`` makes the format of a map's values, which have a type where columns are declared,
    and may have maps of their own.
    """
    maps, inner = _maps(columns, told.maps, values, at)
    if not isinstance(told.missing, Mapping):
        raise TopologyError(
            f"{at}: Json: missing={told.missing!r} names no columns",
            remedy='say missing={"a": "no_a"}',
        )
    if columns:
        for flag in told.missing.values():
            _check(
                columns,
                optional,
                flag,
                pl.Boolean,
                f"{at}: Json: {flag!r} tells whether a member is missing",
            )
        if told.rest is not None:
            what = f"{at}: Json: {told.rest!r} has all other members"
            _check(columns, optional, told.rest, pl.String, what)
        _check_missing(told.missing, optional, at)
    members = frozenset(columns) - {*told.missing.values(), told.rest}
    return Extras(members, maps, told.rest, dict(told.missing), optional, told.once, inner)


def _maps(
    columns: Mapping[str, DataType], told: Collection[str], values: Make, at: Location
) -> tuple[dict[str, tuple[pl.DataType, Format]], dict[str, Inner]]:
    """The columns that are maps, and those with maps inside of them."""
    known = {**columns}
    for name, kind in columns.items():
        known |= lists_in(kind, name)
    declared.check_names("Json", told, known or told, at)
    for name in told:
        if name in known and map_of(known[name]) is None:
            raise TopologyError(
                f"{at}: Json: {name!r} is {known[name]}, no map", remedy=f"make it {MAP}"
            )
    maps: dict[str, tuple[pl.DataType, Format]] = {}
    inner: dict[str, Inner] = {}
    for name, kind in columns.items():
        whole, value = declared.full(kind), map_of(kind)
        inside = frozenset(told) & lists_in(kind, name).keys()
        if name in told:
            of_value = frozenset(place.removeprefix(f"{name}[].") for place in inside)
            maps[name] = whole, values(value, of_value)
        elif inside:
            places = frozenset(f"value{place[len(name) :]}" for place in inside)
            inner[name] = Inner(whole, values(whole, frozenset()), places)
    for name in () if columns else told:
        maps[name] = pl.Null(), values(None, frozenset())
    return maps, inner


def _check(
    columns: Mapping[str, DataType],
    optional: Collection[str],
    name: str,
    due: type[pl.DataType],
    what: str,
) -> None:
    if columns.get(name) != due:
        raise TopologyError(
            f"{what}, and is {columns.get(name, 'no column')}",
            remedy=f'add it to the columns: "{name}": pl.{due.__name__}',
        )
    if name in optional:
        raise TopologyError(f"{what}, and is never null", remedy="take it out of optional")


def _check_missing(missing: Mapping[str, str], optional: Collection[str], at: Location) -> None:
    flags = [*missing.values()]
    for name, flag in missing.items():
        if name not in optional:
            raise TopologyError(
                f"{at}: Json: missing names {name!r}, which is not optional",
                remedy="a record without it is bad: name it in optional",
            )
        if flags.count(flag) > 1:
            raise TopologyError(
                f"{at}: Json: {flag!r} tells of two columns whether they are missing",
                remedy="give each a column of its own",
            )
