"""The log: one line per event on standard error, as JSON for machines or as text for people.

Everything goes the same way, also what libraries say through `logging`. Secrets are masked
(`processor.masking`), and by the name of their field.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import orjson
import structlog

from processor import masking, telling

if TYPE_CHECKING:
    from structlog.typing import Processor

LogFormat: TypeAlias = Literal["auto", "json", "text"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

KAFKA_LOGGER: Final = "librdkafka"
"""Clients get ``logger=logging.getLogger(KAFKA_LOGGER)``, else librdkafka prints by itself."""
# The registry's client takes whichever of the two there is.
_OF_THE_REGISTRY: Final = ("httpx", "httpcore", "httpx2", "httpcore2")


def configure(log_format: LogFormat = "auto", level: LogLevel = "info") -> None:
    """Set the log up; a second call replaces the first.

    ``auto`` writes text to a terminal and JSON to anything else. With ``json`` what is told beside
    the log is JSON too. There are no colours where ``NO_COLOR`` is set.

    >>> configure("json", "warning")
    >>> structlog.get_logger().info("batch committed", records_in=500)  # below the level
    """
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    telling.use_json(wanted=log_format == "json")
    colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    number = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,  # the trace becomes text, so that it is masked too
        mask,
    ]
    last: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=colours,
            exception_formatter=structlog.dev.plain_traceback,  # what `format_exc_info` asks for
        )
        if text
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # librdkafka warns of every broker that is away for a moment, and httpx tells of every request
    # to a schema registry; the engine tells what matters.
    quiet = logging.DEBUG if level == "debug" else logging.ERROR
    for name in (KAFKA_LOGGER, "redis", *_OF_THE_REGISTRY, "urllib3", "asyncio"):
        logging.getLogger(name).setLevel(max(quiet, number))


def mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask secrets in an event, in nested values too.

    >>> mask(None, "info", {"password": "x", "at": "redis://me:x@host/0"})
    {'password': '***', 'at': 'redis://***@host/0'}
    """
    for name, value in event.items():
        event[name] = _masked(name, value)
    return event


def _masked(name: str, value: Any) -> Any:
    if masking.secret_name(name) and value is not None:
        return masking.MASK
    if isinstance(value, str):
        return masking.masked(value)
    if isinstance(value, dict):
        return {key: _masked(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(name, inner) for inner in value]
    return value


def _json(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
