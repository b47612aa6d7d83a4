"""Whether the options of a format are of the kinds that their annotations say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from processor.errors import TopologyError
from processor.formats.base import shown
from processor.model.location import Location


def check_options(form: Any, at: Location) -> None:
    """Raise `TopologyError` for an option of another kind than its annotation says.

    A text is true, nothing is no list, and both would be taken for what was not meant. What has
    words of its own (columns, schemas, units) is looked at by the format itself.
    """
    for each in fields(form):
        if not each.init or each.name in _BY_THE_FORMAT:
            continue
        value = getattr(form, each.name, None)
        remedy = _remedy(each.name, str(each.type), value)
        if remedy is not None:
            name = type(form).__name__
            raise TopologyError(f"{at}: {name}: {each.name}={shown(value)}", remedy=remedy)


def _remedy(name: str, kind: str, value: object) -> str | None:
    """What would be right for an option; ``None`` where the value may be."""
    if value is None or (isinstance(value, bool) and kind.startswith(_GIVEN)):
        bare = value is not None or (
            kind.startswith((*_GIVEN, "bool", "frozenset")) and "None" not in kind
        )
        return "leave it out, or say what it is" if bare else None
    for begins, right in _RIGHT.items():
        if kind.startswith(begins):
            return right(name, value)
    return None


def _truth(_: str, value: object) -> str | None:
    return None if isinstance(value, bool) else "say True or False"


def _text(name: str, value: object) -> str | None:
    return None if isinstance(value, str) else f"give a text: {name}={_EXAMPLES.get(name, '...')}"


def _list(name: str, value: object) -> str | None:
    listed = isinstance(value, Iterable) and not isinstance(value, _NO_LISTS)
    # A text where names are due is told by its name.
    by_name = isinstance(value, str) and name != "references"
    # A set has another order each time, and the first of these is what is written.
    ordered = name not in _ORDERED or not isinstance(value, set | frozenset)
    right = (listed or by_name) and ordered
    return None if right else f"give a list: {name}={_EXAMPLES.get(name, '[...]')}"


def _mapping(name: str, value: object) -> str | None:
    if isinstance(value, Mapping) or name not in _BY_NAME:
        return None
    return f"give a mapping by name: {name}={_BY_NAME[name]}"


def _names(name: str, value: object) -> str | None:
    # {} is how Python writes an empty set for who does not think of it.
    wrong = bool(value) and isinstance(value, Mapping | bytes)
    return f'give the names of columns: {name}={{"..."}}' if wrong else None


_GIVEN: Final = ("str", "int", "Sequence", "Mapping")
_NO_LISTS: Final = (str, bytes, Mapping, Path, type)
_ORDERED: Final = ("times", "nulls")
_BY_THE_FORMAT: Final = ("value_bytes_max",)
_EXAMPLES: Final[Mapping[str, str]] = {
    "column": '"value"',
    "message": '"shop.Order"',
    "separator": '";"',
    "quote": '"\'"',
    "rest": '"others"',
    "time_form": '"%Y-%m-%dT%H:%M:%S"',
    "times": '["%Y-%m-%d %H:%M:%S"]',
    "nulls": '["", "NA"]',
    "references": "[...]",
}
_BY_NAME: Final[Mapping[str, str]] = {"references": '{"name": ...}', "missing": '{"a": "no_a"}'}
# A schema may be a text too, and is looked at by its format.
_RIGHT: Final[Mapping[str, Callable[[str, object], str | None]]] = {
    "bool": _truth,
    "str": _text,
    "Sequence": _list,
    "Mapping[str, Any] |": lambda _name, _value: None,
    "Mapping": _mapping,
    "frozenset": _names,
}
