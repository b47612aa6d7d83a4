"""Who a worker is, and what it runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

Start: TypeAlias = Literal["earliest", "latest"] | datetime
"""Where a new group begins: an end of the log, or its first records of a time or a later one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the worker is and what it runs.

    ``layout`` is the fingerprint that earlier versions of the processor wrote for the same state.
    ``outputs`` are the topics of its sinks, ``internal`` those in which it hands on to a stage,
    ``set_aside`` those of dead letters and late records, ``changelog`` is its own: they may tell of
    a former life. ``handed`` names each internal topic with the layout of its blocks; ``behind``
    says that it reads one itself. ``plan`` is its own identity, and ``lives`` says that something
    outside of Kafka remembers its tasks and epochs. With ``tells`` it hands a watermark on, which
    counts on as many ``partitions``; with ``hears`` its records carry one.
    """

    app: str
    transactional_id: str
    fingerprint: str
    partitions: int
    start_from: Start
    layout: str = ""
    outputs: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()
    changelog: str | None = None
    internal: tuple[str, ...] = ()
    handed: tuple[str, ...] = ()
    behind: bool = False
    plan: str = ""
    lives: bool = False
    tells: bool = False
    hears: bool = False
