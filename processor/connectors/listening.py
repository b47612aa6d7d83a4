"""What listens at an address: asked once, where a client could not say why it got no answer."""

from __future__ import annotations

import socket
import ssl
from typing import Final, TypeAlias

TRY_S: Final = 2.0
Address: TypeAlias = tuple[str, int]
# How TLS begins to say no.
_ALERT: Final = bytes.fromhex("1503")


def answers(address: Address, hello: bytes, times: int = 1) -> list[bytes]:
    """What comes back for a greeting, said so often; less where the other side hangs up.

    What TLS says of a greeting without it is no answer. Raises `TimeoutError` where nothing comes,
    `OSError` where nothing listens.
    """
    heard: list[bytes] = []
    with socket.create_connection(address, TRY_S) as connection:
        while len(heard) < times:
            try:
                connection.sendall(hello)
                answer = connection.recv(1 << 16)
            except ConnectionError:
                break
            if not answer or answer.startswith(_ALERT):
                break
            heard.append(answer)
    return heard


def speaks_tls(address: Address) -> bool:
    """Whether TLS is spoken there, by whomever; `OSError` as above."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, TRY_S) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=address[0]):
                return True
        except ssl.SSLError as error:
            # It wants a certificate of ours, and says so in TLS; or it spoke something else.
            return "ALERT" in (error.reason or "")
        except ConnectionError:
            return False
