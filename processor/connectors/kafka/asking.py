"""A request to a broker: how long it may take, and what becomes of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import KafkaException
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from processor.connectors.kafka.errors import classify
from processor.errors import RetriableError

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")

# A single request, and all its tries: a topic just created is not known everywhere at once.
REQUEST_S = 5.0
RETRY_S = 10.0


def answered(answer: Any, doing: str) -> Any:
    """What a future of the client holds; raises `LogError` for ``doing`` where that is an error."""
    try:
        return answer.result(REQUEST_S + 1)
    except KafkaException as problem:
        raise classify(problem, doing) from problem
    except TimeoutError as problem:
        raise RetriableError(f"{doing}: no answer") from problem


def retried(ask: Callable[[], Answer]) -> Answer:
    """What ``ask`` returns, tried again for `RETRY_S` where it raises `RetriableError`."""
    for attempt in Retrying(
        retry=retry_if_exception_type(RetriableError),
        stop=stop_after_delay(RETRY_S),
        wait=wait_exponential(0.02, max=0.5),
        reraise=True,
    ):
        with attempt:
            return ask()
    raise AssertionError("tenacity either returns or raises")  # pragma: no cover
