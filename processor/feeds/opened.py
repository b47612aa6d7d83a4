"""One file, read in pieces: lines, files that formats have of their own, and Parquet."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, Final

from processor.feeds.base import RECORD_BYTES_MAX
from processor.feeds.listing import Found
from processor.feeds.parquet import ParquetFile
from processor.feeds.parts import Mark, Opened, Part, TornError
from processor.feeds.values import quote_of
from processor.formats.base import MARK, Format, SchemaFormat, shown
from processor.formats.csv import Csv
from processor.formats.json import Json
from processor.formats.parquet import Parquet

PIECE_BYTES: Final = 1024 * 1024
# Quotes that do not close within so much were never meant to; what has no room in a topic is left
# out as one record up to here.
QUOTED_BYTES_MAX: Final = 8 * RECORD_BYTES_MAX
MARK_BYTES: Final = 64 * 1024
_GZIP: Final = b"\x1f\x8b"
_BROKEN: Final = "it is packed by gzip, and broken"
_MARK: Final = MARK.encode()


def opened(path: Path, found: Found, form: Format | Parquet) -> Opened:
    """Open a file; raises ``OSError`` where it cannot be opened, `TornError` for one of no use."""
    if isinstance(form, Parquet):
        return ParquetFile(form, path, found.size)
    file = path.open("rb")
    try:
        packed = file.read(2) == _GZIP
        file.seek(0)
        if isinstance(form, SchemaFormat) and type(form).of_file is not SchemaFormat.of_file:
            with file:
                data = file.read(found.size)
            return _Whole(_unpacked(data) if packed else data, form)
    except BaseException:
        file.close()
        raise
    return _Lines(file, None if packed else found.size, form)


def _unpacked(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise TornError(f"{_BROKEN}: {error}") from error


class _Whole:
    """A file of a format's own, which cannot be read from its middle. A place counts records."""

    def __init__(self, data: bytes, form: SchemaFormat) -> None:
        try:
            self._values = form.of_file(data) or ()
        except ValueError as error:
            raise TornError(str(error)) from error

    def read(self, at: int, records: int, size: int) -> Part:
        """As the protocol has it."""
        values = self._values[at : at + records]
        fit = sum(total <= size for total in accumulate(map(len, values)))
        values = values[: max(1, fit)]
        end = at + len(values)
        return Part(values, None, end, end >= len(self._values))

    def goes_on(self, at: int, mark: Mark | None) -> bool:
        """No: it is written as a whole."""
        del at, mark
        return False

    def close(self) -> None:
        """Nothing is open."""


class _Lines:
    """Lines, or what quotes make of several. A place counts bytes, as they are unpacked.

    Of a file that is not packed no more is read than was there when it was found (``size``).
    """

    def __init__(self, file: IO[bytes], size: int | None, form: Format) -> None:
        self._packed = gzip.GzipFile(fileobj=file) if size is None else None
        self._file: IO[bytes] = self._packed or file  # type: ignore[assignment]
        self._under, self._size, self._form = file, size, form
        self._held, self._got = (0, b""), b""

    def read(self, at: int, records: int, size: int) -> Part:
        """As the protocol has it."""
        head = _headed(self._form) and at == 0
        data = self._from(at)
        want = min(size, PIECE_BYTES)
        while True:
            end = self._more(at + len(data), want - len(data)) if len(data) < want else False
            data += self._got
            self._got = b""
            mark = len(_MARK) if at == 0 and data.startswith(_MARK) else 0
            if head:
                mark = len(data) - len(data[mark:].lstrip(b"\r\n"))
            values, used = cut(data[mark:], self._form, records + head, end=end)
            if values or end:
                break
            want = max(PIECE_BYTES, 2 * len(data))
        if head and values:
            self._check_header(values[0])
        used += mark
        self._held = at + used, data[used:]
        last = data[max(0, used - MARK_BYTES) : used]
        done = end and used == len(data)
        values = values[head:]
        rows = (
            [value for value in values if value] if isinstance(self._form, Csv | Json) else values
        )
        passed = len(values) - len(rows)
        return Part(rows, None, at + used, done, [len(last), zlib.crc32(last)], passed)

    def goes_on(self, at: int, mark: Mark | None) -> bool:
        """As the protocol has it: whether the bytes before the place are what they were."""
        size, checksum = mark or (0, 0)
        try:
            self._file.seek(at - size)
            return zlib.crc32(self._file.read(size)) == checksum
        except (EOFError, OSError, zlib.error):
            return False

    def _from(self, at: int) -> bytes:
        """What is held of the file from a place on; it goes on being read behind that."""
        start, held = self._held
        if start <= at <= start + len(held):
            return held[at - start :]
        try:
            self._file.seek(at)
        except (EOFError, zlib.error) as error:
            raise TornError(f"{_BROKEN}: {error}") from error
        return b""

    def _more(self, at: int, want: int) -> bool:
        """Read on, from where the file stands; whether that was the end."""
        if self._size is not None:
            want = min(want, self._size - at)
            self._got = self._file.read(want)
            if len(self._got) < want:
                so_far = at + len(self._got)
                raise TornError(f"it has become shorter: {so_far} of {self._size} bytes")
            return at + want >= self._size
        try:
            self._got = self._file.read(want)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise TornError(f"{_BROKEN}: {error}") from error
        return len(self._got) < want

    def _check_header(self, value: bytes) -> None:
        form = self._form
        if isinstance(form, Csv) and not form.decode([value]).passed:
            raise TornError(
                f"it begins with {shown(value.decode(errors='replace'))}, which is not the header "
                f"{form.separator.join(form.columns)!r} that its format tells of"
            )

    def close(self) -> None:
        """Let go of it."""
        self._file.close()
        self._under.close()


def _headed(form: object) -> bool:
    return isinstance(form, Csv) and form.header


def cut(data: bytes, form: object, most: int, *, end: bool) -> tuple[list[bytes], int]:
    r"""Up to ``most`` whole records at the beginning of the data, and how many bytes they take.

    Unless it is the ``end``, what a record ends with has to be there: so where the data was cut
    makes no difference.

    >>> cut(b"a\nb\nc", None, 9, end=False), cut(b"a\nb\nc", None, 9, end=True)
    (([b'a', b'b'], 4), ([b'a', b'b', b'c'], 5))
    """
    whole = data if end else data[: data.rfind(b"\n") + 1]
    lines = whole.splitlines(keepends=True)
    quote = quote_of(form)
    if quote is None or quote not in whole:
        return whole.splitlines()[:most], sum(map(len, lines[:most]))
    values: list[bytes] = []
    at = used = 0
    while at < len(lines) and len(values) < most:
        taken = _taken(lines, at, form, end=end) if quote in lines[at] else 1
        if not taken:
            break
        value = b"".join(lines[at : at + taken])
        values.append(value.removesuffix(b"\n").removesuffix(b"\r"))
        used += len(value)
        at += taken
    return values, used


def _taken(lines: Sequence[bytes], at: int, form: object, *, end: bool) -> int:
    """How many lines a record with quotes takes; 0 where more has to be known.

    One where its quotes are never closed, or not within `QUOTED_BYTES_MAX`: it is bad alone.
    """
    if not isinstance(form, Csv):
        return 1
    rest = _near(lines, at)
    reader = csv.reader(rest, delimiter=form.separator, quotechar=form.quote, strict=True)
    try:
        next(reader)
    except csv.Error:
        return int(end or at + reader.line_num < len(lines))
    return reader.line_num


def _near(lines: Sequence[bytes], at: int) -> Iterator[str]:
    """The lines from one on, as far as quotes are looked after."""
    size = 0
    for number in range(at, len(lines)):
        size += len(lines[number])
        if size > QUOTED_BYTES_MAX and number > at:
            return
        yield lines[number].decode("latin-1")
