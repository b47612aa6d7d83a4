"""Records whose headers and keys are of any bytes, on a real broker."""

from __future__ import annotations

import json
from itertools import cycle

import pytest
from confluent_kafka import Consumer, TopicPartition

from processor.model.headers import UNREADABLE, headers_of
from tests.integration.any_bytes import Sender
from tests.integration.running import ENRICH, bench, enriched, read_enriched, trips, until
from tests.integration.test_verify import _verify

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

GOOD = [(b"trace", b"1"), (b"", b""), (b"none", None), ("größe".encode(), b"\xff\x00")]
# What is sent, what can be read of it, and what is said of the rest.
CASES = [
    (GOOD, 4, None),
    ([*GOOD[:2], (b"\xff\xfename", b"x"), *GOOD[2:]], 4, b"1 of 5 headers left out: the name "),
    ([(b"\x80", b"x")], 0, b"1 of 1 headers left out: the name b'\\x80' is not UTF-8"),
    ([(b"\xed\xa0\x80", None), *GOOD, (b"\xff", b"")], 4, b"2 of 6 headers left out: the name "),
    ([], 0, None),
]
KEYS = [b"\xff\xfe\x00key", b"", None, b"plain"]
KEPT = "tests.sweep.topologies:kept"
WINDOWED = "tests.sweep.topologies:windowed"


def _readable(sent):
    names = [name for name, _ in GOOD]
    return [(name.decode(), value) for name, value in sent if name in names]


def _sent(bench, topic, values, good):
    """Sends bad records with headers of all the cases, a good one behind each; what was sent."""
    sent = {}
    kinds, keys = cycle(CASES), cycle(KEYS)
    with Sender(bench.servers) as sender:
        for value, neighbour in zip(values, good, strict=True):
            case, key = next(kinds), next(keys)
            sent[2 * len(sent)] = value, key, case
            sender.send(topic, value, key=key, headers=case[0])
            sender.send(topic, neighbour, key=b"k1", headers=case[0])
    return sent


def _as_sent(found, sent, topic, stage):
    """Every record is there once, with its bytes, its key and the headers that can be read."""
    assert len(found) == len(sent)
    for message in found:
        headers = message.headers()
        told = {k: v for k, v in headers if k.startswith("processor.")}
        value, key, (given, count, says) = sent.pop(int(told["processor.offset"]))
        assert (message.value(), message.key()) == (value, key)
        own = [header for header in headers if not header[0].startswith("processor.")]
        assert own == _readable(given)
        assert len(own) == count
        assert told["processor.topic"] == topic.encode()
        assert told["processor.stage"] == stage.encode()
        assert told.get(UNREADABLE, b"").startswith(says or b"")
        assert (UNREADABLE in told) == (says is not None)


def test_a_bad_record_with_headers_that_cannot_be_read_is_a_dead_letter_like_any_other(bench):
    bench.create()
    lines = trips(60)
    sent = _sent(bench, bench.trips, [b"bad %d \xff" % n for n in range(60)], lines)
    bench.run(ENRICH, "--until-caught-up").succeeds()
    _as_sent(bench.topics.read(bench.dead), sent, bench.trips, f"{bench.app(ENRICH)}/decode")
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)
    done = _verify(bench, ENRICH)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_late_record_with_headers_that_cannot_be_read_goes_to_its_topic_like_any_other(bench):
    late, hours, app = f"late-{bench.id}", f"hours-{bench.id}", f"hours-{bench.id}"
    bench.create()
    bench.topics.create(late, hours)
    ride = '{"k":"k1","t":"2024-01-%02dT12:00:00","v":%d}'
    good = [(ride % (20, n)).encode() for n in range(60)]
    with Sender(bench.servers) as sender:
        sender.send(bench.trips, good[0], key=b"k1")
    sent = _sent(bench, bench.trips, [(ride % (1, n)).encode() for n in range(60)], good)
    sent = {offset + 1: what for offset, what in sent.items()}
    sets = {"app": app, "input": bench.trips, "output": hours, "dead": bench.dead, "late": late}
    args = ("--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url)
    given = [part for name, value in sets.items() for part in ("--set", f"{name}={value}")]
    bench.start(WINDOWED, "--until-caught-up", *args, *given).succeeds()
    _as_sent(bench.topics.read(late), sent, bench.trips, f"{app}/watermark")
    assert json.loads(bench.topics.read(hours)[-1].value())["n"] == 61
    assert not bench.topics.read(bench.dead)


def test_headers_may_be_asked_for_again_and_by_others(bench):
    bench.topics.create(bench.trips, partitions=1)
    with Sender(bench.servers) as sender:
        for _ in range(40):
            sender.send(bench.trips, b"x", headers=CASES[1][0])
    client = Consumer({"bootstrap.servers": bench.servers, "group.id": bench.id, "log_level": 2})
    client.assign([TopicPartition(bench.trips, 0, 0)])
    messages = []
    until(lambda: messages.extend(client.consume(40, 1)) or len(messages) >= 40, "40 records")
    for message in messages:
        first = headers_of(message)
        assert [name for name, _ in first] == ["trace", "", "none", "größe", UNREADABLE]
        assert headers_of(message) == first
        assert message.headers() == first
    client.close()


def test_key_headers_and_timestamp_are_kept_as_they_came_but_for_headers_that_cannot_be_read(bench):
    output = f"kept-{bench.id}"
    bench.create()
    bench.topics.create(output)
    sent = {}
    with Sender(bench.servers) as sender:
        for number, (headers, _, says) in enumerate(CASES * 4):
            key = [None, b"k%d" % number, b""][number % 3]
            sent[b"%d" % number] = key, headers, says
            sender.send(bench.trips, b"%d" % number, key=key, headers=headers)
    came = {m.value(): m.timestamp() for m in bench.topics.read(bench.trips)}
    sets = {"app": output, "input": bench.trips, "output": output}
    args = ("--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url)
    given = [part for name, value in sets.items() for part in ("--set", f"{name}={value}")]
    bench.start(KEPT, "--until-caught-up", "--create-topics", "1", *args, *given).succeeds()
    found = bench.topics.read(output)
    assert {message.value() for message in found} == set(sent)
    for message in found:
        key, headers, says = sent.pop(message.value())
        assert (message.key(), message.timestamp()) == (key, came[message.value()])
        kept = list(message.headers() or [])
        told = [value for name, value in kept if name == UNREADABLE]
        assert [header for header in kept if header[0] != UNREADABLE] == _readable(headers)
        assert [value.startswith(says) for value in told] == [True] * (says is not None)
