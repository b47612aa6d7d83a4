"""Lines of the log, where the process is a user's: they go to Python's own `logging`.

The command line sets the log up for the whole process (`processor.cli.logs`). Here the program has
done so, or not at all: then Python shows warnings on standard error.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import structlog

from processor import masking


def to_logging() -> None:
    """Have events logged by the logger ``processor``, unless the program has set structlog up.

    >>> to_logging()
    >>> structlog.is_configured()
    True
    >>> structlog.reset_defaults()
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            _masked,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _masked(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """No line shows a secret."""
    for name, value in event.items():
        if masking.secret_name(name) and value is not None:
            event[name] = masking.MASK
        elif isinstance(value, str):
            event[name] = masking.masked(value)
    return event
