"""CloudEvents 1.0: an event's attributes around its data, or beside it in headers.

::

    structured    {"specversion": "1.0", "id": "a", "source": "/s", "type": "t", "data": {...}}
    binary        headers ce_specversion, ce_id, ce_source, ce_type, content-type; the value is data

The data is read and written by a format of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.arguments import check_options
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    Format,
    Values,
    WriteError,
    by_kind,
    shown,
)
from processor.formats.csv import Csv
from processor.formats.forms import form as time_form
from processor.formats.json import Json
from processor.formats.text import Text
from processor.formats.times import READ_FORMS, TIMESTAMP, parse_times, text_of
from processor.model.location import Location
from processor.model.log import Headers

Mode: TypeAlias = Literal["structured", "binary"]

REQUIRED: Final = "id", "source", "type"
VERSION: Final = "1.0"
STRUCTURED: Final = "application/cloudevents+json"
_EVENTS: Final = "application/cloudevents"
_OPTIONAL: Final = "subject", "time", "datacontenttype", "dataschema"
_NOT_ATTRIBUTES: Final = "data", "data_base64", "specversion"
_NAME: Final = re.compile(r"[a-z0-9]+")
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_READ: Final = tuple(dict.fromkeys(["%Y-%m-%dT%H:%M:%S%.f%z", *READ_FORMS]))
_PREFIX: Final = "ce_"
_TYPE: Final = "content-type"


@dataclass(frozen=True)
class CloudEvents:
    """Events with their attributes and their data as columns.

    A record is bad when it is no event of version 1.0, has no ``id``, ``source`` or ``type``, or
    its data is bad. Attributes are text, but for ``time``, a Datetime in UTC; those that an event
    has not are null.

    Args:
        data: the format of the data; written, its columns are those that are no attributes.
        mode: ``structured``: one JSON object; ``binary``: attributes in headers. What is written
            has the header ``content-type`` in either.
        attributes: the column of each attribute that is wanted: ``id``, ``source``, ``type``,
            ``subject``, ``time``, ``datacontenttype``, ``dataschema``, and extensions.
        constants: attributes that are the same in all events that are written.
        required: attributes besides ``id``, ``source`` and ``type`` without which a record is bad.
        value_bytes_max: a longer value is bad without being looked at.

    Raises `TopologyError`, with the line that declares it, for what cannot be an attribute.

    >>> form = CloudEvents(Json({"n": pl.Int64}), attributes={"id": "id", "type": "kind"})
    >>> event = b'{"specversion":"1.0","id":"a","source":"/s","type":"t","data":{"n":1}}'
    >>> form.decode([event]).frame.row(0, named=True)
    {'id': 'a', 'kind': 't', 'n': 1}
    >>> form.decode([b'{"specversion":"1.0","id":"a"}']).bad
    {0: "attribute 'source': null or missing"}
    """

    data: Format
    mode: Mode = "structured"
    attributes: Mapping[str, str] = field(
        default_factory=lambda: {"id": "id", "source": "source", "type": "type", "time": "time"}
    )
    constants: Mapping[str, str] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    value_bytes_max: int = VALUE_BYTES_MAX
    _outer: Json = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = declared.told_at()
        check_options(self, at)
        declared.check_bytes("CloudEvents", self.value_bytes_max, at)
        self._check(at)
        data: dict[str, DataType] = {"data": pl.String}
        together = self._together()
        if together is not None:
            data = {"data": pl.Struct(together._raw)} if together.columns else {}  # noqa: SLF001 - the data is a part of one value
        names = dict.fromkeys(["specversion", *REQUIRED, *self.attributes], pl.String)
        columns: dict[str, DataType] = {**names, **data, "data_base64": pl.String}
        outer = Json(columns, optional=frozenset(columns), value_bytes_max=self.value_bytes_max)
        object.__setattr__(self, "_outer", outer)

    def _together(self) -> Json | None:
        """The format of the data, where it is read with the event; others take it as it stands."""
        form = self.data
        if not isinstance(form, Json) or form._extras is not None:  # noqa: SLF001 - as below
            return None
        return form if form.duplicates == "first" else None

    def _check(self, at: Location) -> None:
        who = f"{at}: CloudEvents:"
        is_format = hasattr(self.data, "decode") and hasattr(self.data, "describe")
        one_row = is_format and not hasattr(self.data, "pack")
        if isinstance(self.data, type) or not one_row:
            raise TopologyError(
                f"{who} {shown(self.data)} is no format of data",
                remedy='say how the data is read: CloudEvents(Json({"user": pl.String}))',
            )
        if self.mode not in ("structured", "binary"):
            raise TopologyError(f"{who} mode={self.mode!r}", remedy="say 'structured' or 'binary'")
        for option in ("attributes", "constants"):
            given: object = getattr(self, option)
            if not isinstance(given, Mapping):
                raise TopologyError(
                    f"{who} {option}={shown(given)} gives no texts by the attribute's name",
                    remedy=f'say {option}={{"source": "origin"}}',
                )
            for name, text in given.items():
                _check_attribute(f"{who} {option}:", name, text)
        columns = [*self.attributes.values(), *(self.data.columns or ())]
        twice = next((name for name in columns if columns.count(name) > 1), None)
        if twice is not None:
            raise TopologyError(
                f"{who} {twice!r} stands for two columns",
                remedy='call the attribute\'s otherwise: attributes={"id": "event_id"}',
            )
        declared.check_names("CloudEvents", self.required, self.attributes, at)
        time = self.constants.get("time")
        if time is not None and parse_times(pl.Series([time]), READ_FORMS).null_count():
            raise TopologyError(
                f"{who} constants={{'time': {time!r}}} is no time",
                remedy='say it as in "2026-05-01T09:10:00Z", or leave it out',
            )
        both = next((name for name in self.attributes if name in self.constants), None)
        if both is not None:
            kept = {n: c for n, c in self.attributes.items() if n not in self.constants}
            raise TopologyError(
                f"{who} {both!r} is a column and a constant",
                remedy="leave it out of constants; or name the attributes that are columns "
                f"without it: attributes={shown(kept)}",
            )

    @property
    def reads_headers(self) -> bool:
        """Whether a value alone is no event."""
        return self.mode == "binary"

    @property
    def columns(self) -> Mapping[str, DataType] | None:
        """Those of the attributes, then those of the data; ``None`` where these are not known."""
        if not self.data.columns:
            return None
        return {**self._attribute_types(), **self.data.columns}

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that are never null: an event has these attributes."""
        names = {*REQUIRED, *self.required}
        return tuple(column for name, column in self.attributes.items() if name in names)

    @property
    def optional(self) -> frozenset[str]:
        """The columns that may be null."""
        attributes = frozenset(self.attributes.values()).difference(self.needed)
        return attributes | frozenset(getattr(self.data, "optional", ()))

    def decode(self, values: Values) -> Decoded:
        """Structured events to columns; values of binary events say too little, and are all bad."""
        if self.mode == "binary":
            return self.decode_with(values, [()] * len(values))
        read = self._outer.decode(values)
        bad = dict(read.bad)
        attributes = self._attributes(read.frame, bad)
        data = self._data(read.frame, bad)
        return Decoded(pl.DataFrame([*attributes, *data.get_columns()]), bad)

    def decode_with(self, values: Values, headers: Sequence[Headers]) -> Decoded:
        """Binary events to columns: each value with the headers of its record."""
        found = [dict(each) for each in headers]
        bad: dict[int, str] = {}
        names = dict.fromkeys(["specversion", *REQUIRED, *self.attributes, "datacontenttype"])
        texts = {name: _texts(name, found, bad) for name in names}
        kinds = texts["datacontenttype"]
        for row in kinds.str.starts_with(_EVENTS).fill_null(value=False).arg_true():
            bad.setdefault(row, f"a structured event: its {_TYPE} is {shown(kinds[row])}")
        attributes = self._attributes(pl.DataFrame(texts), bad)
        read = self.data.decode(values)
        bad |= {row: reason for row, reason in read.bad.items() if row not in bad}
        return Decoded(pl.DataFrame([*attributes, *read.frame.get_columns()]), bad)

    def encode(self, frame: pl.DataFrame) -> Sequence[bytes | None]:
        """Rows to values: whole events, or in binary mode their data.

        Raises `WriteError` for an attribute that is an empty text, and what the data's format does.
        """
        self._check_written()
        written = self._written(frame)
        data = self.data.encode(frame.drop(self.attributes.values()))
        if self.mode == "binary" or frame.is_empty():
            return data
        if isinstance(self.data, Json):
            begun = pl.Series(_objects(written), dtype=pl.Binary).cast(pl.String)
            inner = pl.lit(pl.Series(data, dtype=pl.Binary).cast(pl.String))
            whole = pl.concat_str(
                pl.lit(begun).str.strip_suffix("}"), pl.lit(',"data":'), inner, pl.lit("}")
            )
            return pl.select(whole.cast(pl.Binary)).to_series().to_list()
        column = pl.Series("data", data, dtype=pl.Binary)
        if isinstance(self.data, Csv | Text):
            return _objects(written.with_columns(column.cast(pl.String)))
        base64 = column.bin.encode("base64").alias("data_base64")
        return _objects(written.with_columns(base64))

    def write_headers(self, frame: pl.DataFrame) -> list[Headers]:
        """The headers of the same rows' records."""
        if self.mode == "structured":
            return [[(_TYPE, f"{STRUCTURED}; charset=UTF-8".encode())]] * frame.height
        written = self._written(frame)
        names = [_TYPE if name == "datacontenttype" else _PREFIX + name for name in written.columns]
        cells = [column.cast(pl.Binary).to_list() for column in written.get_columns()]
        return [
            [(name, cell) for name, cell in zip(names, row, strict=True) if cell is not None]
            for row in zip(*cells, strict=True)
        ]

    def describe(self) -> str:
        """``cloudevents(mode, attributes, data)``."""
        told = [f"{name} as {column}" for name, column in self.attributes.items()]
        told += [f"{name} {text!r}" for name, text in self.constants.items()]
        told += [f"{name} required" for name in sorted(self.required)]
        return f"cloudevents({', '.join([self.mode, *told, self.data.describe()])})"

    def _attribute_types(self) -> dict[str, DataType]:
        return {
            column: TIMESTAMP if name == "time" else pl.String()
            for name, column in self.attributes.items()
        }

    def _attributes(self, texts: pl.DataFrame, bad: dict[int, str]) -> list[pl.Series]:
        """The columns of attributes; a row that is no event of this version is bad."""
        version = texts["specversion"]
        for row in (version.ne_missing(pl.Series([VERSION]))).arg_true():
            if version[row] is not None:
                bad.setdefault(row, f"version {shown(version[row])}, where {VERSION} is read")
        for name in ("specversion", *REQUIRED, *sorted(self.required)):
            cells = texts[name]
            for row in (cells.is_null() | (cells == "").fill_null(value=False)).arg_true():
                why = "null or missing" if cells[row] is None else "empty"
                bad.setdefault(row, f"attribute {name!r}: {why}")
        made: list[pl.Series] = []
        for name, column in self.attributes.items():
            text = texts[name]
            if name == "time":
                times = parse_times(text, _READ, TIMESTAMP)
                for row in (times.is_null() & text.is_not_null()).arg_true():
                    bad.setdefault(row, f"attribute 'time': {shown(text[row])} is no time")
                text = times
            made.append(text.alias(column))
        return made

    def _data(self, read: pl.DataFrame, bad: dict[int, str]) -> pl.DataFrame:
        encoded = read["data_base64"]
        for row in (encoded.is_not_null() & read["data"].is_not_null()).arg_true():
            bad.setdefault(row, "it has both data and data_base64")
        together = self._together()
        if together is None:
            given = read["data"].cast(pl.Binary)
            if encoded.null_count() < len(encoded):
                raw = encoded.str.decode("base64", strict=False)
                given = given.zip_with(given.is_not_null(), raw)
            decoded = self.data.decode(given.to_list())
            _told(decoded.bad, "data: ", bad)
            return decoded.frame
        wrong: dict[int, str] = {}
        members, none = read["data"].struct.unnest(), [b""] * read.height
        frame = together._finish(members, {}, none, wrong)  # noqa: SLF001 - as above
        rows = encoded.is_not_null().arg_true().to_list()
        if rows:
            given = encoded.gather(rows).str.decode("base64", strict=False)
            inner = together.decode(given.to_list())
            for row in rows:
                wrong.pop(row, None)
            _told({rows[row]: reason for row, reason in inner.bad.items()}, "data_base64: ", bad)
            order = pl.Series(range(frame.height), dtype=pl.UInt32)
            order = order.scatter(rows, range(frame.height, frame.height + len(rows)))
            frame = pl.concat([frame, inner.frame])[order]
        _told(wrong, "data: ", bad)
        return frame

    def _check_written(self) -> None:
        lacking = [n for n in REQUIRED if n not in self.attributes and n not in self.constants]
        if lacking:
            raise TopologyError(
                f"an event has no {' and no '.join(lacking)}",
                remedy='name columns, attributes={"id": "id"}, or what is the same in all events, '
                'constants={"source": "/shop", "type": "order.paid"}',
            )

    def _written(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The attributes as text, by their own names; null where an event has none."""
        made = [_constant("specversion", VERSION, frame.height)]
        for name, column in self.attributes.items():
            cells = frame[column]
            if name == "time":
                cells = text_of(cells.cast(TIMESTAMP), time_form(_TIME))
            cells = cells.cast(pl.String)
            if (cells == "").any():
                raise WriteError(f"column {column!r} is empty text, and no attribute is")
            made.append(cells.alias(name))
        for name, text in self.constants.items():
            made.append(_constant(name, text, frame.height))
        if "datacontenttype" not in {*self.attributes, *self.constants}:
            made.append(_constant("datacontenttype", _content_type(self.data), frame.height))
        return pl.DataFrame(made)


def _objects(rows: pl.DataFrame) -> list[bytes]:
    """Rows as JSON, without what is null in them."""
    nulls = [column.name for column in rows.get_columns() if column.null_count()]
    if not nulls:
        return Json().encode(rows)
    absent = pl.concat_str([pl.col(name).is_null().cast(pl.Int8) for name in nulls])
    kinds = rows.select(absent.rank("dense")).to_series()
    return by_kind(rows, kinds, lambda some: Json().encode(some[_there(some)]))


def _there(rows: pl.DataFrame) -> list[str]:
    return [column.name for column in rows.get_columns() if not column.null_count()]


def _check_attribute(who: str, name: object, text: object) -> None:
    if not isinstance(text, str) or not text:
        raise TopologyError(f"{who} {name!r} is {shown(text)}", remedy="give text")
    if name in _NOT_ATTRIBUTES or not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TopologyError(
            f"{who} {name!r} is no attribute",
            remedy=f"there are {', '.join((*REQUIRED, *_OPTIONAL))}, and extensions of lower-case "
            "letters and digits",
        )


def _content_type(form: Format) -> str:
    known = {Json: "application/json", Csv: "text/csv", Text: "text/plain"}
    return next(
        (kind for of, kind in known.items() if isinstance(form, of)), "application/octet-stream"
    )


def _constant(name: str, text: str, count: int) -> pl.Series:
    return pl.repeat(text, count, dtype=pl.String, eager=True).alias(name)


def _texts(
    name: str, headers: Sequence[Mapping[str, bytes | None]], bad: dict[int, str]
) -> pl.Series:
    """The text of an attribute in each record's headers."""
    header = _header(name)
    cells = [each.get(header) for each in headers]
    try:
        return pl.Series(name, cells, dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series(name, list(_each(name, cells, bad)), dtype=pl.String)


def _header(name: str) -> str:
    """The header that an attribute is in.

    >>> _header("id"), _header("datacontenttype")
    ('ce_id', 'content-type')
    """
    return _TYPE if name == "datacontenttype" else _PREFIX + name


def _each(name: str, cells: Sequence[bytes | None], bad: dict[int, str]) -> Iterable[str | None]:
    for row, cell in enumerate(cells):
        try:
            yield None if cell is None else cell.decode()
        except UnicodeDecodeError:
            bad[row] = f"attribute {name!r}: its header is not UTF-8"
            yield None


def _told(found: Mapping[int, str], where: str, bad: dict[int, str]) -> None:
    for row, reason in found.items():
        bad.setdefault(row, where + reason)
