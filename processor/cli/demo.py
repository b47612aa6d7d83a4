"""``processor demo``: the ride pipeline, both stages live, from trips to a picture.

::

    trips ──► stage 1: nearest cluster ──► trips-enriched ──► stage 2: counts ──► popular-clusters
                     └► dead letters
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from processor import app
from processor.api.functions import centroids as read_centroids
from processor.cli.outcome import Outcome
from processor.cli.run import signals
from processor.connectors.ports import Log, Owner
from processor.engine.commit import changelog
from processor.engine.commit.task import task_name
from processor.errors import LogError, ProcessorError, RetriableError, SettingsError
from processor.metrics.progress import BatchReport
from processor.model.log import Assigned, Message, Output, TopicPartition
from processor.plan.nodes import Plan
from processor.settings import Settings

ENRICH, POPULAR = "topologies.uber.enrich", "topologies.uber.popular"
MALFORMED: Final = 0.0005
FEED: Final = 1_000
STALL_S: Final = 60.0
ASK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the demo was asked for."""

    source: Path | None
    records: int
    seed: int
    centroids: Path | None
    output: Path
    rate: float | None


def demo(wanted: Wanted, settings: Settings) -> None:
    """Run both stages over all trips; files, table and totals at the end."""
    lines = _lines(wanted)
    _make(wanted.output)
    centroids = wanted.centroids or _bundled()
    centres = read_centroids(centroids)
    names = _names(settings)
    plans = _plans(names, centroids)
    create = settings.create_topics or app.PARTITIONS
    settings = settings.model_copy(update={"create_topics": create})
    started = time.monotonic()
    stop = threading.Event()
    with signals(stop), app.backends(settings) as used:
        click.echo(used.line)
        if names["trips"] != "trips":
            click.echo(f"topics and applications of this run: {names['trips'][:-5]}*")
        counts = app.prepare_topics(used.log, plans, settings)
        if settings.on_checkpoint_loss == "changelog":
            changelog.prepare(used.log, counts, create=True)
        stages = Stages(plans, settings, used, counts, stop)
        with stages.running(), _shown(stages):
            read = stages.feed(names["trips"], lines, wanted.rate)
            stages.wait_for(plans[0], _ends(used.log, names["trips"]), "stage 1")
            enriched = list(records(used.log, names["trips-enriched"], stages.check))
            stages.wait_for(plans[1], _behind(enriched), "stage 2")
        counted = list(records(used.log, names["popular-clusters"]))
        dead_letters = list(records(used.log, names["trips-dead-letters"]))
        _tidy(used, plans, counts)
    outcome = Outcome(read, enriched, counted, dead_letters, stages.late)
    outcome.write(wanted.output, centres)
    outcome.tell(centres, wanted.output, time.monotonic() - started)


# What goes in.


def _lines(wanted: Wanted) -> Iterator[list[bytes]]:
    if wanted.source is None:
        from topologies.uber import generate

        return generate.trips(wanted.records, wanted.seed, MALFORMED)
    try:
        with wanted.source.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise SettingsError(
            f"--input {wanted.source} cannot be read: {error.strerror}",
            remedy="name a CSV file with lines as in 2014-08-01 00:00:00,40.729,-73.9422,B02598, "
            "or leave --input out for trips that are made up",
        ) from None
    return _file(wanted.source)


def _file(path: Path) -> Iterator[list[bytes]]:
    with path.open("rb") as file:
        lines = (line.rstrip(b"\r\n") for line in file)
        first = next(lines, None)
        if first is None:
            return
        first = first.removeprefix(b"\xef\xbb\xbf")
        if is_header(first):
            click.echo(f"skipped the header: {first.decode(errors='replace')}")
        else:
            yield [first]
        while chunk := list(islice(lines, FEED)):
            yield chunk


def is_header(line: bytes) -> bool:
    """Whether a line names the columns.

    >>> is_header(b"Date/Time,Lat,Lon,Base"), is_header(b"2014-08-01 00:00:00,40.7,-73.9,B02598")
    (True, False)
    """
    names = {name.strip(b' "').lower() for name in line.split(b",")}
    return bool(names & {b"lat", b"latitude"} and names & {b"lon", b"lng", b"longitude"})


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"--output {directory} cannot be made: {error.strerror}", remedy="name another folder"
        ) from None


def _bundled() -> Path:
    from topologies.uber import enrich

    return enrich.CENTROIDS


def _names(settings: Settings) -> dict[str, str]:
    """Names of this run alone where others are: on a Kafka or Redis of theirs, or on disk."""
    prefix = ""
    if (settings.bootstrap_servers, settings.redis_url, settings.data_dir) != (None, None, None):
        prefix = f"demo-{datetime.now().astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}-"
    plain = (
        "trips", "trips-enriched", "popular-clusters", "trips-dead-letters",
        "trips-enriched-dead-letters", "uber-enrich", "uber-popular",
    )  # fmt: skip
    return {name: prefix + name for name in plain}


def _plans(names: Mapping[str, str], centroids: Path) -> list[Plan]:
    import topologies.uber  # noqa: F401 - the processor's own, whatever lies beside the user

    enrich = {
        "app": names["uber-enrich"],
        "input": names["trips"],
        "output": names["trips-enriched"],
        "dead_letters": names["trips-dead-letters"],
        "centroids": str(centroids),
    }
    popular = {
        "app": names["uber-popular"],
        "input": names["trips-enriched"],
        "output": names["popular-clusters"],
        "dead_letters": names["trips-enriched-dead-letters"],
    }
    return [app.load_topology(ENRICH, enrich), app.load_topology(POPULAR, popular)]


# What goes on.


class Stages:
    """Both stages as threads, fed and watched by the main thread."""

    def __init__(
        self,
        plans: Sequence[Plan],
        settings: Settings,
        used: app.Backends,
        partitions: Mapping[str, int],
        stop: threading.Event,
    ) -> None:
        self._used = used
        self._stop = stop
        self._grace_s = settings.shutdown_timeout.total_seconds()
        self._changed = threading.Condition()
        self._failures: list[BaseException] = []
        self._batches = 0
        self.fed = self.late = 0
        self.done = {plan.app: 0 for plan in plans}
        self.progress: Callable[[], None] = lambda: None
        self.milestone: Callable[[str], None] = lambda _: None
        self._threads = [
            threading.Thread(
                target=self._work,
                args=(plan, settings, partitions[plan.app], stage * settings.workers + worker),
                name=plan.app,
                daemon=True,
            )
            for stage, plan in enumerate(plans)
            for worker in range(settings.workers)
        ]

    def _work(self, plan: Plan, settings: Settings, partitions: int, number: int) -> None:
        try:
            app.run_worker(
                plan, settings, self._used, partitions, self._stop,
                number=number, host=app.Host(on_batch=self._batch),
            )  # fmt: skip
            if not self._stop.is_set():
                raise ProcessorError(f"{plan.app} ended by itself")  # pragma: no cover
        except BaseException as error:  # noqa: BLE001 - it is raised again in the main thread
            with self._changed:
                self._failures.append(error)
                self._changed.notify_all()

    def _batch(self, report: BatchReport) -> None:
        with self._changed:
            self._batches += 1
            self.done[report.topology] += report.records_in
            self.late += report.late
            self._changed.notify_all()

    @contextmanager
    def running(self) -> Iterator[None]:
        """The threads run while the block does; what broke one of them is raised."""
        for thread in self._threads:
            thread.start()
        try:
            yield
            self.check()
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(self._grace_s)
        if self._failures:
            raise self._failures[0]
        if any(thread.is_alive() for thread in self._threads):
            raise ProcessorError(f"a stage did not stop within {self._grace_s:g} s")

    def check(self) -> None:
        """Raise what broke a stage, or that it was asked to stop."""
        if self._failures:
            raise self._failures[0]
        if self._stop.is_set():
            raise ProcessorError(
                "stopped before all trips were through",
                remedy="the demo keeps nothing: start it again",
            )

    def feed(self, topic: str, chunks: Iterator[list[bytes]], rate: float | None) -> int:
        """Append all lines to the topic, no faster than ``rate`` a second."""
        producer = self._used.log.producer(None)
        producer.start(10)
        started, step = time.monotonic(), FEED if rate is None else max(1, round(rate / 10))
        try:
            for chunk in chunks:
                for first in range(0, len(chunk), step):
                    part = chunk[first : first + step]
                    producer.produce(Output(topic, part))
                    self.fed += len(part)
                    self._pace(started + self.fed / rate if rate else 0.0)
            producer.flush(STALL_S)
        finally:
            producer.close()
        self.milestone(f"fed {self.fed} lines")
        return self.fed

    def _pace(self, until: float) -> None:
        while True:
            self.check()
            self.progress()
            left = until - time.monotonic()
            if left <= 0:
                return
            with self._changed:
                self._changed.wait(min(left, ASK_S))

    def wait_for(self, plan: Plan, ends: Mapping[TopicPartition, int], stage: str) -> None:
        """Until the stage's group has committed up to ``ends``; raises when nothing moves."""
        topic, _ = app.topics_of(plan)
        before, moved = -1, time.monotonic()
        while True:
            self.check()
            self.progress()
            batches = self._batches
            at = self._committed(plan.app, topic)
            if all(at.get(partition, 0) >= end for partition, end in ends.items()):
                break
            if sum(at.values()) != before:
                before, moved = sum(at.values()), time.monotonic()
            with self._changed:
                if self._batches == batches and not self._failures:
                    self._changed.wait(ASK_S)
            if time.monotonic() - moved > STALL_S:
                raise LogError(
                    f"{plan.app} has not come on for {STALL_S:g} s",
                    remedy="see the log; --log-level info tells each batch",
                )
        self.milestone(f"{stage} has processed {self.done[plan.app]} records")

    def _committed(self, group: str, topic: str) -> dict[TopicPartition, int]:
        try:
            return {p: c.offset for p, c in self._used.log.committed(group, topic).items()}
        except RetriableError:
            return {}  # a transaction is about to end


@contextmanager
def _shown(stages: Stages) -> Iterator[None]:
    """Bars on a terminal, else a line for each thing that is done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        stages.milestone = lambda text: click.echo(text, err=True)
        yield
        return
    columns = (TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bars:
        fed = bars.add_task("fed", total=None)
        words = ("enriched", "counted")
        tasks = {
            name: bars.add_task(word, total=None)
            for name, word in zip(stages.done, words, strict=True)
        }

        def progress() -> None:
            bars.update(fed, completed=stages.fed)
            for name, task in tasks.items():
                bars.update(task, completed=stages.done[name], total=stages.fed)

        stages.progress = progress
        yield


def _ends(log: Log, topic: str) -> dict[TopicPartition, int]:
    extents = log.describe([topic])[topic].extents
    return {TopicPartition(topic, p): extent.high for p, extent in extents.items() if extent.high}


def _behind(messages: Sequence[Message]) -> dict[TopicPartition, int]:
    """The position behind the last record of each partition."""
    return {
        TopicPartition(m.topic() or "", m.partition() or 0): (m.offset() or 0) + 1 for m in messages
    }


def records(log: Log, topic: str, check: Callable[[], None] = lambda: None) -> Iterator[Message]:
    """All committed records of a topic up to its ends as of now, each partition's in order."""
    extents = log.describe([topic])[topic].extents
    left = {TopicPartition(topic, p): e.high for p, e in extents.items() if e.high > e.low}
    name = f"{topic}-reader-{secrets.token_hex(4)}"
    consumer = log.consumer(name, name, [topic])
    moved = time.monotonic()
    try:
        while left:
            check()
            polled = consumer.poll(10_000, ASK_S)
            for change in polled.changes:
                if isinstance(change, Assigned):
                    consumer.open({p: extents[p.partition].low for p in change.partitions})
            yield from polled.messages
            at = _behind(polled.messages) | dict(polled.ends)
            left = {p: end for p, end in left.items() if at.get(p, 0) < end}
            if at or polled.changes:
                moved = time.monotonic()
            if time.monotonic() - moved > STALL_S:
                raise LogError(f"{topic} could not be read to its end within {STALL_S:g} s")
    finally:
        consumer.close(leave=True)


def _tidy(used: app.Backends, plans: Sequence[Plan], partitions: Mapping[str, int]) -> None:
    """Nobody will go on from this run's checkpoints."""
    for plan in plans:
        me = Owner(f"{plan.app}.demo", f"{plan.app}.demo", 0)
        for number in range(partitions[plan.app]):
            task = task_name(plan.app, TopicPartition(app.topics_of(plan)[0], number))
            used.store.acquire({task: me})
            used.store.clear(task, me)
