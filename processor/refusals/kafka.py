"""Settings of the Kafka client that would break a promise, each with the reason.

The list was made from librdkafka's own (``CONFIGURATION.md`` of 2.16): of every property it was
asked what becomes of exactly once, of the order of a key's records and of what is told when any of
its values is given. What is not named here changes speed, memory, security or what is logged.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Final

from processor.masking import secret_name

Fits = Callable[[str], bool]

ROLES: Final = ("consumer", "producer", "admin")


def _only(*values: str) -> Fits:
    return lambda value: value in values


def _at_most(most: int) -> Fits:
    return lambda value: not _whole(value) or int(value) <= most


def _at_least(least: int) -> Fits:
    return lambda value: not _whole(value) or int(value) >= least


def _whole(value: str) -> bool:
    """Whether it is a whole number; what is none, the client itself refuses."""
    return value.removeprefix("-").isdigit()


_NEVER: Final = _only()
_FALSE: Final = _only("false", "f", "0")
_TRUE: Final = _only("true", "t", "1")
_ABORTED: Final = "a client of before transactions reads records that were aborted"
_OWN_COMMIT: Final = (
    "offsets are committed together with the outputs that they stand for, never by themselves"
)

_PROMISES: Final[Mapping[str, tuple[Fits, str]]] = {
    "isolation.level": (
        _only("read_committed"),
        "records of aborted transactions would be counted",
    ),
    "enable.auto.commit": (_FALSE, _OWN_COMMIT),
    "auto.commit.enable": (_FALSE, _OWN_COMMIT),
    "enable.auto.offset.store": (_FALSE, _OWN_COMMIT),
    "offset.store.method": (_only("broker"), _OWN_COMMIT),
    "auto.offset.reset": (
        _only("error"),
        "a position that is lost stops the run; where a new group begins is for --from to say",
    ),
    "group.id": (_NEVER, 'the group is the application\'s name: Topology("...")'),
    "max.poll.records": (_NEVER, "how many records a batch has is for --batch-records-max to say"),
    "group.instance.id": (_NEVER, "a worker's identity derives from --instance"),
    "group.protocol.type": (_only("consumer"), "a group of another type assigns no partitions"),
    "partition.assignment.strategy": (
        _only("cooperative-sticky"),
        "workers of one group hand partitions on one at a time, and must all do so",
    ),
    "enable.partition.eof": (_TRUE, "the end of the input would never be seen"),
    "topic.blacklist": (_NEVER, "a topic of the topology would seem not to be there"),
    "topic.metadata.refresh.interval.ms": (
        _at_least(1),
        "partitions that are added to the input would never be read",
    ),
    "allow.auto.create.topics": (
        _FALSE,
        "a topic that was deleted would come back empty, without a word",
    ),
    "api.version.request": (_TRUE, _ABORTED),
    "api.version.fallback.ms": (_only("0"), _ABORTED),
    "broker.version.fallback": (_NEVER, _ABORTED),
    "bootstrap.servers": (_NEVER, "where Kafka is, is for --bootstrap-servers to say"),
    "metadata.broker.list": (_NEVER, "where Kafka is, is for --bootstrap-servers to say"),
    "log.level": (_NEVER, "what is logged is for --log-level to say"),
    "logger": (_NEVER, "it takes a Python object, and what is logged is for --log-level to say"),
    "default.topic.config": (_NEVER, "it takes a Python object: name the topic's settings alone"),
    "transactional.id": (_NEVER, "a worker's identity derives from --instance"),
    "transaction.timeout.ms": (
        _NEVER,
        "the steps of a commit are timed by --transaction-timeout: say it there",
    ),
    "enable.idempotence": (_TRUE, "a record that is sent again would be there twice"),
    "acks": (_only("all", "-1"), "a record that was acknowledged could be lost with one broker"),
    "request.required.acks": (
        _only("all", "-1"),
        "a record that was acknowledged could be lost with one broker",
    ),
    "max.in.flight.requests.per.connection": (
        _at_most(5),
        "records of one key could be written in another order",
    ),
    "max.in.flight": (_at_most(5), "records of one key could be written in another order"),
    "retries": (_at_least(1), "a broker's restart would undo every batch that is on its way"),
    "message.send.max.retries": (
        _at_least(1),
        "a broker's restart would undo every batch that is on its way",
    ),
    "queue.buffering.max.messages": (
        _at_least(50),
        "a batch would be handed over so few records at a time that it never ends",
    ),
    "queue.buffering.max.kbytes": (
        _at_least(1_024),
        "a batch would be handed over so few bytes at a time that it never ends",
    ),
    "queuing.strategy": (_only("fifo"), "records of one key would be written in another order"),
    "partitioner": (
        _only("murmur2_random", "murmur2"),
        "a key would meet another partition's state: Kafka's own clients place it by murmur2",
    ),
}

_MOCK: Final = "test."

# The client's own names for what is mostly given by another, as it tells of them.
ALIASES: Final[Mapping[str, str]] = {
    "queue.buffering.max.ms": "linger.ms",
    "compression.codec": "compression.type",
    "request.required.acks": "acks",
    "message.send.max.retries": "retries",
    "message.timeout.ms": "delivery.timeout.ms",
    "fetch.message.max.bytes": "max.partition.fetch.bytes",
    "sasl.mechanisms": "sasl.mechanism",
}

# What text can be given for. For the nearest name only: a newer client may know more.
_NAMES: Final = tuple(
    """
    acks allow.auto.create.topics api.version.request api.version.request.timeout.ms
    auto.offset.reset batch.num.messages batch.size broker.address.family broker.address.ttl
    check.crcs client.dns.lookup client.id client.rack compression.codec compression.level
    compression.type connections.max.idle.ms coordinator.query.interval.ms debug
    delivery.report.only.error delivery.timeout.ms enable.auto.commit enable.idempotence
    enable.metrics.push enable.sasl.oauthbearer.unsecure.jwt enable.ssl.certificate.verification
    fetch.error.backoff.ms fetch.max.bytes fetch.message.max.bytes fetch.min.bytes
    fetch.queue.backoff.ms fetch.wait.max.ms group.protocol group.remote.assignor
    heartbeat.interval.ms https.ca.location https.ca.pem isolation.level linger.ms
    log.connection.close max.in.flight max.partition.fetch.bytes max.poll.interval.ms
    message.max.bytes message.timeout.ms metadata.max.age.ms metadata.recovery.strategy partitioner
    queue.buffering.max.kbytes queue.buffering.max.messages queue.buffering.max.ms
    queued.max.messages.kbytes queued.min.messages receive.message.max.bytes
    reconnect.backoff.max.ms reconnect.backoff.ms request.timeout.ms retries retry.backoff.max.ms
    retry.backoff.ms sasl.kerberos.keytab sasl.kerberos.kinit.cmd sasl.kerberos.principal
    sasl.kerberos.service.name sasl.mechanism sasl.mechanisms sasl.oauthbearer.client.id
    sasl.oauthbearer.client.secret sasl.oauthbearer.config sasl.oauthbearer.extensions
    sasl.oauthbearer.method sasl.oauthbearer.scope sasl.oauthbearer.token.endpoint.url
    sasl.password sasl.username security.protocol session.timeout.ms
    socket.connection.setup.timeout.ms socket.keepalive.enable socket.max.fails
    socket.nagle.disable socket.receive.buffer.bytes socket.send.buffer.bytes socket.timeout.ms
    ssl.ca.location ssl.ca.pem ssl.certificate.location ssl.certificate.pem ssl.cipher.suites
    ssl.crl.location ssl.curves.list ssl.endpoint.identification.algorithm ssl.key.location
    ssl.key.password ssl.key.pem ssl.keystore.location ssl.keystore.password ssl.providers
    ssl.sigalgs.list statistics.interval.ms sticky.partitioning.linger.ms
    topic.metadata.refresh.interval.ms transactional.id transaction.timeout.ms
    """.split()  # noqa: SIM905 - a list with quotes takes four times the lines
)  # fmt: skip


def broken(name: str, value: str) -> str | None:
    """Which promise a setting would break; ``None`` for one that breaks none.

    >>> broken("consumer.isolation.level", "read_uncommitted")
    'records of aborted transactions would be counted'
    >>> broken("isolation.level", "read_committed") is broken("linger.ms", "1") is None
    True
    """
    if _plain(name).startswith(_MOCK):
        return "records would go to a broker that is none, and be gone with the process"
    fits, why = _PROMISES.get(_plain(name), (_any, ""))
    return None if fits(value.strip().lower()) else why


def lacking(table: Mapping[str, str]) -> str | None:
    """What a mechanism needs and is not given, where the client would wait for it in silence.

    >>> lacking({"sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc"}) is None
    True
    """
    given = {_plain(name): value.strip().lower() for name, value in table.items()}
    mechanism = given.get("sasl.mechanism", given.get("sasl.mechanisms"))
    sources = ("sasl.oauthbearer.config", "sasl.oauthbearer.method")
    if mechanism == "oauthbearer" and not any(given.get(name) for name in sources):
        return (
            "nothing says where its tokens come from: give sasl.oauthbearer.method=oidc with "
            "sasl.oauthbearer.token.endpoint.url, .client.id and .client.secret"
        )
    return None


def nearest(name: str) -> str | None:
    """The property that was probably meant by a name that is none.

    >>> nearest("sasl.pasword")
    'sasl.password'
    """
    near = difflib.get_close_matches(_plain(name), _NAMES, n=1)
    return near[0] if near and near[0] != _plain(name) else None


def secret(name: str) -> bool:
    """Whether a property's value is secret, or that of the one that was probably meant.

    >>> secret("sasl.passord"), secret("ssl.key.pem"), secret("linger.ms")
    (True, True, False)
    """
    return secret_name(name) or (_plain(name) not in _NAMES and secret_name(nearest(name) or ""))


def _plain(name: str) -> str:
    role, _, rest = name.partition(".")
    return rest if role in ROLES else name


def _any(_: str) -> bool:
    return True
