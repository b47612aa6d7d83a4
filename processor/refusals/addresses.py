"""Addresses of Kafka and Redis: whether they can be meant. No answer shows any of a password."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

REDIS_FORM: Final = (
    "redis://host:6379/0, with user:password@ before the host, rediss://… for TLS, or unix:///path"
)
KAFKA_FORM: Final = "host:9092,host:9092; an IPv6 address in brackets: [::1]:9092"
# What changes a connection, and nothing of what is sent over it.
_OPTIONS: Final = frozenset(
    {
        "db", "username", "password", "client_name", "health_check_interval", "socket_timeout",
        "socket_connect_timeout", "socket_keepalive", "ssl_ca_certs", "ssl_ca_path", "ssl_ca_data",
        "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_cert_reqs", "ssl_check_hostname",
        "ssl_min_version", "ssl_ciphers",
    }
)  # fmt: skip
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_PROTOCOL: Final = re.compile(r"(plaintext|ssl|sasl_plaintext|sasl_ssl)://", re.IGNORECASE)
_PORT_MAX: Final = 65_535


def redis_fault(url: str) -> str | None:
    """Why a URL is no address of a Redis; ``None`` where it is one.

    >>> redis_fault("redis://cache/abc")
    "its database is no number; write redis://host:6379/0, with user:password@ before the host, \
rediss://… for TLS, or unix:///path"
    >>> redis_fault("redis://me:secret@cache:6379/0") is None
    True
    """
    why = _redis_fault(url)
    return why and f"{why}; write {REDIS_FORM}"


def _redis_fault(url: str) -> str | None:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "it begins with no redis://"
    if scheme not in ("redis", "rediss", "unix"):
        return "it begins with something else than redis://, rediss:// or unix://"
    place, _, query = rest.partition("?")
    if scheme != "unix":
        why = _tcp_fault(place)
        if why is not None:
            return why
    elif not place.rpartition("@")[2].startswith("/"):
        return "it names no socket"
    return _options_fault(query)


def _tcp_fault(place: str) -> str | None:
    try:
        parts = urlsplit(f"redis://{place}")
        host, port, path = parts.hostname, parts.port, parts.path.strip("/")
    except ValueError:
        return _SPLIT if "@" in place else _PORT
    return _first(
        ("@" in path or "@" in parts.fragment, _SPLIT),
        (bool(parts.fragment), "a # stands in it (in a password it is written %23)"),
        (not host, "it names no host"),
        (port == 0, _PORT),
        (not _is_host(host or ""), "its host is none"),
        (bool(path) and not path.isdigit(), "its database is no number"),
    )


def _first(*checks: tuple[bool, str]) -> str | None:
    """What the first check says that finds something."""
    return next((why for wrong, why in checks if wrong), None)


_PORT: Final = "its port is no number from 1 to 65535"
_SPLIT: Final = (
    "its host and port cannot be told apart (in a password, / is written %2F, # is %23, @ is %40 "
    "and : is %3A)"
)


def _options_fault(query: str) -> str | None:
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            return "it has an option behind the ? that is not one of a connection"
        if name == "db" and not value.isdigit():
            return "its database is no number"
    return None


def kafka_fault(servers: str) -> str | None:
    """Why a list of brokers is none; ``None`` where it is one.

    >>> kafka_fault("broker:port") is None, kafka_fault("broker:9092,[::1]:9092") is None
    (False, True)
    """
    why = next(filter(None, map(_broker_fault, servers.split(","))), None)
    return why and f"{why}; write {KAFKA_FORM}"


def _broker_fault(server: str) -> str | None:
    plain = _PROTOCOL.sub("", server.strip(), count=1)
    host, _, port = plain.rpartition(":") if re.search(r":[^\]]*$", plain) else (plain, "", "9092")
    bare = host.removeprefix("[").removesuffix("]")
    return _first(
        ("@" in plain, _USER),
        (bool(re.search(r"[;|\s]", plain)), "brokers stand with a comma between them"),
        ("//" in plain, "it is a URL, and not of a Kafka broker"),
        (not plain, "a broker has no name"),
        (plain.count(":") > 1 and not plain.startswith("["), _BRACKETS),
        (not _is_host(bare), "a broker's name is none"),
        (
            not port.isdigit() or not 0 < int(port) <= _PORT_MAX,
            f"the port of {host} is not a number from 1 to 65535",
        ),
    )


_BRACKETS: Final = "an IPv6 address has no brackets, so that its port cannot be told"
_USER: Final = (
    "it has a user or a password in it; these are settings: --kafka sasl.username and sasl.password"
)


def _is_host(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return bool(_HOST.fullmatch(name))
    return True
