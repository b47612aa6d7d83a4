"""A broker that wants a user, TLS or both: what is wrong with a client is told apart."""

from __future__ import annotations

import pytest

from processor.connectors.kafka.log import KafkaLog
from processor.errors import LogError
from tests.services.handle import Unavailable, free_port
from tests.services.kafka import SETTINGS, LocalKafka
from tests.services.listeners import certificate

pytestmark = pytest.mark.kafka
USER = {"sasl.mechanism": "PLAIN", "sasl.username": "me", "sasl.password": "hunter2"}
PLAIN_LOGIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    'username="admin" password="admin" user_admin="admin" user_me="hunter2";'
)
LISTENERS = {"s": "SASL_PLAINTEXT", "t": "SSL", "u": "SASL_SSL"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """The addresses of one broker's listeners: plain, with a user, with TLS, with both."""
    try:
        chain, key = certificate()
        both = tmp_path_factory.mktemp("broker") / "both.pem"
        both.write_text(key.read_text() + chain.read_text())
        plain, controller = free_port(), free_port()
        at = {name: f"127.0.0.1:{free_port()}" for name in LISTENERS}
        listeners = ",".join(f"{name.upper()}://{address}" for name, address in at.items())
        protocols = ",".join(f"{name.upper()}:{kind}" for name, kind in LISTENERS.items())
        own = f"PLAINTEXT://127.0.0.1:{plain}"
        started = LocalKafka(
            {
                "listeners": f"{own},CONTROLLER://127.0.0.1:{controller},{listeners}",
                "advertised.listeners": f"{own},{listeners}",
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "listener.security.protocol.map": (
                    f"{SETTINGS['listener.security.protocol.map']},{protocols}"
                ),
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.s.plain.sasl.jaas.config": PLAIN_LOGIN,
                "listener.name.u.plain.sasl.jaas.config": PLAIN_LOGIN,
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(both),
            },
            controller=controller,
            answers=lambda _: KafkaLog(f"127.0.0.1:{plain}").cluster_id(2),
        )
    except Unavailable as reason:
        pytest.skip(str(reason))
    at["plain"] = f"127.0.0.1:{plain}"
    yield at
    started.close()


def settings(protocol, **other):
    user = USER if protocol.startswith("sasl") else {}
    authority = {"ssl.ca.location": str(certificate()[0])} if protocol.endswith("ssl") else {}
    return {"security.protocol": protocol, **user, **authority, **other}


@pytest.mark.parametrize(
    ("listener", "protocol"),
    [("plain", "plaintext"), ("s", "sasl_plaintext"), ("t", "ssl"), ("u", "sasl_ssl")],
)
def test_each_listener_answers_who_speaks_as_it_does(broker, listener, protocol):
    assert KafkaLog(broker[listener], settings(protocol)).cluster_id()


@pytest.mark.parametrize(
    ("listener", "given", "why", "remedy"),
    [
        ("s", ("sasl_plaintext", {"sasl.password": "hunter3"}), "refused the user or the password",
         "sasl.password"),
        ("u", ("sasl_ssl", {"sasl.password": "hunter3"}), "refused the user or the password",
         "sasl.password"),
        ("s", ("sasl_plaintext", {"sasl.mechanism": "SCRAM-SHA-256"}), "it takes PLAIN",
         "sasl.mechanism"),
        ("s", ("plaintext", {}), "hangs up on who gives no user", "sasl_plaintext"),
        ("plain", ("sasl_plaintext", {}), "it takes no user", "security.protocol=plaintext"),
        ("t", ("plaintext", {}), "it speaks TLS", "security.protocol=ssl"),
        ("u", ("sasl_plaintext", {}), "it speaks TLS", "sasl_ssl"),
        ("plain", ("ssl", {}), "it does not speak TLS", "security.protocol=plaintext"),
        ("s", ("sasl_ssl", {}), "it does not speak TLS", "sasl_plaintext"),
        ("t", ("ssl", {"ssl.ca.location": ""}), "authority that is not known", "ssl.ca.location"),
        ("u", ("ssl", {}), "hangs up on who gives no user", "sasl_ssl"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_apart(broker, listener, given, why, remedy):
    protocol, other = given
    wanted = {name: value for name, value in settings(protocol, **other).items() if value}
    with pytest.raises(LogError) as raised:
        KafkaLog(broker[listener], wanted).cluster_id(3)
    assert f"{broker[listener]}: " in raised.value.message
    assert why in raised.value.message
    assert remedy in raised.value.remedy
    assert "hunter" not in str(raised.value)
