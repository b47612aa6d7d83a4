"""Made-up trips, to try the ride pipeline with: ``python -m topologies.uber.generate``.

Lines as in ``2014-08-01 00:00:00,40.729,-73.9422,B02598``: hot spots of New York, busier by day
than by night, all over August 2014, mildly out of order. The same number of records and the same
seed make the same lines.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from types import FrameType
from typing import Any, Final

import click
import numpy as np
import numpy.typing as npt
import polars as pl

CHUNK: Final = 10_000
START: Final = datetime(2014, 8, 1)  # noqa: DTZ001 - trips tell local time
DAYS: Final = 31
DISORDER_S: Final = 180
BASES: Final = ("B02512", "B02598", "B02617", "B02682", "B02764")
BASE_SHARES: Final = (0.05, 0.29, 0.34, 0.25, 0.07)

# Latitude and longitude of a hot spot, how far it spreads in degrees, its share of the trips.
SPOTS: Final = (
    (40.7549, -73.9840, 0.012, 0.24),  # Midtown
    (40.7336, -74.0027, 0.010, 0.20),  # Greenwich Village
    (40.7093, -74.0110, 0.008, 0.10),  # the Financial District
    (40.7781, -73.9612, 0.012, 0.12),  # the Upper East Side
    (40.7870, -73.9754, 0.011, 0.08),  # the Upper West Side
    (40.7170, -73.9570, 0.012, 0.08),  # Williamsburg
    (40.6840, -73.9770, 0.018, 0.07),  # Brooklyn
    (40.6446, -73.7830, 0.007, 0.04),  # the airport JFK
    (40.7742, -73.8720, 0.006, 0.04),  # the airport LaGuardia
    (40.6900, -74.1780, 0.008, 0.02),  # the airport of Newark
    (40.8300, -73.9200, 0.025, 0.01),  # the Bronx
)
_BY_HOUR: Final = (  # how busy an hour of the day is
    12, 8, 6, 6, 8, 12, 20, 28, 30, 26, 24, 26, 28, 32, 38, 46, 52, 56, 54, 48, 44, 42, 34, 22,
)  # fmt: skip
_BROKEN: Final = (
    b"",
    b"not a trip",
    b"2014-08-32 00:00:00,40.729,-73.9422,B02598",
    b"2014-08-01 00:00:00,north,-73.9422,B02598",
    b"2014-08-01 00:00:00,40.729",
    b"2014-08-01 00:00:00,40.729,-73.9422,B02598,surplus",
    b"2014-08-01 00:00:00,40.729,-73.9422,\xff\xfe",
)


def trips(records: int, seed: int = 1, malformed: float = 0.0) -> Iterator[list[bytes]]:
    """Chunks of lines; the share ``malformed`` of them is broken, evenly spread.

    >>> [len(chunk) for chunk in trips(15_000, seed=7)]
    [10000, 5000]
    """
    for number, first in enumerate(range(0, records, CHUNK)):
        index = np.arange(first, min(first + CHUNK, records))
        lines = _lines(index, records, np.random.default_rng([seed, number]))
        if malformed:
            before, after = np.floor(index * malformed), np.floor((index + 1) * malformed)
            for row in np.flatnonzero(after > before).tolist():
                lines[row] = _BROKEN[int(before[row]) % len(_BROKEN)]
        yield lines


def _lines(index: npt.NDArray[np.int64], records: int, rng: np.random.Generator) -> list[bytes]:
    count = len(index)
    spots = np.array(SPOTS)
    spot = spots[rng.choice(len(spots), count, p=spots[:, 3])]
    table = pl.DataFrame(
        {
            "dt": _times(index, records, rng),
            "lat": np.round(rng.normal(spot[:, 0], spot[:, 2]), 4),
            "lon": np.round(rng.normal(spot[:, 1], spot[:, 2]), 4),
            "base": np.array(BASES)[rng.choice(len(BASES), count, p=BASE_SHARES)],
        }
    )
    text = table.write_csv(include_header=False, datetime_format="%Y-%m-%d %H:%M:%S")
    return text.encode().split(b"\n")[:-1]


def _times(index: npt.NDArray[np.int64], records: int, rng: np.random.Generator) -> pl.Series:
    """Evenly through the month by how busy it is, each then a little early."""
    hours = np.arange(DAYS * 24 + 1)
    busy = np.concatenate([[0], np.cumsum(np.tile(_BY_HOUR, DAYS))])
    seconds = np.interp((index + 0.5) / records * busy[-1], busy, hours * 3600)
    seconds = np.maximum(seconds - rng.uniform(0, DISORDER_S, len(index)), 0).astype(np.int64)
    return pl.Series((seconds * 1_000_000).astype("timedelta64[us]")) + START


Send = Callable[[Sequence[bytes]], None]


def feed(
    chunks: Iterator[list[bytes]], send: Send, stop: threading.Event, rate: float | None = None
) -> int:
    """Send all lines, no faster than ``rate`` a second, until ``stop``; how many were sent."""
    sent, started = 0, time.monotonic()
    for chunk in chunks:
        step = max(1, round(rate / 10)) if rate else len(chunk)
        for first in range(0, len(chunk), step):
            if stop.is_set():
                return sent
            part = chunk[first : first + step]
            send(part)
            sent += len(part)
            if rate:
                stop.wait(max(0.0, started + sent / rate - time.monotonic()))
    return sent


@click.command()
@click.option("--records", type=click.IntRange(min=0), default=20_000, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Records a second.")
@click.option("--malformed", type=click.FloatRange(0, 1), default=0.0, metavar="SHARE",
              help="Share of broken lines: 0.001.")  # fmt: skip
@click.option("--bootstrap-servers", metavar="H:P", help="Kafka; standard output if left out.")
@click.option("--topic", default="trips", show_default=True)
def main(  # noqa: PLR0917 - an argument per option
    records: int,
    seed: int,
    rate: float | None,
    malformed: float,
    bootstrap_servers: str | None,
    topic: str,
) -> None:
    """Write made-up trips to a topic of Kafka, or to standard output. SIGTERM ends it well."""
    stop = threading.Event()

    def asked(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
    chunks = trips(records, seed, malformed)
    if bootstrap_servers is None:
        feed(chunks, _print, stop, rate)
        return
    producer = _Producer(bootstrap_servers, topic)
    started = time.monotonic()
    sent = feed(chunks, producer.send, stop, rate)
    producer.finish()
    took = timedelta(seconds=round(time.monotonic() - started))
    click.echo(f"{sent} trips are in {topic} at {bootstrap_servers}, after {took}", err=True)


def _print(lines: Sequence[bytes]) -> None:
    sys.stdout.buffer.write(b"\n".join(lines) + b"\n")
    sys.stdout.buffer.flush()


class _Producer:
    """An idempotent producer: each line once and in order, or an error."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        from confluent_kafka import Producer

        self._topic = topic
        self._failed: list[str] = []
        self._client: Any = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 20,
                "sticky.partitioning.linger.ms": 0,  # even shares, also of a short run
                "on_delivery": self._delivered,
            }
        )

    def _delivered(self, error: Any, message: Any) -> None:
        del message
        if error is not None:
            self._failed.append(str(error.str()))

    def send(self, lines: Sequence[bytes]) -> None:
        """Hand lines over; waits while the client's queue is full."""
        for line in lines:
            while True:
                try:
                    self._client.produce(self._topic, line)
                    break
                except BufferError:
                    self._client.poll(0.1)
        self._client.poll(0)
        self._check()

    def finish(self) -> None:
        """Wait until all lines are acknowledged."""
        left = self._client.flush(60)
        self._check()
        if left:
            raise click.ClickException(f"{left} trips are not acknowledged after a minute")

    def _check(self) -> None:
        if self._failed:
            raise click.ClickException(
                f"{len(self._failed)} trips were not delivered: {self._failed[0]}"
            )


if __name__ == "__main__":
    main()
