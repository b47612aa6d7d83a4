"""Every error that the processor raises on purpose.

::

    ProcessorError                  code, what happened, remedy
    ├── SettingsError               a setting, option or file is wrong: nothing was started
    ├── TopologyError               a topology cannot run: refused before it starts
    ├── FeedError                   what a feed reads from cannot be read, or not go on
    ├── RecordError                 a record broke a step that was told to fail on it
    ├── StateError
    │   ├── StateLostError          the committed offset names a checkpoint that is not there
    │   └── StateMismatchError      the checkpoint belongs to another topology or partition count
    ├── QueryError                  a query has ended by another of these: its cause
    ├── ShutdownError               a worker was told to stop, and did not within its time
    ├── InputLostError              the committed offset is no longer in the log
    ├── InputReplacedError          the input topic was deleted and made anew
    ├── StoreError                  Redis refused
    │   └── StoreAwayError          Redis does not answer for now: the same call may be made again
    ├── SinkError                   files, a function or a table did not take what they were given
    ├── RegistryError               the schema registry refused, or has no schema for an output
    │   └── RegistryAwayError       the schema registry does not answer for now: ask again
    ├── SchemaChangeError           records of a schema that does not fit, and told to stop on it
    └── LogError                    Kafka did not answer, or refused
        ├── RetriableError          the same call may be made again
        ├── AbortableError          the transaction must be aborted, the batch tried again
        ├── OutcomeUnknownError     the commit may have happened: ask the log
        ├── TopicGoneError          a topic that is needed is not there, and does not come back
        ├── StandbyError            another plan is at work in the group: wait outside of it
        └── FencedError             another worker has this identity or these partitions
            └── IdentityTakenError  another worker runs under this very identity

An error is named for what its receiver must do. Each carries a ``code`` for logs and alerts, and
a ``remedy`` for the person who reads it. No text of one shows a secret (`processor.masking`).
"""

from __future__ import annotations

from typing import ClassVar

from processor.masking import masked


class ProcessorError(Exception):
    """The root: ``code`` names the case, ``remedy`` says what to do about it.

    >>> print(StateLostError("blob 7 is missing", remedy="restore Redis"))
    blob 7 is missing
      remedy: restore Redis
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message = masked(message)
        self.remedy = masked(remedy)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.remedy}" if self.remedy else self.message


class SettingsError(ProcessorError):
    """A setting, an option or a file of settings is wrong."""

    code = "settings"


class TopologyError(ProcessorError):
    """A topology cannot run; the message names the line and what would be right.

    Where more than one thing is wrong, the ``others`` come behind it.
    """

    code = "topology"

    def __init__(
        self, message: str, *, remedy: str = "", others: tuple[TopologyError, ...] = ()
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.others = others

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *map(str, self.others)])


class RecordError(ProcessorError):
    """A record could not be processed, and the topology says ``on_error="fail"``."""

    code = "record"


class FeedError(ProcessorError):
    """A feed cannot read what it is to read: a file, a folder, a receiver."""

    code = "feed"


class StateError(ProcessorError):
    """State cannot be loaded."""

    code = "state"


class StateLostError(StateError):
    """The committed offset names a checkpoint that the store no longer has, or has changed."""

    code = "state_lost"


class StateMismatchError(StateError):
    """The checkpoint was written by another topology, format or partition count."""

    code = "state_mismatch"


class QueryError(ProcessorError):
    """A query has ended by an error: ``__cause__`` is it, ``topology`` the application."""

    code = "query"

    def __init__(self, message: str, *, remedy: str = "", topology: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.topology = topology


class ShutdownError(ProcessorError):
    """A worker was told to stop, and had not stopped when ``--shutdown-timeout`` was over."""

    code = "shutdown"


class InputLostError(ProcessorError):
    """The committed offset is older than what the topic still holds."""

    code = "input_lost"


class InputReplacedError(ProcessorError):
    """The input topic is another log than the one that the committed offset is of."""

    code = "input_replaced"


class StoreError(ProcessorError):
    """The checkpoint store did not answer, or refused."""

    code = "store"


class StoreAwayError(StoreError):
    """The checkpoint store does not answer for now; the same call may be made again."""

    code = "store_away"


class SinkError(ProcessorError):
    """A sink outside of Kafka failed: files, a function of the user's, a table."""

    code = "sink"


class RegistryError(ProcessorError):
    """The schema registry refused, or has not what a topology needs to write."""

    code = "registry"


class RegistryAwayError(RegistryError):
    """The schema registry does not answer for now; the same call may be made again."""

    code = "registry_away"


class SchemaChangeError(ProcessorError):
    """Records are of a schema that the topology's cannot be read from, and it says to stop.

    ``row`` is the first of them in what was to be read.
    """

    code = "schema_change"
    row: int = 0


class LogError(ProcessorError):
    """The log (Kafka) did not answer, or refused; nothing can be done but to stop."""

    code = "log"


class RetriableError(LogError):
    """The call did nothing that counts; it may be made again."""

    code = "log_retriable"


class AbortableError(LogError):
    """The running transaction must be aborted; the batch may be tried again."""

    code = "log_abortable"


class OutcomeUnknownError(LogError):
    """A commit was asked for and not answered: it may or may not have happened."""

    code = "log_unknown"


class StandbyError(LogError):
    """The group runs another plan: wait outside of it."""

    code = "standby"


class FencedError(LogError):
    """Another worker has taken this identity or these partitions."""

    code = "log_fenced"


class IdentityTakenError(FencedError):
    """Another worker has joined the group under this worker's identity, just now."""


class TopicGoneError(LogError):
    """A topic that the topology reads or writes is not there, and has not come back."""

    code = "topic_gone"
