"""Makes a client, and says what to do about settings that it does not take."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from confluent_kafka import KafkaException, Producer

from processor.connectors.kafka.errors import reason
from processor.errors import LogError
from processor.refusals.kafka import ALIASES, ROLES, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Answer = TypeVar("Answer")


def made(make: Callable[[], Answer]) -> Answer:
    """What ``make`` makes; raises `LogError` where the client takes its settings for wrong."""
    try:
        return make()
    except KafkaException as problem:
        error = reason(problem)
        said = error.str() if error is not None else str(problem)
        raise LogError(f"Kafka client: {said}", remedy=_correction(said)) from problem
    except (TypeError, ValueError) as problem:  # it wants a Python object where text was given
        raise LogError(f"Kafka client: {problem}", remedy=_correction("")) from problem


def check(extra: Mapping[str, str]) -> None:
    """See that the client knows these settings, where none is made; no file of theirs is opened.

    >>> check({"linger.ms": "9", "consumer.fetch.wait.max.ms": "5"})
    >>> check({"fetch.wait.max.msx": "5"})
    Traceback (most recent call last):
    processor.errors.LogError: Kafka client: No such configuration property: "fetch.wait.max.msx"
      remedy: did you mean fetch.wait.max.ms?
    """
    for name, value in extra.items():
        plain = name.partition(".")[2] if name.partition(".")[0] in ROLES else name
        made(partial(Producer, {plain: value, "log_level": 0}))


_ELSEWHERE: Final = {
    "startingoffsets": "--from earliest, latest or a time",
    "startingoffsetsbytimestamp": "--from TIME",
    "maxoffsetspertrigger": "--batch-records-max",
    "failondataloss": "--on-checkpoint-loss; input that is gone stops the run by name",
    "subscribe": 'read.kafka("topic") in the topology',
    "checkpointlocation": "--redis-url",
    **dict.fromkeys(("schema.registry.url", "avro.schema.registry.url"), "--schema-registry-url"),
    "basic.auth.user.info": "--schema-registry basic.auth.user.info=...",
    "auto.register.schemas": "Registered(..., auto_register=True) in the topology",
    **dict.fromkeys(("key.deserializer", "key.serializer"), "key_format=... in the topology"),
    **dict.fromkeys(("value.deserializer", "value.serializer"), "format=... in the topology"),
    "processing.guarantee": "--guarantee",
    "num.stream.threads": "--workers",
    "commit.interval.ms": "--interval",
    "state.dir": "--redis-url",
    "application.id": 'Topology("name"), or --set app=NAME',
}
"""Options of Structured Streaming and of Kafka's clients in Java, as the command line has them."""


def _correction(said: str) -> str:
    """What to do about a setting that the client does not take."""
    unknown = re.search(r'No such configuration property: "(.*?)"', said)
    if unknown is not None:
        if (way := _ELSEWHERE.get(unknown[1])) is not None:
            return f"say {way}"
        meant = nearest(unknown[1])
        return f"did you mean {meant}?" if meant else "its names are those of librdkafka"
    if "SASL mechanism" in said:
        return "say --kafka sasl.mechanism=PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
    also = [f"{other} is the same; " for name, other in ALIASES.items() if f'"{name}"' in said]
    return "".join(also) + (
        "correct it: it stands in --kafka, in a variable PROCESSOR_KAFKA__… or below [kafka] in "
        "the settings file"
    )
