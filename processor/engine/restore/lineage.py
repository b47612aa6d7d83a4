"""Whether the input is still the log that it was: a topic that is made anew has the old name.

Its offsets begin again, so a committed position means other records in it, or none yet. The log
names itself (Kafka by the topic id); the name stands in every manifest, is compared when a task is
loaded, and asked anew for every batch, after its last record was polled and before it is
committed::

    poll ──► ask ──► compute ──► the answer: the same? ──► commit
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from processor.connectors.ports import Log
from processor.errors import InputReplacedError, LogError, RetriableError
from processor.model.log import TopicPartition

REMEDY = (
    "begin anew with `processor reset`, or use another application id: what is in state was "
    "computed from the former log"
)


class Lineage:
    """What the input topic's log calls itself.

    ``identity`` is empty until it is known, and where the log has no names for itself.
    """

    def __init__(self, log: Log, topic: str) -> None:
        self._log, self._topic = log, topic
        self._answer: Callable[[], str] | None = None
        self.identity = ""

    def ask(self) -> None:
        """Begin to ask; it costs no waiting."""
        self._answer = self._log.identity(self._topic)

    def check(self) -> None:
        """Wait for the answer to `ask`.

        Raises:
            InputReplacedError: it is another log.
            RetriableError: no answer came, or there is no such topic for now.
        """
        if self._answer is None:
            return
        found, self._answer = self._answer(), None
        self._compare(found, self.identity, self._topic)
        self.identity = found or self.identity

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Where the log refuses for good, and is another one, that is why: `InputReplacedError`."""
        try:
            yield
        except LogError as error:
            if type(error) is LogError:
                with suppress(RetriableError):
                    self.ask()
                    self.check()
            raise

    def check_head(self, partition: TopicPartition, identity: str) -> None:
        """Compare what a manifest tells; raises `InputReplacedError`."""
        self._compare(self.identity, identity, str(partition))

    def _compare(self, found: str, before: str, where: str) -> None:
        # Brokers before 2.8, and manifests from before this was looked at, tell nothing.
        if found and before and found != before:
            raise InputReplacedError(
                f"{where}: the topic was deleted and made anew (its id is {found}, and was "
                f"{before}): the committed offset is of the former one",
                remedy=REMEDY,
            )
