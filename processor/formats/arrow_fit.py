"""Columns of an Arrow table as the types that a format names, or the reason why not.

What is wider or finer than what is named is taken where no value is lost; what is of another kind
is not: a number is no text, and a time without a zone is no moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import numpy as np

_TEXT_BYTES_MAX: Final = 100_000_000


def fitted(pa: Any, table: Any, wanted: Any, optional: Collection[str]) -> Any:
    """The table with the columns of the schema ``wanted``, of its types; raises `ValueError`."""
    columns = []
    for field in wanted:
        places = table.schema.get_all_field_indices(field.name)
        if len(places) > 1:
            raise ValueError(f"column {field.name!r}: there are {len(places)} of that name")
        if not places:
            if field.name not in optional:
                raise ValueError(f"column {field.name!r}: missing")
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
            continue
        column = _column(pa, table.column(places[0]), field)
        if column.null_count and field.name not in optional:
            row = column.is_null().index(True).as_py()
            raise ValueError(f"column {field.name!r}: null in row {row}")
        columns.append(column)
    return pa.table(columns, schema=wanted)


def _column(pa: Any, column: Any, field: Any) -> Any:
    kind, wanted = column.type, field.type
    if kind.equals(wanted):
        return column
    if not alike(pa.types, kind, wanted):
        raise ValueError(f"column {field.name!r}: it is {kind}, not {wanted}")
    size = sum(_shared(pa.types, chunk) for chunk in column.chunks)
    if size > _TEXT_BYTES_MAX:
        raise ValueError(f"column {field.name!r}: {size} bytes, most of which rows have in common")
    try:
        if pa.types.is_dictionary(kind) and pa.types.is_string_view(kind.value_type):
            column = pa.chunked_array([_without_views(pa, chunk) for chunk in column.chunks])
        return column.cast(wanted)
    except pa.ArrowException as error:
        raise ValueError(f"column {field.name!r}: {str(error).splitlines()[0]}") from error


def _without_views(pa: Any, chunk: Any) -> Any:
    """A dictionary's words as plain text: views cannot be taken out of one (Arrow 26)."""
    words = chunk.dictionary.cast(pa.large_string())
    return pa.DictionaryArray.from_arrays(chunk.indices, words)


def _shared(types: Any, array: Any) -> int:
    """Bytes of text that rows only point to: each row gets its own of them.

    Views are Arrow's layout of 16 bytes a row, of which the first four are the length.
    """
    kind = array.type
    if types.is_dictionary(kind):
        words = array.dictionary.cast("large_binary")
        ends = np.frombuffer(words.buffers()[1], np.int64)[words.offset :][: len(words) + 1]
        return len(array) * int(np.diff(ends).max(initial=0))
    if types.is_string_view(kind) or types.is_binary_view(kind):
        views = np.frombuffer(array.buffers()[1], np.uint32).reshape(-1, 4)
        return int(views[array.offset : array.offset + len(array), 0].sum(dtype=np.int64))
    if types.is_struct(kind):
        return sum(_shared(types, array.field(number)) for number in range(kind.num_fields))
    if types.is_map(kind):
        return _shared(types, array.keys) + _shared(types, array.items)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _shared(types, array.values)
    return 0


def alike(types: Any, kind: Any, wanted: Any) -> bool:
    """Whether values of a type can be values of another one, each as what it is."""
    if types.is_dictionary(kind):
        kind = kind.value_type
    for one in _FAMILIES:
        if any(getattr(types, name)(wanted) for name in one):
            return any(getattr(types, name)(kind) for name in one)
    special = next((test for name, test in _SPECIAL if getattr(types, name)(wanted)), None)
    return bool(kind.equals(wanted) or (special is not None and special(types, kind, wanted)))


def _decimals(types: Any, kind: Any, wanted: Any) -> bool:
    # With a scale that no number has, Arrow's cast ends the process (Arrow 26).
    return bool(types.is_decimal(kind) and 0 <= kind.scale <= kind.precision and wanted.scale >= 0)


def _floats(types: Any, kind: Any, wanted: Any) -> bool:
    return bool(types.is_floating(kind) and kind.bit_width <= wanted.bit_width)


def _moments(types: Any, kind: Any, wanted: Any) -> bool:
    return bool(types.is_timestamp(kind) and (kind.tz is None) == (wanted.tz is None))


def _lists(types: Any, kind: Any, wanted: Any) -> bool:
    if types.is_map(kind):
        return bool(types.is_struct(wanted.value_type) and _pairs(types, kind, wanted.value_type))
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(lists and alike(types, kind.value_type, wanted.value_type))


def _members(types: Any, kind: Any, wanted: Any) -> bool:
    if not types.is_struct(kind) or [f.name for f in kind] != [f.name for f in wanted]:
        return False
    return all(alike(types, a.type, b.type) for a, b in zip(kind, wanted, strict=True))


def _pairs(types: Any, kind: Any, wanted: Any) -> bool:
    if [field.name for field in wanted] != ["key", "value"]:
        return False
    values = alike(types, kind.item_type, wanted[1].type)
    return values and alike(types, kind.key_type, wanted[0].type)


_FAMILIES: Final = (
    ("is_integer",),
    ("is_string", "is_large_string", "is_string_view"),
    ("is_binary", "is_large_binary", "is_binary_view", "is_fixed_size_binary"),
    ("is_date",),
    ("is_time",),
    ("is_duration",),
)
_SPECIAL: Final[Sequence[tuple[str, Callable[[Any, Any, Any], bool]]]] = (
    ("is_decimal", _decimals),
    ("is_floating", _floats),
    ("is_timestamp", _moments),
    ("is_large_list", _lists),
    ("is_struct", _members),
)
