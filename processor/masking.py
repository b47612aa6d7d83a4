"""Secrets in what is shown: passwords of addresses, and whatever was said to be one.

Two ways, because people slip: by their place in a text (what stands between ``//`` and ``@``, what
follows ``password=``), and by themselves, once they are known to be secret.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, unquote

MASK: Final = "***"
# Up to the last @ of the word, since a password may have one too; also where the colon or a slash
# of the scheme is missing.
_USER_INFO: Final = re.compile(r"(:/+|//+)[^\s'\"]*@")
_ASSIGNED: Final = re.compile(
    r"((?:pass?w(?:or)?d|passphrase|secret|token|api_?key|jaas)[\w.-]*['\"]?\s*[=:]\s*)"
    r"['\"]?[^\s'\",;&}]+",
    re.IGNORECASE,
)
_SECRET_NAME: Final = re.compile(
    r"pass?w|secret|credential|token|api_?key|private|sasl\.username|ssl\.key|pem$|jaas"
    r"|passphrase|oauthbearer\.config",
    re.IGNORECASE,
)
_SHORT: Final = 4

_known: set[str] = set()
_parts: set[str] = set()


def secret_name(name: str) -> bool:
    """Whether the value of a thing with this name is to be shown to nobody.

    >>> secret_name("sasl.pasword"), secret_name("client.id")
    (True, False)
    """
    return bool(_SECRET_NAME.search(name))


def conceal(secret: str) -> None:
    """From now on `masked` takes this text out, wherever it stands.

    >>> conceal("hunter2")
    >>> masked("no user hunter2")
    'no user ***'
    """
    for text in (secret, unquote(secret)):
        if text.strip():
            (_known if len(text) >= _SHORT else _parts).add(text)


def conceal_address(address: str) -> None:
    """Conceal the user and the password of an address, where it has them, however it is written.

    >>> conceal_address("redis//:pa@ss1@cache")
    >>> masked("no host ss1@cache, nor pa@ss1")
    'no host ***@cache, nor ***'
    """
    for name, value in parse_qsl(address.partition("?")[2]):
        if secret_name(name):
            conceal(value)
    for one in address.partition("?")[0].split(","):
        before, at, _ = one.rpartition("@")
        if not at:
            continue
        info = re.split(r":?/+", before, maxsplit=1)[-1]
        password = info.partition(":")[2] or info
        conceal(password)
        # A reader that takes another @ or / for the end of it shows a part.
        _parts.update(
            part for part in re.split(r"[@/:?#%&]", password) if part and part != password
        )


def forget() -> None:
    """Nothing is known to be secret, as in a new process."""
    _known.clear()
    _parts.clear()


def masked(text: str) -> str:
    """The text without secrets.

    >>> masked("redis://me:pa@ss@host/0, sasl.pasword=x")
    'redis://***@host/0, sasl.pasword=***'
    """
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    for part in sorted(_parts, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", lambda _: MASK, text)
    return _ASSIGNED.sub(rf"\g<1>{MASK}", _USER_INFO.sub(rf"\g<1>{MASK}@", text))
