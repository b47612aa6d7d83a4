"""How a member of a group lets go of its client."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Any, Protocol

from confluent_kafka import KafkaException

from processor.connectors.kafka import settings

logger = logging.getLogger(__name__)
logger.addFilter(settings.Repeats())

LEAVE_S = 5.0
CLOSE_S = 3.0


class Owning(Protocol):
    """Whoever is told of the partitions that the group gives and takes."""

    def owns_any(self) -> bool:
        """Whether the group has given it partitions that it has not handed back."""
        ...


def leave_group(client: Any, consumer: Owning) -> None:
    """Leave the group: a static member does so only by unsubscribing, and only when all is back."""
    client.unsubscribe()
    deadline = time.monotonic() + LEAVE_S
    while time.monotonic() < deadline:
        client.consume(1, 0.02)
        if not consumer.owns_any() and not client.assignment() and not client.memberid():
            return


def end(client: Any, name: str) -> None:
    """Close the client, within a limit.

    A hand-over that is under way when the client closes makes it ask for the partitions twice,
    and librdkafka (2.16) answers the second time only if it has not ended by then: the call hangs.
    The thread that it hangs in holds nothing but the dead client.
    """
    with contextlib.suppress(KafkaException, SystemError):
        client.consume(1, 0)
    closing = threading.Thread(target=_close, args=(client, name), daemon=True)
    closing.start()
    closing.join(CLOSE_S)
    if closing.is_alive():
        logger.warning("%s: the client did not close within %g s: left behind", name, CLOSE_S)


def _close(client: Any, name: str) -> None:
    try:
        client.close()
    except (KafkaException, SystemError) as problem:
        logger.info("%s: closing: %s", name, problem)
