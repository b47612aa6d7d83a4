"""What a test driver runs and feeds with."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor, Future
from typing import Any

import orjson

from processor.formats.base import Format, SchemaFormat


class Inline(Executor):
    """Runs what is submitted at once, in the caller's thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call, and return the finished future."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - a future carries whatever was raised
            future.set_exception(error)
        return future


def encoded(form: Format | None, value: str | bytes | Mapping[str, Any] | None) -> bytes | None:
    """A record's bytes, as a producer of a topic of this format writes it."""
    if isinstance(form, SchemaFormat) and isinstance(value, Mapping):
        return form.records([value])[0]
    return None if value is None else as_bytes(value)


def as_bytes(value: str | bytes | Mapping[str, Any]) -> bytes:
    """Text as UTF-8, mappings as JSON."""
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else orjson.dumps(value)
