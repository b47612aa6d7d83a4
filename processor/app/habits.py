"""What people write of columns as in another system, and how Polars says it.

Expressions are Polars' own, and so are its errors: they say what is wrong, but not of the user's
line what is right.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from typing import Final

import polars as pl

import processor
from processor.api import ways

_TYPE: Final = 'cast to a type of Polars: pl.col("a").cast(pl.Int64)'
_LOGIC: Final = (
    'write (pl.col("a") > 1) & (pl.col("b") < 5), with | for or and ~ for not, and each side in '
    'parentheses; for a range pl.col("a").is_between(1, 5), for one of several '
    'pl.col("a").is_in([1, 5])'
)
_TEXT: Final = 'pl.col("a").str.'

EXPRESSION: Final[Mapping[str, str]] = {
    **dict.fromkeys(("as_", "name_as", "label", "rename"),
                    'pl.col("a").alias("b"), or with_columns(b=...)'),
    **dict.fromkeys(("isin", "isIn", "in_"), 'pl.col("a").is_in(["x", "y"])'),
    **dict.fromkeys(("isNull", "isnull", "isna"), 'pl.col("a").is_null()'),
    **dict.fromkeys(("isNotNull", "notnull", "notna"), 'pl.col("a").is_not_null()'),
    **dict.fromkeys(("isNaN", "isnan"), 'pl.col("a").is_nan()'),
    **dict.fromkeys(("fillna", "coalesce", "ifnull"), 'pl.col("a").fill_null(0)'),
    **dict.fromkeys(("astype", "as_type", "to"), _TYPE),
    **dict.fromkeys(("like", "rlike", "contains", "match"), f'{_TEXT}contains("x")'),
    **dict.fromkeys(("startswith", "starts_with", "startsWith"), f'{_TEXT}starts_with("x")'),
    **dict.fromkeys(("endswith", "ends_with", "endsWith"), f'{_TEXT}ends_with("x")'),
    **dict.fromkeys(("substr", "substring", "slice_text"), f"{_TEXT}slice(0, 3)"),
    **dict.fromkeys(("upper", "to_uppercase"), f"{_TEXT}to_uppercase()"),
    **dict.fromkeys(("lower", "to_lowercase"), f"{_TEXT}to_lowercase()"),
    **dict.fromkeys(("strip", "trim"), f"{_TEXT}strip_chars()"),
    **dict.fromkeys(("split",), f'{_TEXT}split(",")'),
    **dict.fromkeys(("length", "len_chars"), f"{_TEXT}len_chars()"),
    **dict.fromkeys(("between",), 'pl.col("a").is_between(1, 5)'),
    **dict.fromkeys(("getItem", "getField", "get_item"), 'pl.col("a").struct.field("b")'),
    **dict.fromkeys(("when", "otherwise"), "pl.when(condition).then(value).otherwise(value)"),
    **dict.fromkeys(("asc", "desc"), ways.FRAME["sort"]),
    **dict.fromkeys(("apply", "map"), 'pl.col("a").map_elements(function, return_dtype=...)'),
    **dict.fromkeys(("hour", "minute", "year", "month", "day", "date"),
                    'pl.col("a").dt., as in pl.col("a").dt.hour()'),
}  # fmt: skip
_SAID: Final = (
    (r"truth value of an Expr is ambiguous|argument of type 'Expr' is not", _LOGIC),
    (r"cannot parse input .* into Polars data type", _TYPE),
    (r"(float|int)\(\) argument must be .* not 'Expr'", _TYPE),
    (r"Expr\.is_in\(\) takes", 'give the values as one list: pl.col("a").is_in(["x", "y"])'),
    (r"Expr doesn't define __round__", 'pl.col("a").round(2)'),
    (r"'Expr' has no len\(\)", 'pl.col("a").str.len_chars(), or .list.len() of a list'),
    (r"'Expr' object is not subscriptable", 'pl.col("a").struct.field("b"), or .list.get(0)'),
    (r"passed to Expr\.__format__", 'pl.format("{} of {}", "a", "b")'),
    (r"'Aggregator'", 'compute with the result: agg(s=F.sum("a")).with_columns(y=pl.col("s") / 2)'),
)
_CALLED: Final = re.compile(
    r"(?P<name>\w+)(?:\.__init__)?\(\) (?:got an unexpected keyword argument '(?P<given>\w+)'"
    r"|missing \d+ required|takes .* positional arguments? but)"
)
_ARGUMENT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("delimiter", "delim", "sep", "field_delimiter"), "separator"),
    **dict.fromkeys(("null_value", "null_values", "nullValue", "na_values"), "nulls"),
    **dict.fromkeys(("quotechar", "quote_char", "quoteChar"), "quote"),
    **dict.fromkeys(("has_header", "include_header"), "header"),
    **dict.fromkeys(("timestampFormat", "timestamp_format", "dateFormat", "date_format"), "times"),
    **dict.fromkeys(("fields", "dtypes", "schema_overrides"), "columns"),
    **dict.fromkeys(("max_bytes", "maxCharsPerColumn", "max_length"), "value_bytes_max"),
}
_ELSEWHERE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("subject", "subject_name_strategy", "registry", "schema_registry",
                     "schema_registry_url", "auto_register_schemas", "schema_id"),
                    "a registry stands around a format: Registered(Avro(...), Registry(url))"),
    **dict.fromkeys(("mode", "on_error", "badRecordsPath", "columnNameOfCorruptRecord"),
                    "what becomes of a bad record, its topic's reader says: "
                    'read.kafka(..., on_error="dead_letter")'),
    **dict.fromkeys(("encoding", "charset"), "records are UTF-8; read others with Bytes()"),
}  # fmt: skip


_DRIVER: Final = "Topology, and from processor.testing import TestDriver"
_IMPORTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("F", "window", "count", "sum", "min", "max", "avg", "mean"), "functions as F"),
    **dict.fromkeys(("col", "lit", "expr", "when"), "Topology; columns are Polars' own: pl.col"),
    **dict.fromkeys(("KafkaSource", "KafkaConsumer", "Consumer", "Source", "Stream", "Application",
                     "App", "StreamsBuilder", "SparkSession", "StreamingContext", "Pipeline",
                     "Dataflow", "StreamExecutionEnvironment", "DataFrame", "KStream", "Agent"),
                    'Topology, and then Topology("rides").read.kafka("trips", format=...)'),
    **dict.fromkeys(("SchemaRegistry", "SchemaRegistryClient", "ConfluentAvro"),
                    "Avro, Registered, and then format=Registered(Avro(...))"),
    **dict.fromkeys(("TestDriver", "Driver", "TopologyTestDriver"), _DRIVER),
    **dict.fromkeys(("String", "StringFormat", "Plain"), "Text"),
}  # fmt: skip
_KIND: Final = re.compile(r"(Format|Serializer|Deserializer|Serde|Codec)$")


def remedy(error: BaseException) -> str | None:
    """What is right instead, where that is known.

    >>> remedy(AttributeError("no", name="isNull", obj=pl.col("a")))
    'pl.col("a").is_null()'
    >>> remedy(ValueError("no such window"))
    """
    if isinstance(error, AttributeError):
        return _attribute(error)
    if isinstance(error, TypeError):
        said = str(error)
        known = next((right for form, right in _SAID if re.search(form, said)), None)
        return known or _arguments(said)
    if isinstance(error, ImportError) and error.name == "processor":
        return _import(str(error))
    return None


def _import(said: str) -> str | None:
    """What there is, for a name that the package does not have.

    >>> _import("cannot import name 'KafkaSource' from 'processor' (...)")
    'from processor import Topology, and then Topology("rides").read.kafka("trips", format=...)'
    >>> _import("cannot import name 'Jsn' from 'processor' (...)")
    'from processor import Json'
    """
    found = re.search(r"cannot import name '(\w+)'", said)
    if found is None:
        return None
    name = found[1]
    there = {one.lower(): one for one in dir(processor)}
    near = difflib.get_close_matches(_KIND.sub("", name).lower(), there, n=1)
    way = _IMPORTS.get(name) or (there[near[0]] if near else None)
    return f"from processor import {way}" if way else f"there are {', '.join(there.values())}"


def _arguments(said: str) -> str | None:
    """What one of our callables takes, where an error says that it was called wrongly.

    >>> _arguments("Text.__init__() got an unexpected keyword argument 'max_bytes'")
    'write value_bytes_max for max_bytes; Text takes value_bytes_max, tombstones, empty'
    """
    called = _CALLED.search(said)
    ours = getattr(processor, called["name"], None) if called else None
    if called is None or ours is None:
        return None
    takes = list(inspect.signature(ours).parameters)
    whole = f"{called['name']} takes {', '.join(takes)}"
    given = called["given"] or ""
    if given in _ELSEWHERE:
        return f"{_ELSEWHERE[given]}; {whole}"
    meant = [_ARGUMENT.get(given, ""), *difflib.get_close_matches(given, takes, n=1)]
    right = next((name for name in meant if name in takes), None)
    return f"write {right} for {given}; {whole}" if right else whole


def _attribute(error: AttributeError) -> str | None:
    name, of = error.name or "", error.obj
    if of is None:
        # What ends a frame gives nothing back, and what is chained to it is an option of a run.
        known = ways.WRITER.get(name)
        return known and f"{known}; behind write.kafka(...) and write.console() comes nothing more"
    if of is pl and name in ("column", "columns", "c", "field"):
        return 'a column is written pl.col("a")'
    if of is pl:
        return _near(name, "pl", [n for n in dir(pl) if not n.startswith("_")])
    if isinstance(of, pl.Expr):
        near = _near(name, 'pl.col("a")', ways.public(pl.Expr))
        return EXPRESSION.get(name) or near
    if type(of).__module__.startswith("polars.expr."):
        return _near(name, "an expression's part", ways.public(type(of)))
    return None


def _near(name: str, of: str, there: list[str]) -> str | None:
    near = difflib.get_close_matches(name, there, n=1)
    where = f"{of}.{near[0]}" if near and of.startswith("pl") else near[0] if near else ""
    return f"did you mean {where}? Expressions are those of Polars" if near else None
