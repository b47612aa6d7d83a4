"""Which message of its file a Protobuf record is: numbers between the schema's and the record.

A message may be within another, so there are several, and their count before them. The first
message of a file, which most are, is a single 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from processor.formats.base import Decoded

Decode = Callable[[list[bytes]], Decoded]
_FIRST: Final = b"\0"


def index_of(path: Sequence[int]) -> bytes:
    r"""Where a message stands in its file, as a record has it: a count, and the numbers.

    >>> index_of([0]), index_of([1, 0])
    (b'\x00', b'\x04\x02\x00')
    """
    if list(path) == [0]:
        return _FIRST
    return b"".join(_varint(2 * number) for number in (len(path), *path))


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def path_in(payload: bytes) -> tuple[tuple[int, ...], int]:
    """The numbers of a message at a payload's beginning, and how many bytes they take.

    Raises `ValueError` where there are none.

    >>> path_in(bytes([0, 8, 1])), path_in(bytes([2, 0, 8, 1]))
    (((0,), 1), ((0,), 2))
    """
    numbers: list[int] = []
    at, wanted = 0, 1
    while len(numbers) < wanted:
        value = shift = 0
        while True:
            if at >= len(payload) or shift > 28:
                raise ValueError("it does not tell which message it is")
            value |= (payload[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if payload[at - 1] < 128:
                break
        if value & 1:
            raise ValueError("it does not tell which message it is")
        numbers.append(value >> 1)
        wanted = 1 + numbers[0]
    return tuple(numbers[1:]) or (0,), at


def behind(path: tuple[int, ...], file: Any, decode: Decode) -> Decode:
    """Decode what is behind a message's numbers; other messages are bad."""
    index = index_of(path)

    def decoded(payloads: list[bytes]) -> Decoded:
        if all(payload.startswith(index) for payload in payloads):
            return decode([payload[len(index) :] for payload in payloads])
        bad: dict[int, str] = {}
        bare: list[bytes] = []
        for row, payload in enumerate(payloads):
            bare.append(b"")
            try:
                found, size = path_in(payload)
            except ValueError as error:
                bad[row] = str(error)
                continue
            if found == path:
                bare[-1] = payload[size:]
            else:
                bad[row] = f"it is {_message(file, found)}, another message"
        found_all = decode(bare)
        return Decoded(found_all.frame, {**found_all.bad, **bad})

    return decoded


def _message(file: Any, path: Sequence[int]) -> str:
    try:
        found = list(file.message_types_by_name.values())[path[0]]
        for number in path[1:]:
            found = found.nested_types[number]
    except IndexError:
        return f"number {'.'.join(map(str, path))} of its file"
    return str(found.full_name)
