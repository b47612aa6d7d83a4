"""Dead letters of every kind, in a log in memory."""

from __future__ import annotations

from processor.clock import ManualClock
from processor.connectors.memory.log import MemoryLog
from processor.connectors.memory.records import StoredMessage
from processor.engine.offline.redrive import Redrive, Route, Terms
from processor.operators.aside import origin

ROUTE = Route("rides", "dead", "in")
NOW_MS = 1_000_000


def log_with(letters=1, inputs=2, made=MemoryLog):
    log = made(ManualClock(NOW_MS))
    log.create({"dead": letters, "in": inputs})
    return log


def headers(
    offset, *, topic="in", partition=0, at_ms=500, stage="rides/decode", error="bad", own=()
):
    record = StoredMessage(topic, partition, offset, None, b"", at_ms, own)
    return origin(record, stage, {"error": error})


def group_headers(offset):
    return [header for header in headers(offset) if header[0] != "processor.timestamp"]


def late_headers(offset):
    record = StoredMessage("in", 0, offset, None, b"", 500, None)
    return origin(record, "rides/watermark", {"event-time": "2024-01-01", "behind": 5.0})


def put(log, told, *, letter=0, start=0):
    """One letter for each headers, with values v<n>; the headers say of which record."""
    values = [b"v%d" % n for n in range(start, start + len(told))]
    keys = [b"k%d" % n for n in range(start, start + len(told))]
    log.feed("dead", values, keys, partition=letter, headers=told)


def redrive(log, terms=None, route=ROUTE, probe=lambda _: None):
    return Redrive(route, terms or Terms(), log, log._broker.clock, timeout_s=0.0, probe=probe)


def sent(log):
    """The values in the input, sorted."""
    return sorted(message.value() for message in log.read("in"))
