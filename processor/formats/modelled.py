"""Columns that a class names: a dataclass, a TypedDict, or a model of pydantic.

::

    class Ride(BaseModel):            Json(Ride) is    Json({"at": pl.Datetime("us"),
        at: datetime                                         "fare": pl.Decimal(8, 2),
        fare: condecimal(                                    "note": pl.String},
            max_digits=8, decimal_places=2)                 optional={"note"})
        note: str | None = None

The class says what columns there are. What it does besides is not run: no validators, no bounds.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.base import DataType, shown
from processor.model.location import Location

PLAIN: Final[Mapping[object, DataType]] = {
    str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean, bytes: pl.Binary,
    datetime: pl.Datetime("us"), date: pl.Date, time: pl.Time,
    timedelta: pl.Duration("us"), uuid.UUID: pl.String,
}  # fmt: skip
_LISTS: Final = (list, Sequence, Collection, tuple, set, frozenset)
_KNOWN: Final = (
    "str, int, float, bool, bytes, datetime, date, time, timedelta, Decimal with its digits, "
    "Literal, Enum, a list or a class of these, or a type of Polars: Annotated[int, pl.Int32]"
)
_DIGITS: Final = "say how many it has: Annotated[Decimal, pl.Decimal(10, 2)]"


class AnyColumns:
    """The columns of a format, which may be told by a class: as an attribute they are a mapping."""

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn what it is called, and who has it."""
        self._name, self._who = name, owner.__name__

    def __get__(self, form: object, owner: type) -> Mapping[str, DataType] | None:
        """The mapping, if there is one; what a format has that is told of none."""
        if form is None:
            return None
        found: Mapping[str, DataType] | None = form.__dict__[self._name]
        return found

    def __set__(self, form: object, given: Mapping[str, DataType] | type | None) -> None:
        """Keep a mapping as it is, and make one of a class."""
        optional: frozenset[str] = frozenset()
        if is_model(given):
            given, optional = columns_of(self._who, given, declared.told_at())
        form.__dict__[self._name] = given
        form.__dict__[_OPTIONAL] = optional


class Columns(AnyColumns):
    """The columns of a format that has to be told of some."""

    def __get__(self, form: object, owner: type) -> Mapping[str, DataType]:
        """The mapping."""
        if form is None:
            raise AttributeError(self._name)
        found: Mapping[str, DataType] = form.__dict__[self._name]
        return found


_OPTIONAL: Final = "optional in its class"


def optional_of(form: object) -> frozenset[str]:
    """The columns that the class has as optional, by which a format was told of them."""
    found: frozenset[str] = form.__dict__[_OPTIONAL]
    return found


def is_model(given: object) -> typing.TypeGuard[type]:
    """Whether it is a class that names columns.

    >>> is_model(typing.TypedDict("Ride", {"id": int})), is_model({"id": pl.Int64}), is_model(int)
    (True, False, False)
    """
    if not isinstance(given, type):
        return False
    return (
        dataclasses.is_dataclass(given)
        or typing.is_typeddict(given)
        or isinstance(getattr(given, "model_fields", None), dict)
    )


def columns_of(who: str, model: type, at: Location) -> tuple[dict[str, DataType], frozenset[str]]:
    """The columns that a class names, and those that may be null; raises `TopologyError`.

    >>> Ride = typing.TypedDict("Ride", {"id": int, "note": str | None})
    >>> columns_of("Json", Ride, Location("rides.py", 3))
    ({'id': Int64, 'note': String}, frozenset({'note'}))
    """
    reader = _Reader(who, at)
    found = reader.fields(model, model.__name__, ())
    optional = frozenset(name for name, (_, may) in found.items() if may)
    return {name: kind for name, (kind, _) in found.items()}, optional


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the annotations of a class, for one who declares a format at a line."""

    who: str
    at: Location

    def fields(
        self, model: type, place: str, within: tuple[type, ...]
    ) -> dict[str, tuple[DataType, bool]]:
        """Each column with its type, and whether it may be null."""
        if model in within:
            raise self._error(f"{place} is a {model.__name__} inside a {model.__name__}", _KNOWN)
        found: dict[str, tuple[DataType, bool]] = {}
        for name, annotation, default in self._members(model):
            here = f"{place}.{name}"
            kind, optional = self._kind(annotation, here, (*within, model))
            if not any(default is one for one in (_NONE, None, ...)):
                raise self._error(
                    f"{here} has a default, and a column that a record has not is null",
                    f"say {name}: ... | None = None, and fill it: "
                    f'with_columns(pl.col("{name}").fill_null(...))',
                    use="",
                )
            found[name] = kind, optional or default is not _NONE
        if not found:
            raise self._error(f"{place} names no column", "name: str", use="give it members: ")
        return found

    def _members(self, model: type) -> Iterator[tuple[str, object, object]]:
        """Name, annotation and default of each member; ``...`` for one that may be left out."""
        fields = getattr(model, "model_fields", None)
        unread = f"the annotations of {model.__name__} cannot be read"
        names = "its names have to be those of its module"
        if isinstance(fields, dict):
            if not getattr(model, "__pydantic_complete__", True):
                raise self._error(unread, names, use="")
            for name, field in fields.items():
                alias = field.validation_alias or field.alias
                told = field.annotation
                if field.metadata:
                    told = Annotated[told, *field.metadata]
                default = _NONE if field.is_required() else field.default_factory or field.default
                yield alias if isinstance(alias, str) else name, told, default
            return
        try:
            hints = typing.get_type_hints(model, include_extras=True)
        except (NameError, TypeError, AttributeError) as error:
            raise self._error(f"{unread}: {error}", names, use="") from error
        if dataclasses.is_dataclass(model):
            for one in dataclasses.fields(model):
                made = one.default_factory is not dataclasses.MISSING
                plain = _NONE if one.default is dataclasses.MISSING else one.default
                yield one.name, hints[one.name], one.default_factory if made else plain
            return
        left_out: frozenset[str] = getattr(model, "__optional_keys__", frozenset())
        for name, hint in hints.items():
            origin = get_origin(hint)
            inner = get_args(hint)[0] if origin in (typing.Required, typing.NotRequired) else hint
            may = name in left_out and origin is not typing.Required
            yield name, inner, ... if may or origin is typing.NotRequired else _NONE

    def _kind(self, told: object, place: str, within: tuple[type, ...]) -> tuple[DataType, bool]:
        """The type of a column, and whether it may be null."""
        more: list[object] = []
        while True:
            if get_origin(told) is Annotated:
                told, *found = get_args(told)
                more += found
            elif hasattr(told, "__supertype__"):
                told = told.__supertype__
            elif hasattr(told, "__value__") and not isinstance(told, enum.Enum):
                told = told.__value__
            else:
                break
        explicit = next((one for one in more if _is_type(one)), None)
        if get_origin(told) in (Union, types.UnionType):
            rest = [one for one in get_args(told) if one is not type(None)]
            optional = len(rest) < len(get_args(told))
            if set(rest) == {int, float}:
                rest = [float]
            if len(rest) != 1:
                raise self._error(f"{place} is one of several types, {_named(told)}", "one of them")
            inner = Annotated[rest[0], *more] if more else rest[0]
            return self._kind(inner, place, within)[0], optional
        if explicit is not None:
            return explicit, False
        if get_origin(told) is Literal:
            cells = [cell for cell in get_args(told) if cell is not None]
            return self._words(cells, told, place), None in get_args(told)
        return self._plain(told, more, place, within), False

    def _plain(  # noqa: PLR0911 - one for each sort
        self, told: object, more: Sequence[object], place: str, within: tuple[type, ...]
    ) -> DataType:
        if told in PLAIN:
            return PLAIN[told]
        if told is Decimal:
            return self._decimal(more, place)
        if _is_type(told):
            return told
        if is_model(told):
            inner = self.fields(told, place, within)
            return pl.Struct({name: kind for name, (kind, _) in inner.items()})
        if isinstance(told, type) and issubclass(told, enum.Enum):
            return self._words([one.value for one in told], told, place)
        if isinstance(told, type) and issubclass(told, str):
            return pl.String
        parts = [part for part in get_args(told) if part is not ...]
        if get_origin(told) in _LISTS and len(parts) == 1:
            return pl.List(self._kind(parts[0], f"{place}[]", within)[0])
        if told is Any or get_origin(told) in (dict, Mapping) or told is dict:
            raise self._error(
                f"{place} is {_named(told)}, whose members are not known",
                "a class that has them, or str, which is their JSON as it stands",
            )
        raise self._error(f"{place} is {_named(told)}, which is no column", _KNOWN)

    def _words(self, cells: Sequence[object], told: object, place: str) -> DataType:
        if cells and all(isinstance(cell, str) for cell in cells):
            return pl.Enum([str(cell) for cell in cells])
        for kind in (bool, int):
            if cells and all(type(cell) is kind for cell in cells):
                return PLAIN[kind]
        raise self._error(f"{place} is {_named(told)}, of which not all are text", "text alone")

    def _decimal(self, more: Sequence[object], place: str) -> DataType:
        for one in [inner for found in more for inner in (found, *getattr(found, "metadata", ()))]:
            digits, places = (getattr(one, n, None) for n in ("max_digits", "decimal_places"))
            if isinstance(digits, int) and isinstance(places, int):
                return pl.Decimal(digits, places)
        raise self._error(f"{place} is a Decimal of any number of digits", _DIGITS, use="")

    def _error(self, told: str, remedy: str, use: str = "use ") -> TopologyError:
        return TopologyError(f"{self.at}: {self.who}: {told}", remedy=use + remedy)


_NONE: Final = object()
"""There is no default."""


def _is_type(told: object) -> typing.TypeGuard[DataType]:
    return isinstance(told, pl.DataType) or (
        isinstance(told, type) and issubclass(told, pl.DataType)
    )


def _named(told: object) -> str:
    return told.__name__ if isinstance(told, type) and not get_args(told) else shown(told)
