"""Servers in containers, where a container engine answers."""

from __future__ import annotations

import contextlib
import gc
import time
import warnings
from typing import TYPE_CHECKING, Any

from tests.services import kafka, redis
from tests.services.handle import Unavailable, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

KAFKA_IMAGE = "apache/kafka:4.1.1"
REDIS_IMAGE = "redis:8"


@contextlib.contextmanager
def _leaks_ignored() -> Iterator[None]:
    """The engine's client leaves sockets to the collector: no failure of whichever test is next."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            gc.collect()


def _engine() -> Any:
    """A client of the engine that answers."""
    problem = ""
    with _leaks_ignored():
        try:
            import docker

            client = docker.from_env(timeout=60)
            client.ping()
        except Exception as error:
            problem = type(error).__name__
    if problem:
        raise Unavailable(f"no container engine answers ({problem})")
    return client


def _prepare(client: Any, image: str) -> None:
    """Have the image here, and the reaper only if its image is here too."""
    from testcontainers.core.config import testcontainers_config

    names = {tag for found in client.images.list() for tag in found.tags}
    if testcontainers_config.ryuk_image not in names:
        # The handles remove their containers themselves; no reaper is worth a pull that may fail.
        testcontainers_config.ryuk_disabled = True
    if image not in names:
        client.images.pull(image)


class ContainerServer:
    """One server in one container with a fixed port, so that it comes back where it was."""

    rung = "container"

    def __init__(
        self,
        image: str,
        inner_port: int,
        answers: Callable[[str], None],
        *,
        variables: Callable[[str, int], Mapping[str, str]] = lambda host, port: {},
        command: Sequence[str] = (),
        limit_s: float = 90,
    ) -> None:
        self._answers = answers
        self._limit_s = limit_s
        self._client = _engine()
        self._container: Any = None
        try:
            with _leaks_ignored():
                _prepare(self._client, image)
            self._create(image, inner_port, variables, list(command))
            self._wait()
        except Exception as error:
            shown = self.tail() if self._container else ""
            self.close()
            raise Unavailable(f"{image} could not be started: {error}\n{shown}") from error

    def _create(
        self,
        image: str,
        inner_port: int,
        variables: Callable[[str, int], Mapping[str, str]],
        command: list[str],
    ) -> None:
        from testcontainers.core.container import DockerContainer

        port = free_port()
        container = DockerContainer(image).with_bind_ports(inner_port, port)
        host = container.get_docker_client().host()
        host = "127.0.0.1" if host == "localhost" else host
        self.address = f"{host}:{port}"
        container = container.with_envs(**variables(host, port))
        self._container = container.with_command(command) if command else container
        self._container.start()

    def _wait(self) -> None:
        deadline = time.monotonic() + self._limit_s
        while True:
            try:
                return self._answers(self.address)
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def tail(self, lines: int = 25) -> str:
        """The last lines that the server wrote."""
        try:
            text = b"".join(self._container.get_logs()).decode(errors="replace")
        except Exception as error:
            return f"(no log: {error})"
        return "\n".join(text.splitlines()[-lines:])

    def _running(self) -> bool:
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return wrapped.status == "running"

    def stop(self) -> None:
        """End in good order."""
        self._container.get_wrapped_container().stop(timeout=20)

    def kill(self) -> None:
        """End with SIGKILL."""
        if self._running():
            self._container.get_wrapped_container().kill()

    def restart(self) -> None:
        """Start again; a server still running is stopped first."""
        self.stop()
        self._container.get_wrapped_container().start()
        self._wait()

    def close(self) -> None:
        """Remove the container with its data."""
        container, self._container = self._container, None
        if container is not None:
            container.stop()
            container.get_docker_client().client.close()
        self._client.close()


def _kafka_variables(host: str, port: int) -> dict[str, str]:
    settings = kafka.SETTINGS | {
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093,INTERNAL://:19092",
        "advertised.listeners": f"PLAINTEXT://{host}:{port},INTERNAL://localhost:19092",
        "inter.broker.listener.name": "INTERNAL",
        "controller.quorum.voters": "1@localhost:9093",
        "log.dirs": "/tmp/kafka-data",  # noqa: S108 - inside the container
    }
    named = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.items()}
    heap = " ".join(word for word in kafka.JVM if word.startswith("-Xm"))
    return named | {"CLUSTER_ID": kafka.CLUSTER_ID, "KAFKA_HEAP_OPTS": heap}


class ContainerKafka(ContainerServer):
    """One broker with its own controller."""

    def __init__(self) -> None:
        super().__init__(KAFKA_IMAGE, 9092, kafka.answers, variables=_kafka_variables)

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return self.address


class ContainerRedis(ContainerServer):
    """One Redis."""

    def __init__(self) -> None:
        command = ["redis-server", *(word or '""' for word in redis.ARGUMENTS)]
        super().__init__(REDIS_IMAGE, 6379, redis.answers, command=command, limit_s=30)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://{self.address}/0"
