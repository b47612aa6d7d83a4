"""Arguments that are wrong, told at the line that gives them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, ParamSpec, TypeVar

import polars as pl

from processor.api.location import caller
from processor.errors import TopologyError
from processor.formats.base import Format
from processor.formats.registered import Registered
from processor.formats.registry import Part
from processor.model import duration
from processor.plan.nodes import Location

P = ParamSpec("P")
R = TypeVar("R")

_FAR: Final = timedelta(days=365_000)
_CONCAT: Final = 'with_columns(k=pl.concat_str("a", "b", separator="|")), and name that: "k"'


def told(usage: str, **ways: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function whose wrong arguments are a `TopologyError` at the user's line.

    Args:
        usage: how it is called rightly.
        ways: for arguments that it does not take, the nearest way.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        name = function.__name__

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TopologyError(
                    f"{caller()}: {name}: {error}", remedy=_way(kwargs, signature, ways, usage)
                ) from None
            return function(*args, **kwargs)

        return call

    return decorate


def _way(
    given: Mapping[str, Any], signature: inspect.Signature, ways: Mapping[str, str], usage: str
) -> str:
    """The way for the first argument that is not taken; how it is called, where that is no help."""
    unknown = [name for name in given if name not in signature.parameters]
    return next((ways[name] for name in unknown if name in ways), f"call it as in {usage}")


def text(value: object, what: str, at: Location, right: str) -> str:
    """The value, if it is text; ``right`` says what to write."""
    if isinstance(value, str):
        return value
    raise TopologyError(f"{at}: {what} is {shown(value)}", remedy=right)


def column(value: object, what: str, at: Location) -> str:
    """The value, if it is a column's name."""
    if isinstance(value, pl.Expr):
        right = 'compute it before, with_columns(k=expression), and give the name: "k"'
    elif isinstance(value, list | tuple | set):
        right = f"it is one column; of several make one: {_CONCAT}"
        if what == "key":
            right += "; or say how they become bytes: key_format=Json()"
    else:
        right = 'give a column\'s name, as in "user"'
    return text(value, what, at, right)


def takes(value: object, what: str, at: Location) -> str:
    """The value, if it names a column that takes what the log has of a record."""
    right = f'name the column that takes it: {what}="{what[0]}"'
    if what == "key" and isinstance(value, list | tuple | set):
        right += "; columns of what a key holds come by key_format=Json({...})"
    return text(value, what, at, right)


def event_time(value: object, at: Location) -> tuple[str | None, pl.Expr | None]:
    """The event time's column, and the expression that computes it, if it is one."""
    if value is None or not isinstance(value, pl.Expr):
        return (None if value is None else column(value, "event_time", at)), None
    name = value.meta.output_name(raise_if_undetermined=False)
    if name is None:
        raise TopologyError(
            f"{at}: event_time is several columns", remedy='it is one: event_time=pl.col("at")'
        )
    return name, None if value.meta.is_column_selection() else value


def columns(value: object, what: str, at: Location) -> tuple[str, ...]:
    """The value, if it is a column's name or several."""
    many = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)
    return tuple(column(one, what, at) for one in many)


def length(value: object, what: str, at: Location, right: str) -> timedelta:
    """A length of time, given as text or as a timedelta."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise TopologyError(f"{at}: {what} is {shown(value)}", remedy=f"say {right}")
    try:
        return duration.parse(value)
    except ValueError as error:
        raise TopologyError(f"{at}: {what}: {error}", remedy=f"say {right}") from error


def stretch(between: object, within: object, at: Location) -> tuple[timedelta, timedelta]:
    """From when to when, of a join; a text may begin with a minus."""
    right = 'between=("-10 minutes", "1 hour"), or within="10 minutes"'
    if (between is None) == (within is None):
        told = "both between and within: which of them counts?"
        if between is None:
            told = "neither between nor within: rows would be kept for ever"
        raise TopologyError(
            f"{at}: join with {told}",
            remedy=f"say how far apart in time a pair may be: {right}",
        )
    if between is None:
        far = _signed(within, "within", at)
        bounds = -far, far
    else:
        if not isinstance(between, tuple | list) or len(between) != 2:
            raise TopologyError(f"{at}: between is {shown(between)}", remedy=f"say {right}")
        lower, upper = (_signed(bound, "between", at) for bound in between)
        bounds = lower, upper
    if bounds[0] > bounds[1]:
        what = "within is negative" if between is None else "between begins behind its end"
        raise TopologyError(f"{at}: {what}", remedy=f"say {right}")
    if max(abs(bound) for bound in bounds) > _FAR:
        raise TopologyError(f"{at}: a pair may be more than 365000 days apart", remedy=right)
    return bounds


def _signed(value: object, what: str, at: Location) -> timedelta:
    text_ = value.strip() if isinstance(value, str) else ""
    if text_.startswith("-"):
        return -length(text_[1:], what, at, '"-10 minutes"')
    return length(value, what, at, '"10 minutes"')


def format_(value: object, at: Location, what: str = "format") -> None:
    """Refuse what is no format, the class of one among it."""
    if isinstance(value, type) or not all(
        hasattr(value, name) for name in ("decode", "encode", "describe", "columns")
    ):
        raise TopologyError(
            f"{at}: {what} is {shown(value)}",
            remedy='make one: Json({"user": pl.String}), Csv({"user": pl.String}), Text(), or of '
            'files Parquet({"user": pl.String}); to write, without columns: Json() or Parquet()',
        )


def one_row(value: object, at: Location, what: str) -> None:
    """Refuse what is no format, or one with many rows in a record, of which a key is one."""
    format_(value, at, what)
    if hasattr(value, "pack"):
        raise TopologyError(
            f"{at}: {what} is {shown(value)}, which holds many rows, and a key is one",
            remedy='say how a key is read and written: key_format=Json({"user": pl.String})',
        )


def on_error(value: str, at: Location) -> str:
    """The value, if it says what becomes of a record that cannot be read."""
    if value not in ("dead_letter", "fail", "skip"):
        raise TopologyError(f"{at}: on_error={value!r}", remedy="say dead_letter, fail or skip")
    return value


def of_topic(form: Format, topic: str, part: Part = "value") -> Format:
    """The format, as that of a topic's values or keys: a registry has its schemas by both."""
    return form.of(topic, part) if isinstance(form, Registered) else form


def keys(value: object, form: object, at: Location) -> str | tuple[str, ...] | None:
    """The value, if it is a column that a key is made of, or several with a format."""
    if form is not None:
        one_row(form, at, "key_format")
    if value is None or isinstance(value, str):
        return value
    if form is None:
        return column(value, "key", at)
    return columns(value, "key", at)


def header_columns(value: object, at: Location) -> str | tuple[tuple[str, str], ...] | None:
    """The value, if it is a column for all headers, or columns by the headers' names."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, Mapping) or not value:
        raise TopologyError(
            f"{at}: headers is {shown(value)}",
            remedy='give columns by the header\'s name, headers={"trace": "trace_id"}, or one '
            'column for all of them: headers="headers"',
        )
    return tuple(
        (
            text(name, "a header's name", at, 'it is text, as in headers={"trace": "trace_id"}'),
            column(of, f"the header {name!r}", at),
        )
        for name, of in value.items()
    )


def carried(value: object, at: Location, otherwise: str) -> None:
    """Refuse what is neither left out nor the word for a watermark that records carry."""
    if value not in (None, "carried"):
        raise TopologyError(
            f"{at}: watermark is {shown(value)}",
            remedy=f'it takes "carried", the watermark that records bring along; {otherwise}',
        )


def shown(value: object) -> str:
    """A value as it is named in a message, with its kind."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, pl.Expr):
        return f"the expression {value}"[:120]
    kind = type(value).__name__
    told = "None" if value is None else f"{value!r}"
    return f"{told[:80]} ({kind})" if value is not None else "None"
