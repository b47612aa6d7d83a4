"""Addresses and settings of a schema registry's client: whether they can be meant."""

from __future__ import annotations

import difflib
from typing import Final
from urllib.parse import urlsplit

from processor.masking import secret_name

FORM: Final = "https://host:8081, several with commas between, or mock://name for one in memory"
NUMBERS: Final = frozenset({"timeout", "max.retries", "retries.wait.ms", "retries.max.wait.ms"})
KNOWN: Final = NUMBERS | {
    "basic.auth.user.info",
    "bearer.auth.client.id",
    "bearer.auth.client.secret",
    "bearer.auth.credentials.source",
    "bearer.auth.identity.pool.id",
    "bearer.auth.issuer.endpoint.url",
    "bearer.auth.logical.cluster",
    "bearer.auth.scope",
    "bearer.auth.token",
    "proxy",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
}
_PORT_MAX: Final = 65_535


def secret(name: str) -> bool:
    """Whether the value of a property is to be shown to nobody.

    >>> secret("basic.auth.user.info"), secret("timeout")
    (True, False)
    """
    return secret_name(name) or name in ("basic.auth.user.info", "proxy")


def url_fault(url: str) -> str | None:
    """Why a text is no address of a registry; ``None`` where it is one.

    >>> url_fault("registry:8081").partition(";")[0]
    'it begins with no http://, https:// or mock://'
    >>> url_fault("https://me:secret@registry:8081") is None
    True
    """
    for one in url.split(","):
        scheme, separator, rest = one.strip().partition("://")
        if not separator or scheme not in ("http", "https", "mock"):
            return f"it begins with {_said(scheme, separator)}; write {FORM}"
        if scheme == "mock":
            continue
        try:
            parts = urlsplit(f"http://{rest}")
            port = parts.port
        except ValueError:
            return f"its port is no number from 1 to {_PORT_MAX}; write {FORM}"
        if not parts.hostname or port == 0:
            return f"it names no host and port; write {FORM}"
    return None


def _said(scheme: str, separator: str) -> str:
    """What stands where a scheme is due, without what may be a secret."""
    none = "no http://, https:// or mock://"
    if not separator or not scheme.isalpha():
        return none
    near = difflib.get_close_matches(scheme, ("http", "https", "mock"), n=1)
    return f"{none} but {scheme}://" + (f", where {near[0]}:// may be meant" if near else "")


def broken(name: str, value: str) -> str | None:
    """Why a property of the client cannot be what it is given as; ``None`` where it can.

    >>> broken("tiemout", "5")
    'there is no such property; did you mean timeout?'
    >>> broken("timeout", "soon")
    'a number is needed'
    """
    if name == "url":
        return "where the registry is, is for --schema-registry-url to say"
    if name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN, n=1)
        return "there is no such property" + (f"; did you mean {near[0]}?" if near else "")
    if name in NUMBERS:
        try:
            number = float(value)
        except ValueError:
            return "a number is needed"
        if not 0 <= number < float("inf"):
            return "it is no number from 0 on"
    if name == "basic.auth.user.info" and ":" not in value:
        return "write user:password"
    return None
