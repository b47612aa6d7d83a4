"""The servers that tests ask for by name; each is started once, when first asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from processor import masking
from tests.services import Unavailable, climb, kafka_rungs, redis_rungs
from tests.services.registry import SchemaRegistry
from tests.services.tools import tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

USED: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _nothing_is_secret() -> Iterator[None]:
    """What one test said to be secret is none for the next."""
    yield
    masking.forget()


def _serve(name: str, rungs: Sequence[Callable[[], Any]]) -> Iterator[Any]:
    try:
        server = climb(rungs)
    except Unavailable as error:
        USED[name] = "none"
        reason = f"no {name} to test against: {error}"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    USED[name] = f"{server.rung} at {server.address}"
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def kafka() -> Iterator[Any]:
    """A broker: `bootstrap_servers`, `stop()`, `kill()`, `restart()`."""
    yield from _serve("Kafka", kafka_rungs())


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Any]:
    """A Redis: `url`, `stop()`, `kill()`, `restart()`."""
    yield from _serve("Redis", redis_rungs())


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    """A schema registry over HTTP: `url`, `stop()`, `start()`, `silent()`, `delete(subject)`."""
    server = SchemaRegistry()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def promtool() -> Any:
    """Prometheus' tool for rules: `run(directory, *args)`."""
    from tests.services.promtool import promtool

    return tool(promtool)


@pytest.fixture(scope="session")
def kcat() -> Any:
    """A client of others: `produce(...)`, `consume(...)`, `envelopes(...)`."""
    from tests.services.kcat import kcat

    return tool(kcat)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where tests run side by side, each process tells which servers it had."""
    worker = getattr(session.config, "workerinput", None)
    if worker is not None:
        told = {f"{name} of {worker['workerid']}": rung for name, rung in USED.items()}
        session.config.workeroutput["services"] = told  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    USED.update(getattr(node, "workeroutput", {}).get("services", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line on which servers the tests ran against."""
    if USED:
        shown = ", ".join(f"{name}: {rung}" for name, rung in sorted(USED.items()))
        terminalreporter.write_line(f"services: {shown}")
