"""Why no broker answers, told apart."""

from __future__ import annotations

import contextlib

import pytest
from confluent_kafka import KafkaError

from processor.connectors.kafka import log as kafka_log
from processor.connectors.kafka.log import KafkaLog
from processor.connectors.kafka.reach import Heard
from processor.errors import LogError, RetriableError
from tests.services.handle import Unavailable
from tests.services.listeners import Listener, closed

CODE = KafkaError._TRANSPORT


def heard(*said):
    found = Heard()
    for text in said:
        found(KafkaError(CODE, text))
    return found


SSL = "ssl://b:1/bootstrap: SSL handshake failed: "
SASL = "sasl_plaintext://b:1/bootstrap: SASL "
MECHANISMS = "broker's supported mechanisms: "
UNKNOWN_HOST = "Failed to resolve 'x:9092': Name or service not known"


@pytest.mark.parametrize(
    ("said", "kind", "why", "remedy"),
    [
        ("b:1/bootstrap: Connect to ipv4#10.0.0.1:1 failed: Connection refused (after 0ms in C)",
         RetriableError, "b:1: nothing listens there", "or start the broker"),
        (f"x:9092/bootstrap: {UNKNOWN_HOST} (after 9ms in state CONNECT)",
         RetriableError, "x:9092: no such host is known", "advertised.listeners"),
        (f"x:9092/3: {UNKNOWN_HOST}",
         RetriableError, "no such host is known", "advertised.listeners"),
        (f"{SASL}authentication error: Authentication failed: Invalid password (after 302ms in A)",
         LogError, "refused the user or the password (Authentication failed: Invalid password)",
         "sasl.password"),
        ((f"{SASL}SCRAM mechanism handshake failed: Broker: Unsupported SASL mechanism: "
         f"{MECHANISMS}PLAIN (after 3ms in state AUTH_HANDSHAKE)"),
         LogError, "takes PLAIN", "sasl.mechanism"),
        ((f"{SASL}X mechanism handshake failed: Broker: Request not valid in current SASL state: "
         f"{MECHANISMS} (after 1ms)"),
         LogError, "it takes no user", "security.protocol=plaintext"),
        ((f"{SSL}error:0A000086:SSL routines::certificate verify failed: broker certificate could "
         "not be verified (after 2ms)"),
         LogError, "an authority that is not known here", "ssl.ca.location"),
        (f"{SSL}error:0A00010B:SSL routines::wrong version number (after 0ms)",
         LogError, "does not speak TLS", "security.protocol=plaintext"),
        ((f"{SSL}Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT broker "
         "listener? (after 42ms)"),
         RetriableError, "does not speak TLS", "security.protocol=plaintext"),
        (f"{SSL}error:0A00045C:SSL routines::tlsv13 alert certificate required: number 116",
         LogError, "wants a certificate", "ssl.certificate.location"),
        ("b:1/bootstrap: Receive failed: Invalid response size 759517778 (0..100000000): increase",
         LogError, "no Kafka broker", "correct host and port"),
        (f"{SSL}something new",
         RetriableError, "the handshake failed: something new", "security.protocol"),
        ("b:1/bootstrap: something else", RetriableError, "b:1: something else", "host and port"),
    ],
)  # fmt: skip
def test_what_the_client_says_becomes_a_cause_and_a_remedy(said, kind, why, remedy):
    error = heard(said).why("b:1", "plaintext", first=False)
    assert type(error) is RetriableError  # once a broker has answered, all may pass
    found = heard(said)
    assert found.lasting is (kind is LogError)
    told = found.why(closed(), "plaintext", first=True)
    assert type(told) is kind
    assert why in told.message
    assert remedy in told.remedy


def test_what_does_not_pass_goes_before_what_may():
    found = heard(
        "a:1/bootstrap: Connect to ipv4#10.0.0.1:1 failed: Connection refused",
        "ssl://b:1/bootstrap: SSL handshake failed: certificate verify failed",
    )
    told = found.why("a:1,b:1", "ssl", first=True)
    assert type(told) is LogError
    assert "a:1:" not in told.message.partition(": ")[2]


def test_of_several_brokers_each_has_its_reason_the_latest():
    found = heard(
        "a:1/bootstrap: Failed to resolve 'a:1': Name or service not known",
        "b:1/bootstrap: Connect to ipv4#10.0.0.1:1 failed: Connection refused",
        "a:1/bootstrap: Connect to ipv4#10.0.0.1:1 failed: Connection refused",
    )
    message = found.why("a:1,b:1", "plaintext", first=False).message
    assert message.endswith(
        "b:1: nothing listens there (connection refused); "
        "a:1: nothing listens there (connection refused)"
    )


def test_what_is_about_no_broker_is_passed_over():
    found = heard("1/1 brokers are down")
    assert not found
    assert "no Kafka broker answered at b:1" in found.why("b:1", "x", first=False).message


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(kafka_log, "REQUEST_S", 1.5)
    monkeypatch.setattr(kafka_log, "FIRST_S", 0.7)


def hello(data):
    """A broker that says which requests it knows, and hangs up on everything else."""
    if data[4:6] == b"\x00\x12":
        return (6).to_bytes(4, "big") + data[8:12] + b"\x00\x23"
    return None


def once():
    """A broker that has to know who asks before it says more."""
    said = []

    def answer(data):
        if said:
            return None
        said.append(data)
        return hello(data)

    return answer


CASES = {
    "closed": (None, "plaintext", RetriableError, "nothing listens there"),
    "silent": (lambda _: b"", "plaintext", RetriableError, "gives no answer"),
    "hangs up": (lambda _: None, "plaintext", RetriableError, "hangs up"),
    "Redis": (lambda _: b"-ERR unknown command\r\n", "plaintext", LogError, "no Kafka broker"),
    "HTTP": (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", "plaintext", LogError, "no Kafka"),
    "plain to TLS": ("tls", "plaintext", LogError, "it speaks TLS"),
    "TLS to plain": (lambda _: b"-ERR\r\n", "ssl", LogError, "does not speak TLS"),
    "TLS to a broker": (hello, "ssl", LogError, "does not speak TLS"),
    "unknown authority": ("tls", "ssl", LogError, "authority that is not known"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_listens_at_an_address_is_told(soon, case):
    answer, protocol, kind, why = CASES[case]
    with contextlib.ExitStack() as stack:
        address = closed()
        if answer is not None:
            try:
                tls = answer == "tls"
                listener = Listener(tls=True) if tls else Listener(answer)
            except Unavailable as reason:
                pytest.skip(str(reason))
            address = stack.enter_context(listener).address
        with pytest.raises(LogError) as raised:
            KafkaLog(address, {"security.protocol": protocol}).cluster_id(1.5)
    assert type(raised.value) is kind, raised.value
    assert f"no Kafka broker answered at {address}: {address}: " in raised.value.message
    assert why in raised.value.message
    assert raised.value.remedy


def test_a_listener_that_wants_a_user_is_told(soon):
    from processor.connectors.kafka.reach import _listener

    with Listener(once()) as listener:
        host, _, port = listener.address.rpartition(":")
        verdict = _listener((host, int(port)), "plaintext")
    assert verdict is not None
    assert verdict[0] is LogError
    assert "hangs up on who gives no user" in verdict[1]


def test_an_unknown_host_is_told(soon):
    with pytest.raises(RetriableError, match="no such host is known") as raised:
        KafkaLog("no-such-host.invalid:9092").cluster_id(1.5)
    assert "no-such-host.invalid:9092" in raised.value.message


@pytest.mark.parametrize(
    ("setting", "what", "remedy"),
    [
        (
            "sasl.pasword=hunter2",
            'No such configuration property: "sasl.pasword"',
            "sasl.password?",
        ),
        ("qqqq=1", "No such configuration property", "librdkafka"),
        ("security.protocol=tls", 'Invalid value "tls"', "PROCESSOR_KAFKA__"),
        ("linger.ms=soon", "queue.buffering.max.ms", "linger.ms is the same; correct"),
        ("socket.timeout.ms=1", "socket.timeout.ms", "PROCESSOR_KAFKA__"),
        ("security.protocol=sasl_ssl", "SASL mechanism", "SCRAM-SHA-256"),
    ],
)
def test_a_setting_that_the_client_does_not_take_is_named(setting, what, remedy):
    log = KafkaLog("b:1", dict([setting.split("=")]))
    with pytest.raises(LogError) as raised:
        log.producer("t")
    assert what in raised.value.message
    assert remedy in raised.value.remedy
    assert "hunter2" not in str(raised.value)
