"""The implementations that the contract is asked of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.drive import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from processor.connectors.ports import Log, Store


@pytest.fixture(params=["memory", "sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    if request.param == "memory":
        from processor.connectors.memory.log import MemoryLog

        made: Log = MemoryLog()
    elif request.param == "sqlite":
        from processor.connectors.sqlite.log import SqliteLog

        made = SqliteLog(tmp_path / "data")
    else:
        from processor.connectors.kafka.log import KafkaLog

        made = KafkaLog(request.getfixturevalue("kafka").bootstrap_servers)
    yield made
    made.close()


@pytest.fixture
def bench(log: Log) -> Iterator[Bench]:
    made = Bench(log)
    yield made
    made.close()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        from processor.connectors.memory.store import MemoryStore

        made: Store = MemoryStore()
    else:
        from processor.connectors.redis.store import RedisStore

        made = RedisStore(request.getfixturevalue("redis_server").url)
    yield made
    made.close()
