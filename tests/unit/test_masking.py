import pytest

from processor import masking
from processor.errors import LogError


@pytest.mark.parametrize(
    ("address", "secrets"),
    [
        ("redis://me:hunter2@cache:6379/0", ["hunter2"]),
        ("redis://:pw@cache", ["pw"]),
        ("redis://user:pa@ss@host", ["pa@ss", "pa", "ss"]),
        ("redis//:pw@host", ["pw"]),
        ("redis:/:pw@host", ["pw"]),
        ("redis:pw@host", ["pw"]),
        ("redis://user:12/34@host/0", ["12/34", "12", "34"]),
        ("redis://:a#b@host", ["a#b"]),
        ("redis://:p%40ss@host", ["p%40ss", "p@ss"]),
        ("SASL_SSL://u:hunter2@broker:9092,b2:9092", ["hunter2"]),
        ("u:hunter2@broker:9092", ["hunter2"]),
        ("rediss://cache?ssl_password=hunter2", ["hunter2"]),
        ("redis://cache/0?password=hunter%40", ["hunter@"]),
    ],
)
def test_nothing_of_an_addresses_password_is_shown(address, secrets):
    masking.conceal_address(address)
    assert secrets[0] not in masking.masked(f"cannot reach {address}")
    for secret in secrets:
        assert masking.masked(f"no host {secret}") == "no host ***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at redis://me:x@host/0 now", "at redis://***@host/0 now"),
        ("at redis://me:a@b@host/0", "at redis://***@host/0"),
        ("redis//:pw@host", "redis//***@host"),
        ("password=x sasl.pasword: 'y z'", "password=*** sasl.pasword: *** z'"),
        ("no secret here: a@b, x=1", "no secret here: a@b, x=1"),
    ],
)
def test_secrets_are_known_by_their_place(text, shown):
    assert masking.masked(text) == shown


def test_what_was_concealed_is_shown_in_no_error():
    masking.conceal("hunter2")
    error = LogError("no user hunter2", remedy="correct hunter2")
    assert "hunter2" not in f"{error} {error.args} {error.message} {error.remedy}"


def test_a_short_secret_takes_no_part_of_another_word():
    masking.conceal("pa")
    assert masking.masked("a part of pa") == "a part of ***"


def test_what_is_empty_hides_nothing():
    masking.conceal("")
    masking.conceal_address("redis://cache:6379")
    assert masking.masked("redis://cache:6379") == "redis://cache:6379"
