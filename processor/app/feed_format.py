"""Whether a file that is fed is of the format that its topic is read in, told before it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from processor.errors import SettingsError
from processor.formats.base import Format
from processor.formats.bytes import Bytes
from processor.formats.inferred import infer

LOOKED: Final = 20
"""So many of the first records are looked at."""
FEW: Final = 10
"""Of fewer records it may be meant that none can be read."""

_UNPACK: Final = "unpack it first: {} FILE"
_BEGINS: Final[Mapping[bytes, tuple[str, str]]] = {
    b"\x1f\x8b": ("compressed by gzip", _UNPACK.format("gunzip")),
    b"BZh": ("compressed by bzip2", _UNPACK.format("bunzip2")),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", _UNPACK.format("unzstd")),
    b"\xfd7zXZ\0": ("compressed by xz", _UNPACK.format("unxz")),
    b"PK\x03\x04": ("a zip archive, or a workbook", "unpack it, or save it as CSV in UTF-8"),
    b"PAR1": ("a Parquet file", 'write its rows as lines: pl.read_parquet(FILE).write_ndjson("f")'),
    b"Obj\x01": ("an Avro file", "only a topic that is read as Avro is fed with one"),
    b"ARROW1": ("an Arrow file", "only a topic that is read as Arrow is fed with one"),
    b"\xff\xfe": ("of UTF-16", "make UTF-8 of it: iconv -f utf-16 -t utf-8 FILE"),
    b"\xfe\xff": ("of UTF-16", "make UTF-8 of it: iconv -f utf-16 -t utf-8 FILE"),
}


def check_file(data: bytes, form: Format, what: str) -> None:
    """Raise `SettingsError` for a file that no lines can be taken of.

    >>> from processor import Json
    >>> check_file(bytes.fromhex("1f8b08"), Json(), "--feed in=f")
    Traceback (most recent call last):
    processor.errors.SettingsError: --feed in=f: the file is compressed by gzip
      remedy: unpack it first: gunzip FILE
    """
    if isinstance(form, Bytes):
        return
    for begin, (told, remedy) in _BEGINS.items():
        if data.startswith(begin) and told != _OWN.get(type(form).__name__):
            raise SettingsError(f"{what}: the file is {told}", remedy=remedy)


_OWN: Final = {"Avro": "an Avro file", "Arrow": "an Arrow file"}


def check_records(values: Sequence[bytes], form: Format, what: str, at: object) -> None:
    """Raise `SettingsError` where the first records are all of another format."""
    first = list(values[:LOOKED])
    if len(first) < FEW:
        return
    decoded = form.decode(first)
    if len(decoded.bad) < decoded.frame.height:
        return
    kind = form.describe().partition("(")[0]
    looks = infer([value for value in first if value])
    like = f"; they look like {looks.form.describe()}" if looks else "; they are no text"
    raise SettingsError(
        f"{what}: none of the first {len(first)} records can be read as {kind}, which {at} says, "
        f"the first by: {decoded.bad[0]}{_cut(like)}",
        remedy="give a file of the format that the topology reads, or correct the format there",
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_SHOWN: Final = 200
