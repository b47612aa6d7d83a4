"""Commands set the log up for their process; the next test finds it as it was."""

from __future__ import annotations

import logging

import pytest
import structlog

from processor import telling

NAMES = ("", "librdkafka", "redis", "urllib3", "asyncio")


@pytest.fixture(autouse=True)
def _logs_as_before():
    loggers = [logging.getLogger(name) for name in NAMES]
    handlers, levels = loggers[0].handlers[:], [logger.level for logger in loggers]
    yield
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    structlog.reset_defaults()
    telling.use_json(wanted=False)
