"""A field's default, which is JSON, as the bytes that a record would have."""

from __future__ import annotations

import struct
from typing import Any, Final

from processor.formats.avro.leaves import INT, LONG
from processor.formats.avro.schema import Type

_FRACTIONS: Final = {"float": "<f", "double": "<d"}


def long_bytes(number: int) -> bytes:
    r"""A number of variable length.

    >>> long_bytes(-1), long_bytes(64)
    (b'\x01', b'\x80\x01')
    """
    rest = (number << 1) ^ (number >> 63)
    found = bytearray()
    while rest > 0x7F:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    found.append(rest)
    return bytes(found)


def default_bytes(kind: Type, value: Any) -> bytes:
    r"""A default as a record has it; raises `ValueError` for one that is not of the type.

    >>> default_bytes(Type("string"), "ab")
    b'\x04ab'
    """
    if kind.sort == "union":
        return _union(kind, value)
    if kind.sort == "record" and isinstance(value, dict):
        return b"".join(_member(kind, each.name, value) for each in kind.fields)
    if kind.sort == "array" and isinstance(value, list):
        items = b"".join(default_bytes(kind.parts[0], item) for item in value)
        return long_bytes(len(value)) + items + bytes(1) if value else bytes(1)
    if kind.sort == "map" and isinstance(value, dict):
        pairs = b"".join(
            _text(key) + default_bytes(kind.parts[0], item) for key, item in value.items()
        )
        return long_bytes(len(value)) + pairs + bytes(1) if value else bytes(1)
    if kind.sort == "null" and value is None:
        return b""
    found = _plain(kind, value)
    if found is None:
        raise ValueError(f"{value!r} is no {kind}")
    return found


def _union(kind: Type, value: Any) -> bytes:
    for number, part in enumerate(kind.parts):
        try:
            return long_bytes(number) + default_bytes(part, value)
        except ValueError:
            continue
    raise ValueError(f"{value!r} is no {kind}")


def _member(kind: Type, name: str, value: dict[str, Any]) -> bytes:
    field = next(each for each in kind.fields if each.name == name)
    if name not in value and not field.filled:
        raise ValueError(f"{value!r} has no {name!r}")
    return default_bytes(field.type, value.get(name, field.default))


def _text(value: str) -> bytes:
    data = value.encode()
    return long_bytes(len(data)) + data


def _plain(kind: Type, value: Any) -> bytes | None:
    if kind.sort == "boolean":
        return bytes([value]) if isinstance(value, bool) else None
    if isinstance(value, str):
        return _words(kind, value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if kind.sort in _FRACTIONS:
        try:
            return struct.pack(_FRACTIONS[kind.sort], value)
        except OverflowError:
            return None
    low, high = {"int": INT, "long": LONG}.get(kind.sort, (1, 0))
    return long_bytes(value) if isinstance(value, int) and low <= value <= high else None


def _words(kind: Type, value: str) -> bytes | None:
    if kind.sort == "string":
        return _text(value)
    if kind.sort == "enum":
        return long_bytes(kind.symbols.index(value)) if value in kind.symbols else None
    if kind.sort not in ("bytes", "fixed"):
        return None
    try:
        data = value.encode("latin-1")
    except UnicodeEncodeError:
        return None
    if kind.sort == "bytes":
        return long_bytes(len(data)) + data
    return data if len(data) == kind.size else None
