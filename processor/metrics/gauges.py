"""The gauges: each is asked for when it is scraped, so none can be left over from before.

A partition that is gone, a topic of which nothing is known, a worker that has not said how it
stands: none of them has a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from processor.metrics.standing import Health
from processor.model.log import TopicPartition

_PREFIX: Final = "processor_"
_PARTITION: Final = ("topic", "partition")


class Gauges(Collector):
    """What a worker's ``/metrics`` shows of how it stands now.

    ``health`` is called with every scrape, from any thread.

    >>> from processor.metrics.standing import Standing
    >>> shown = Gauges("rides", lambda: Health(Standing(state_rows=3), 0, store_up=True)).collect()
    >>> [s.value for family in shown for s in family.samples if s.name == "processor_state_rows"]
    [3.0]
    """

    def __init__(self, topology: str, health: Callable[[], Health]) -> None:
        self._topology, self._health = topology, health

    def collect(self) -> Iterator[Metric]:
        """One family for each gauge, with what is known now."""
        health = self._health()
        standing = health.standing
        for name, text, value in (
            ("ready", "1 when /readyz says so: assigned, loaded, servers answer.", health.ready),
            ("broker_up", "1 when a broker has answered within 6 s.", health.broker_up),
            ("store_up", "1 when Redis has answered within 6 s.", health.store_up),
            ("partitions_assigned", "Partitions given by the group.", standing.assigned),
            ("state_rows", "Rows of state held in memory.", standing.state_rows),
            ("state_bytes", "Bytes of state held in memory.", standing.state_bytes),
        ):
            yield self._family(name, text, (), {} if value is None else {(): value})
        topics = {(topic.name, topic.role): topic for topic in health.topics}
        yield self._family(
            "topic_up", "1 when the topic is there and each partition has a leader.",
            ("topic", "role"), {labels: topic.up for labels, topic in topics.items()},
        )  # fmt: skip
        yield self._family(
            "topic_partitions", "The topic's partitions.",
            ("topic", "role"), {labels: topic.partitions for labels, topic in topics.items()},
        )  # fmt: skip
        for name, text, values in (
            (
                "consumer_lag_records",
                "Offsets from the committed position to the last stable one.",
                health.lag,
            ),
            (
                "input_held_records",
                "Offsets behind the last stable one: an open transaction and what follows it.",
                health.held,
            ),
            (
                "watermark_lag_seconds",
                "How far the partition's event time is behind the clock.",
                health.watermark_lag_s(),
            ),
            (
                "watermark_ahead_seconds",
                "How far the partition's watermark is ahead of the clock; 0 when it is behind.",
                health.watermark_ahead_s(),
            ),
        ):
            yield self._family(name, text, _PARTITION, _labelled(values))

    def _family(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        values: Mapping[tuple[str, ...], float],
    ) -> GaugeMetricFamily:
        family = GaugeMetricFamily(_PREFIX + name, text, labels=["topology", *labels])
        for of, value in values.items():
            family.add_metric([self._topology, *of], float(value))
        return family


def _labelled(values: Mapping[TopicPartition, float]) -> dict[tuple[str, ...], float]:
    return {(p.topic, str(p.partition)): value for p, value in values.items()}
