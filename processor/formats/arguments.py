"""Whether the options of a format are of the kinds that their annotations say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from processor.errors import TopologyError
from processor.formats.base import shown
from processor.model.location import Location


def check_options(form: Any, at: Location) -> None:
    """Raise `TopologyError` for an option of another kind than its annotation says.

    A text is true, nothing is no list, and both would be taken for what was not meant.
    """
    for each in (one for one in fields(form) if one.name != "value_bytes_max"):
        kind, value = str(each.type), getattr(form, each.name, None) if each.init else None
        remedy = None
        if value is None:
            bare = kind.startswith((*_GIVEN, "bool")) and "None" not in kind
            remedy = "leave it out, or say what it is" if each.init and bare else None
        elif kind.startswith("bool"):
            remedy = None if isinstance(value, bool) else "say True or False"
        elif isinstance(value, bool) and kind.startswith(_GIVEN):
            remedy = "leave it out, or say what it is"
        elif kind.startswith("Sequence") and (
            isinstance(value, Mapping) or (each.name == "references" and isinstance(value, str))
        ):
            remedy = f"give a list: {each.name}=[...]"
        elif each.name == "references" and isinstance(value, list) and kind.startswith("Mapping"):
            remedy = f'give a mapping by name: {each.name}={{"name": ...}}'
        if remedy is not None:
            name = type(form).__name__
            raise TopologyError(f"{at}: {name}: {each.name}={shown(value)}", remedy=remedy)


_GIVEN: Final = ("str", "int", "Sequence", "Mapping")
