"""A proxy in front of a broker: it can hold one request or one answer, or all of a direction."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

from tests.services.kafka import LocalKafka

REQUESTS, ANSWERS = "requests", "answers"
# Numbers of requests, as Kafka's protocol has them.
PRODUCE, TXN_OFFSET_COMMIT, END_TXN = 0, 28, 26
LIMIT_S = 60.0


class Hold:
    """One message that is kept back: the next of its kind after the hold was placed."""

    def __init__(self, api, direction):
        self.api, self.direction = api, direction
        self._caught, self._open = threading.Event(), threading.Event()

    def takes(self, api, direction):
        return (api, direction) == (self.api, self.direction) and not self._caught.is_set()

    def keep(self):
        self._caught.set()
        self._open.wait()

    def is_caught(self):
        """Whether the message has come."""
        return self._caught.is_set()

    def caught(self):
        """Waits until the message has come."""
        assert self._caught.wait(LIMIT_S), f"no message {self.api} among the {self.direction}"

    def release(self):
        """Lets it go on its way, also when nobody waits for it any more."""
        self._open.set()


class Proxy:
    """Passes whole messages on, in their order; each connection in two threads."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.upstream = 0
        self._cut = set()
        self._holds = []
        self._sockets = [self._listener]
        self._changed = threading.Condition()
        self._start(self._accept)

    @staticmethod
    def _start(target, *args):
        threading.Thread(target=target, args=args, daemon=True).start()

    def hold(self, api, direction):
        """Keeps the next message of this kind, and all that follows it on its connection."""
        placed = Hold(api, direction)
        with self._changed:
            self._holds.append(placed)
        return placed

    def cut(self, *directions):
        """Nothing passes any more; connections stay, as they do when a cable is pulled."""
        with self._changed:
            self._cut |= set(directions)

    def heal(self):
        """What was under way arrives late, then all is as before."""
        with self._changed:
            self._cut.clear()
            self._changed.notify_all()

    def close(self):
        self.heal()
        for placed in self._holds:
            placed.release()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    broker = socket.create_connection(("127.0.0.1", self.upstream), 10)
                except OSError:
                    client.close()
                    continue
                broker.settimeout(None)
                self._sockets += [client, broker]
                kinds = {}
                self._start(self._requests, client, broker, kinds)
                self._start(self._answers, client, broker, kinds)

    def _requests(self, client, broker, kinds):
        with contextlib.suppress(OSError), contextlib.closing(client.makefile("rb")) as stream:
            while message := _message(stream):
                api, _, number = struct.unpack_from(">hhi", message, 4)
                kinds[number] = api
                self._gate(api, REQUESTS)
                broker.sendall(message)
        _shut(broker)

    def _answers(self, client, broker, kinds):
        with contextlib.suppress(OSError), contextlib.closing(broker.makefile("rb")) as stream:
            while message := _message(stream):
                (number,) = struct.unpack_from(">i", message, 4)
                self._gate(kinds.pop(number, None), ANSWERS)
                client.sendall(message)
        _shut(client)

    def _gate(self, api, direction):
        with self._changed:
            holds = [placed for placed in self._holds if placed.takes(api, direction)]
        for placed in holds:
            placed.keep()
        with self._changed:
            self._changed.wait_for(lambda: direction not in self._cut)


def _message(stream):
    head = stream.read(4)
    if len(head) < 4:
        return b""
    return head + stream.read(struct.unpack(">i", head)[0])


def _shut(end):
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def behind_a_proxy(servers, **settings):
    """A broker of the case's own, and the proxy: who connects there stays there."""
    proxy = Proxy()
    servers.at_the_end(proxy.close)
    broker = LocalKafka({k.replace("_", "."): str(v) for k, v in settings.items()}, proxy.port)
    servers.at_the_end(broker.close)
    proxy.upstream = broker.behind
    return broker, proxy
