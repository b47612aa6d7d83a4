import pytest

from processor.connectors.kafka.settings import (
    Connection,
    admin_settings,
    consumer_settings,
    producer_settings,
)
from processor.refusals import kafka


@pytest.mark.parametrize(
    "setting",
    [
        "isolation.level=read_uncommitted", "consumer.isolation.level=READ_UNCOMMITTED",
        "enable.auto.commit=true", "auto.commit.enable=1", "enable.auto.offset.store=t",
        "offset.store.method=none", "auto.offset.reset=latest", "auto.offset.reset=earliest",
        "group.id=other", "group.instance.id=me", "group.protocol.type=connect",
        "partition.assignment.strategy=range", "enable.partition.eof=false",
        "topic.blacklist=trips", "producer.test.mock.num.brokers=1",
        "test.mock.broker.rtt=1", "topic.metadata.refresh.interval.ms=-1",
        "allow.auto.create.topics=true", "api.version.request=false",
        "api.version.fallback.ms=60000", "broker.version.fallback=0.9.0",
        "bootstrap.servers=elsewhere:9092", "producer.bootstrap.servers=elsewhere:9092",
        "metadata.broker.list=elsewhere:9092", "log.level=7", "transactional.id=me",
        "transaction.timeout.ms=900000", "enable.idempotence=false", "acks=1", "acks=0",
        "producer.request.required.acks=1", "max.in.flight.requests.per.connection=6",
        "max.in.flight=100", "retries=0", "message.send.max.retries=0", "queuing.strategy=lifo",
        "queue.buffering.max.messages=1", "queue.buffering.max.kbytes=1",
        "partitioner=consistent_random", "producer.partitioner=random",
    ],
)  # fmt: skip
def test_what_the_engine_rests_on_cannot_be_set_otherwise(setting):
    assert kafka.broken(*setting.split("="))


@pytest.mark.parametrize(
    "setting",
    [
        "isolation.level=read_committed", "enable.auto.commit=false", "acks=all", "acks=-1",
        "enable.idempotence=true", "max.in.flight=1", "retries=3", "compression.type=zstd",
        "producer.compression.type=gzip", "linger.ms=1", "consumer.max.poll.interval.ms=4000",
        "group.protocol=consumer", "security.protocol=sasl_ssl", "sasl.password=x",
        "fetch.wait.max.ms=10", "session.timeout.ms=20000", "client.id=me", "debug=all",
        "partitioner=murmur2_random", "topic.metadata.refresh.interval.ms=1000",
        "max.in.flight=many", "queue.buffering.max.messages=50",
    ],
)  # fmt: skip
def test_what_breaks_no_promise_passes(setting):
    assert kafka.broken(*setting.split("=")) is None


def test_what_the_engine_sets_itself_would_pass():
    connection = Connection("b")
    made = [
        consumer_settings(connection, "g", "i", print),
        producer_settings(connection, "t", print, print),
        admin_settings(connection, print),
    ]
    own = {"bootstrap.servers", "group.id", "group.instance.id", "transactional.id", "log_level",
           "transaction.timeout.ms"}  # fmt: skip
    for settings in made:
        for name, value in settings.items():
            if name not in own and isinstance(value, str | int | bool):
                assert kafka.broken(name, str(value).lower()) is None, name


@pytest.mark.parametrize(
    ("name", "meant"),
    [("sasl.pasword", "sasl.password"), ("producer.lingerms", "linger.ms"),
     ("linger.ms", None), ("qqqqq", None)],
)  # fmt: skip
def test_the_nearest_name_is_told(name, meant):
    assert kafka.nearest(name) == meant


@pytest.mark.parametrize(
    "name",
    ["sasl.password", "sasl.pasword", "sasl.passord", "consumer.sasl.password", "sasl.username",
     "ssl.key.password", "ssl.key.pem", "ssl.key.passwrd", "ssl.keystore.password",
     "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config", "sasl.jaas.config"],
)  # fmt: skip
def test_what_is_secret_is_known_also_with_a_slip_of_the_pen(name):
    assert kafka.secret(name)
