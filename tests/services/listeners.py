"""Small servers that are something else than what a client looks for."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.services.handle import Unavailable, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = tempfile.TemporaryDirectory(prefix="certificate-", ignore_cleanup_errors=True)


@cache
def certificate() -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody knows, signed by itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise Unavailable("no `openssl` on the path")
    place = Path(DIRECTORY.name)
    paths = place / "certificate.pem", place / "key.pem"
    command = [
        *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3"),
        *("-out", str(paths[0]), "-keyout", str(paths[1]), "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return paths


def closed() -> str:
    """An address where nothing listens."""
    return f"127.0.0.1:{free_port()}"


class Listener:
    """Takes connections, and answers what it is told to.

    Args:
        answer: what is said to what was read; ``None`` hangs up, empty says nothing.
        tls: speak TLS, with the certificate that nobody knows.
        host: the address of this machine to listen at.
    """

    def __init__(
        self,
        answer: Callable[[bytes], bytes | None] = lambda _: b"",
        *,
        tls: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        self._answer = answer
        self._context = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate())
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, 0), family=family)
        port = self._socket.getsockname()[1]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            while heard := connection.recv(65536):
                said = self._answer(heard)
                if said is None:
                    break
                connection.sendall(said)
        except OSError:
            pass
        finally:
            connection.close()

    def close(self) -> None:
        """Take no more connections."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
