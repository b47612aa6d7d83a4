"""``/metrics``, ``/livez`` and ``/readyz`` over HTTP, from a thread beside the worker."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from processor.errors import SettingsError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a reader that hangs must not keep the process alive

    def server_bind(self) -> None:
        """Bind without asking the name service what this host is called, which may take long."""
        # Else the port of a worker that was killed is taken for a minute by what was asked of it.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        host, port = self.socket.getsockname()[:2]
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a scraper that hung up is no news."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 10.0

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Log no requests: probes come every few seconds."""


class MetricsServer:
    """A running server: where it listens, and how to stop it."""

    def __init__(self, server: WSGIServer) -> None:
        self._server = server
        self.port: Final[int] = server.server_port
        self._thread = Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop answering, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve(
    registry: CollectorRegistry,
    port: int,
    host: str = "127.0.0.1",
    *,
    live: Callable[[], bool] = lambda: True,
    ready: Callable[[], bool] = lambda: True,
    why: Callable[[], str] = lambda: "",
) -> MetricsServer:
    """Answer ``/metrics``, ``/livez`` and ``/readyz``; port 0 takes a free one.

    ``live`` says whether the worker still makes progress (restart it when not), ``ready`` whether
    it has its partitions and state, and its servers answer; ``why`` it is not. All three are called
    from other threads.

    >>> server = serve(CollectorRegistry(), port=0)
    >>> server.port > 0
    True
    >>> server.close()
    """
    metrics: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)
    probes: dict[str, tuple[Callable[[], bool], Callable[[], str]]] = {
        "/livez": (live, lambda: "not live: the worker makes no progress"),
        "/readyz": (ready, lambda: f"not ready: {why()}"),
    }

    def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            return metrics(environ, start)
        if path not in probes:
            return _answer(start, "404 Not Found", "there are /metrics, /livez and /readyz")
        probe, failed = probes[path]
        try:
            well = probe()
        except Exception as error:  # noqa: BLE001 - a probe that breaks is a failed probe
            return _answer(start, _UNAVAILABLE, f"the probe failed: {error!r}")
        return _answer(start, "200 OK", "ok") if well else _answer(start, _UNAVAILABLE, failed())

    # An address of IPv6 may stand in brackets, as it does in an URL.
    bare = host.removeprefix("[").removesuffix("]")
    kind = _Server6 if ":" in bare else _Server
    try:
        server = make_server(bare, port, app, server_class=kind, handler_class=_Quiet)
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"metrics cannot be served at {host}:{port}: {error}",
            remedy="give another --metrics-port (0 takes a free one) or --metrics-host",
        ) from error
    return MetricsServer(server)


_UNAVAILABLE: Final = "503 Service Unavailable"


def _answer(start: StartResponse, status: str, text: str) -> Iterable[bytes]:
    body = f"{text}\n".encode()
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start(status, headers)
    return [body]
