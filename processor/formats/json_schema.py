"""JSON by a JSON Schema: its columns, and the rest of what it asks for.

`Json` does the reading and the writing. Beside it, records are looked at that columns alone cannot
judge: a number where the schema has text, a null where a member may only be missing. These are
found by column, and looked at one by one. Where objects may have no other members than those that
are named (``"additionalProperties": false``), every record is looked at. A schema with words that
no column says (``pattern``, ``minimum`` and so on) has every record checked by the library
``jsonschema``, which takes some 50 µs each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import numpy as np
import orjson
import polars as pl

from processor.errors import TopologyError
from processor.formats import declared, json_refs
from processor.formats.arguments import check_options
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    SchemaFormat,
    Values,
    WriteError,
    by_kind,
    describe_columns,
    in_order,
    shown,
)
from processor.formats.json import Json
from processor.formats.json_misfit import (
    Test,
    anywhere,
    misfit,
    parsed,
    strange_records,
    without_nulls,
)
from processor.formats.json_shape import Reader, Shape
from processor.formats.needs import needed
from processor.formats.times import ISO
from processor.model.location import Location

# A time of day has an offset in JSON Schema, and a column has none: it is UTC.
_FORMS: Final = (ISO, "%H:%M:%SZ", "%H:%M:%S")
_NO_TEXT: Final = r"^(?:-?[0-9]|true$|false$|[\[{])"


@dataclass(frozen=True)
class JsonSchema(SchemaFormat):
    """An object per record, as a JSON Schema has it.

    ``integer`` is Int64, ``number`` Float64, ``string`` String, with the format ``date-time`` a
    Datetime in UTC, with ``date`` or ``time`` a Date or Time, with an ``enum`` a `pl.Enum`; objects
    are `pl.Struct`, arrays `pl.List`. What is not ``required`` or may be null is optional. What may
    be of several types, or is an object without ``properties``, is text as it stands, which can be
    read and not written.

    Args:
        schema: the schema, as a mapping, as text, or as the path of a file.
        value_bytes_max: a longer value is bad without being looked at.
        references: the schemas that it refers to by name (``{"$ref": "customer.json"}``); nothing
            is loaded from elsewhere.

    Raises `TopologyError`, with the line that declares it, for what is no schema of an object.

    >>> form = JsonSchema({"type": "object", "required": ["id"],
    ...                    "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}})
    >>> form.decode([b'{"id": 1, "name": "a"}', b'{"id": 1, "name": 5}', b'{"name": "a"}']).bad
    {2: "column 'id': missing", 1: "column 'name': 5 is no text"}
    >>> form.encode(pl.DataFrame({"id": [1], "name": [None]}, schema_overrides={"name": pl.String}))
    [b'{"id":1}']
    """

    schema: Mapping[str, Any] | str | Path
    value_bytes_max: int = VALUE_BYTES_MAX
    references: Mapping[str, Any] = field(default_factory=dict)
    root: Mapping[str, Any] = field(init=False, repr=False, compare=False)
    shape: Shape = field(init=False, repr=False, compare=False)
    _others: Mapping[str, Any] = field(init=False, repr=False, compare=False)
    _json: Json = field(init=False, repr=False, compare=False)
    _strangers: Callable[[bytes], bool] | None = field(init=False, repr=False, compare=False)
    _errors: Callable[[Any], str | None] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = declared.told_at()
        check_options(self, at)
        root = _loaded(self.schema, at)
        others = {name: _loaded(other, at) for name, other in self.references.items()}
        _check_required(root, at)
        for schema in (root, *others.values()):
            _check_schema(schema, at)
        reader = Reader(root, others, at)
        shape = reader.shape()
        columns = {name: member.kind for name, member in shape.members}
        optional = {name for name, member in shape.members if member.null or not member.required}
        form = Json(
            columns, optional=frozenset(optional), times=_FORMS,
            value_bytes_max=self.value_bytes_max,
        )  # fmt: skip
        object.__setattr__(self, "root", root)
        object.__setattr__(self, "_others", others)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "_json", form)
        object.__setattr__(self, "_strangers", strange_records(shape))
        errors = _checker(root, others, at) if reader.words else None
        object.__setattr__(self, "_errors", errors)

    @property
    def others(self) -> Mapping[str, Any]:
        """The schemas that it refers to, by name."""
        return self._others

    @property
    def columns(self) -> Mapping[str, DataType]:
        """A column for each of the schema's properties."""
        return self._json.columns or {}

    @property
    def optional(self) -> frozenset[str]:
        """The columns that may be null."""
        return self._json.optional

    def decode(self, values: Values) -> Decoded:
        """Objects to columns: a row per value, in order; bad values are named, not raised."""
        decoded = self._json.decode(values)
        bad = dict(decoded.bad)
        check = self._misfit if self._errors is None else self._errors
        for row in self._doubtful(decoded, values):
            value = values[row]
            if row not in bad and value is not None:
                reason = check(parsed(value))
                if reason is not None:
                    bad[row] = reason
        return Decoded(decoded.frame, bad)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to objects; what is null and may only be missing is left out.

        Raises `WriteError` for a row that the schema does not allow, and `TopologyError` for
        columns that may be of any type.
        """
        free = [name for name, member in self.shape.members if _is_free(member)]
        if free:
            raise TopologyError(
                f"column {free[0]!r} may be of several types by its schema, or of none: what text "
                "is to be written as cannot be told",
                remedy="give it one type in the schema that is written",
            )
        frame = in_order(frame, self.columns)
        self._check(frame)
        left_out = [name for name, member in self.shape.members if not member.null]
        left_out = [name for name in left_out if frame[name].null_count()]
        kinds = None
        if left_out:
            nulls = [pl.col(name).is_null().cast(pl.Int8) for name in left_out]
            kinds = frame.select(pl.concat_str(nulls).rank("dense")).to_series()
        lines = by_kind(frame, kinds, self._encode)
        if self._errors is not None:
            for line in lines:
                reason = self._errors(parsed(line))
                if reason is not None:
                    raise WriteError(reason)
        return lines

    def records(self, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Rows as JSON, as they are."""
        return [orjson.dumps(row) for row in rows]

    def told(self) -> Any:
        """The schema, and those that it refers to."""
        return [self.root, self._others]

    def describe(self) -> str:
        """``json-schema(name type, …)``."""
        return f"json-schema({describe_columns(self.columns)})"

    def _encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows of which the same columns are null."""
        members = dict(self.shape.members)
        kept = [c for c in frame.get_columns() if members[c.name].null or not c.null_count()]
        if not kept:
            return [b"{}"] * frame.height
        rows = pl.DataFrame(kept)
        lines = self._writer(rows.columns).encode(rows)
        inside = self._rows(rows, _may_be_missing)
        for row in [] if inside is None else inside.arg_true().to_list():
            lines[row] = orjson.dumps(without_nulls(orjson.loads(lines[row]), self.shape))
        return lines

    def _writer(self, names: list[str]) -> Json:
        return Json({name: self.columns[name] for name in names}, times=_FORMS)

    def _check(self, frame: pl.DataFrame) -> None:
        for test, what in (
            (_is_missing, "null, and has to be there"),
            (_is_no_number, "no number, and JSON has no such value"),
        ):
            found = self._rows(frame, test)
            if found is not None and found.any():
                row = frame.row(int(found.arg_true()[0]), named=True)
                raise WriteError(f"a column is {what}: {shown(row)}")

    def _rows(self, frame: pl.DataFrame, test: Test) -> pl.Series | None:
        """The rows in which a test finds something; ``None``: none could be."""
        members = [(name, member) for name, member in self.shape.members if name in frame]
        found = [anywhere(pl.col(name), member, test) for name, member in members]
        there = [one for one in found if one is not None]
        return frame.select(pl.any_horizontal(there)).to_series() if there else None

    def _doubtful(self, decoded: Decoded, values: Values) -> list[int]:
        """The rows that have to be looked at."""
        if self._errors is not None:
            return list(range(len(values)))
        frame = decoded.frame
        doubt = np.zeros(frame.height, np.bool_)
        if self._strangers is not None:
            for row, value in enumerate(values):
                if value is not None and row not in decoded.bad:
                    doubt[row] = self._strangers(value)
        for test in (_is_unlike_text, _is_missing, _is_missing_or_null):
            found = self._rows(frame, test)
            if found is not None:
                doubt |= found.to_numpy()
        maybe = self._rows(frame, _may_be_missing)
        if maybe is not None and maybe.any():
            rows = (maybe & ~pl.Series(doubt)).arg_true()
            said = pl.Series(values, dtype=pl.Binary).gather(rows).bin.contains(b"null")
            doubt[rows.filter(said.fill_null(value=False)).to_numpy()] = True
        return [int(row) for row in np.flatnonzero(doubt)]

    def _misfit(self, cell: Any) -> str | None:
        return misfit(cell, self.shape, "")


def _is_unlike_text(cells: pl.Expr, shape: Shape) -> pl.Expr | None:
    """Text may have been a number, or an object, in the record."""
    if shape.free or not isinstance(shape.kind, pl.String | pl.Enum):
        return None
    return cells.cast(pl.String).str.contains(_NO_TEXT)


def _is_missing(cells: pl.Expr, shape: Shape) -> pl.Expr | None:
    """Null where there has to be a value."""
    return cells.is_null() if shape.required and not shape.null else None


def _is_missing_or_null(cells: pl.Expr, shape: Shape) -> pl.Expr | None:
    """Null where the member has to be there, be it null."""
    return cells.is_null() if shape.required and shape.null else None


def _may_be_missing(cells: pl.Expr, shape: Shape) -> pl.Expr | None:
    """Null where the member may be missing, and may not be null; or is an element of a list."""
    return cells.is_null() if not shape.required and not shape.null else None


def _is_no_number(cells: pl.Expr, shape: Shape) -> pl.Expr | None:
    return ~cells.is_finite() if shape.kind.is_float() else None


def _is_free(shape: Shape) -> bool:
    inside = [member for _, member in shape.members]
    return shape.free or any(map(_is_free, [*inside, *filter(None, [shape.element])]))


def _loaded(schema: object, at: Location) -> Mapping[str, Any]:
    """A schema from a mapping, text or a file; raises `TopologyError`."""
    where = "the schema"
    if isinstance(schema, str) and not schema.lstrip().startswith("{"):
        schema = Path(schema)
    try:
        if isinstance(schema, Path):
            where = str(schema)
            schema = schema.read_bytes()
        found = orjson.loads(schema) if isinstance(schema, str | bytes) else schema
    except OSError as error:
        raise TopologyError(
            f"{at}: JsonSchema: {where} cannot be read: {error.strerror}",
            remedy="give the path of a file that is there, or the schema itself",
        ) from error
    except orjson.JSONDecodeError as error:
        raise TopologyError(
            f"{at}: JsonSchema: {where} is no JSON: {error}", remedy="correct it"
        ) from error
    if not isinstance(found, Mapping):
        raise TopologyError(
            f"{at}: JsonSchema: {shown(found)} is no schema",
            remedy='give an object: {"type": "object", "properties": {...}}',
        )
    return found


def _check_schema(schema: Mapping[str, Any], at: Location) -> None:
    """Refuse what is no schema by its own rules, where the library that has them is installed."""
    if not isinstance(draft := schema.get("$schema", ""), str):
        raise TopologyError(
            f"{at}: JsonSchema: $schema is {shown(draft)}, and no address",
            remedy='say "https://json-schema.org/draft/2020-12/schema", or leave it out',
        )
    try:
        library = needed("jsonschema", "JsonSchema", at)
    except TopologyError:
        return  # what cannot be done without it says so
    kind = library.validators.validator_for(schema, default=library.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except library.SchemaError as error:
        place = error.json_path.removeprefix("$").lstrip(".")
        raise TopologyError(
            f"{at}: JsonSchema: this is no schema: {f'{place}: ' if place else ''}{error.message}",
            remedy="correct it",
        ) from error


def _checker(
    root: Mapping[str, Any], others: Mapping[str, Any], at: Location
) -> Callable[[Any], str | None]:
    """What is wrong with a value, by the library; raises `TopologyError` for what is no schema."""
    library = needed("jsonschema", "JsonSchema", at)
    referencing = needed("referencing", "JsonSchema", at)
    drafts = needed("referencing.jsonschema", "JsonSchema", at)
    kind = library.validators.validator_for(root, default=library.Draft202012Validator)
    said = {name.partition("#")[0] for name in json_refs.references([root, *others.values()])}
    for document in sorted(said - {"", root.get("$id")}):
        if json_refs.named(document, root, others) is None:
            raise TopologyError(
                f"{at}: JsonSchema: there is no {document!r} that the schema refers to",
                remedy="give it in references; nothing is loaded from elsewhere",
            )
    known = referencing.Registry().with_resources(
        (place, referencing.Resource.from_contents(other, default_specification=drafts.DRAFT202012))
        for name, other in others.items()
        for place in {name, urljoin(str(root.get("$id", "")), name)}
    )
    check = kind(root, registry=known.crawl())

    def wrong(value: Any) -> str | None:
        found = library.exceptions.best_match(check.iter_errors(value))
        if found is None:
            return None
        place = found.json_path.removeprefix("$").lstrip(".")
        what = found.message if len(found.message) <= 200 else f"{found.message[:200]}…"
        return f"column {place!r}: {what}" if place else what

    return wrong


def _check_required(schema: object, at: Location, place: str = "") -> None:
    """Refuse required members that no property describes: nothing would look for them."""
    if isinstance(schema, list):
        for part in schema:
            _check_required(part, at, place)
        return
    if not isinstance(schema, Mapping):
        return
    required, properties = schema.get("required"), schema.get("properties")
    if isinstance(properties, Mapping) and required is not None:
        where = f" of {place!r}" if place else ""
        if not isinstance(required, list):
            raise TopologyError(
                f"{at}: JsonSchema: required{where} is {required!r}",
                remedy=f"it is a list of names: {[required]!r}",
            )
        lost = next((name for name in required if name not in properties), None)
        if lost is not None and "patternProperties" not in schema:
            raise TopologyError(
                f"{at}: JsonSchema: {lost!r} is required{where}, and no property",
                remedy="describe it in properties, or leave it out of required",
            )
    for name, part in schema.items():
        if name not in _NO_OBJECTS:
            _check_required(part, at, name if name != "properties" else place)


# Values, and schemas beside the one that describes what they require.
_NO_OBJECTS: Final = (
    "enum", "const", "default", "examples", "allOf", "anyOf", "oneOf", "not", "if", "then", "else",
    "dependentSchemas", "dependencies",
)  # fmt: skip
