"""Why no broker answers, told apart."""

from __future__ import annotations

import contextlib

import pytest
from confluent_kafka import KafkaError

from processor.connectors.kafka import log as kafka_log
from processor.connectors.kafka import reach
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


REFUSED = "b:1/bootstrap: Connect to ipv4#10.0.0.1:1 failed: Connection refused"


def test_what_was_heard_of_an_earlier_question_is_forgotten():
    found = heard(REFUSED)
    assert found
    found.clear()
    assert not found


def tried(monkeypatch, *judged):
    """Stands for the trying of addresses; says which were asked, and by which protocol."""
    asked, told = [], iter(judged)

    def listener(address, protocol):
        asked.append((address, protocol))
        return next(told, None)

    monkeypatch.setattr(reach, "_listener", listener)
    return asked


def test_addresses_are_tried_as_the_setting_writes_them(monkeypatch):
    wrong, hung = (LogError, "is no broker", "mend"), (RetriableError, "hangs up", "start")
    asked = tried(monkeypatch, wrong, hung, hung, None, wrong, wrong)
    servers = "a:1, ssl://b.c:29093 ,[::1]:5,gone:7,[fe80::1],d"
    told = Heard().why(servers, "ssl", first=True)
    assert asked == [
        (("a", 1), "ssl"), (("b.c", 29093), "ssl"), (("::1", 5), "ssl"), (("gone", 7), "ssl"),
        (("fe80::1", 9092), "ssl"), (("d", 9092), "ssl"),
    ]  # fmt: skip
    places = ("a:1", "[fe80::1]", "d")
    assert told.message.endswith("; ".join(f"{place}: is no broker" for place in places))
    assert (type(told), told.remedy) == (LogError, "mend")


def test_what_an_address_tells_stands_where_the_client_heard_nothing(monkeypatch):
    tried(monkeypatch, (RetriableError, "hangs up", "start"))
    told = Heard().why("b:1", "plaintext", first=True)
    assert (type(told), told.remedy) == (RetriableError, "start")
    assert told.message.endswith("b:1: hangs up")


@pytest.mark.parametrize(
    ("said", "first"),
    [
        (REFUSED, False),  # a broker has answered before
        ("ssl://b:1/bootstrap: SSL handshake failed: certificate verify failed", True),
        ("ssl://b:1/bootstrap: SSL handshake failed: certificate verify failed", False),
    ],
)
def test_addresses_are_not_tried_where_the_client_says_enough(monkeypatch, said, first):
    asked = tried(monkeypatch, (LogError, "is no broker", "mend"))
    told = heard(said).why("b:1", "ssl", first=first)
    assert asked == []
    assert "is no broker" not in told.message


TLS_PLAIN, NO_USER = (LogError, *reach._TLS_PLAIN), (LogError, *reach._NO_USER)


@pytest.mark.parametrize(
    ("greeted", "tls", "protocol", "verdict"),
    [
        ([True], False, "ssl", TLS_PLAIN),
        ([True, True], False, "sasl_ssl", TLS_PLAIN),
        ([], True, "ssl", (RetriableError, *reach._NO_USER)),
        ([], True, "sasl_ssl", None),
        ([], False, "ssl", None),
        ([False], False, "ssl", None),
        ([True], False, "plaintext", NO_USER),
        ([True, True], False, "plaintext", None),
        ([True, False], False, "plaintext", None),
        ([True], False, "sasl_plaintext", None),
        ([], True, "plaintext", (LogError, *reach._PLAIN_TLS)),
        ([False], False, "plaintext", (LogError, *reach._NO_KAFKA)),
        ([False, True], False, "plaintext", (LogError, *reach._NO_KAFKA)),
        ([], False, "plaintext",
         (RetriableError, "it takes the connection, but hangs up", reach._START)),
    ],
)  # fmt: skip
def test_what_an_address_says_is_judged(monkeypatch, greeted, tls, protocol, verdict):
    broker, other = bytes(4) + (7).to_bytes(4, "big"), b"HTTP/1.1 400"

    def answers(address, hello, times):
        assert (address, times, len(hello)) == (("b", 1), 2, 14)
        return [broker if yes else other for yes in greeted]

    monkeypatch.setattr(reach, "answers", answers)
    monkeypatch.setattr(reach, "speaks_tls", lambda address: tls)
    assert reach._listener(("b", 1), protocol) == verdict


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (TimeoutError("late"), "it takes the connection, but gives no answer"),
        (OSError(113, "No route to host"), "it cannot be reached (No route to host)"),
        (OSError("odd"), "it cannot be reached (odd)"),
    ],
)
def test_an_address_that_cannot_be_asked_says_why(monkeypatch, error, why):
    def answers(address, hello, times):
        raise error

    monkeypatch.setattr(reach, "answers", answers)
    verdict = reach._listener(("b", 1), "plaintext")
    assert verdict is not None
    assert verdict[:2] == (RetriableError, why)


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
