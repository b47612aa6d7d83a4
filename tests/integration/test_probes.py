"""What stages rest on, asked of the broker at hand; `python -m tests.probes` asks at length."""

from __future__ import annotations

import pytest

from processor.connectors.kafka import KafkaLog
from processor.connectors.kafka.producer import KafkaProducer
from tests.probes import takeover
from tests.probes.bed import UnlikeError
from tests.probes.probes import PROBES, tried

pytestmark = pytest.mark.kafka
BY_NAME = {probe.name: probe for probe in PROBES}


@pytest.mark.parametrize("name", [probe.name for probe in PROBES if probe.in_tests])
def test_the_broker_does_what_stages_need(kafka, name):
    assert tried(BY_NAME[name], kafka.bootstrap_servers, short=True)


# Faults that a broker or a client might have. Each is to be noticed, or the silence of a probe
# would mean nothing.


def positions_are_taken_outside_the_transaction(m):
    def outside(self, offsets, membership, timeout_s):
        self._outside = offsets, membership

    m.setattr(KafkaProducer, "send_offsets", outside)


def the_high_watermark_is_that_of_committed_records(m):
    right = KafkaLog.look

    def wrong(self, *asked):
        view = right(self, *asked)
        return type(view)(view.partitions, stable=view.stable, tops=view.stable)

    m.setattr(KafkaLog, "look", wrong)


def an_abort_commits(m):
    m.setattr(KafkaProducer, "abort", KafkaProducer.commit)


def a_killed_owner_holds_nothing_open(m):
    aborts = 'producer.abort(30); print("open"'
    m.setattr(takeover, "OWNER", takeover.OWNER.replace('print("open"', aborts))


def an_owner_takes_its_identity_again(m):
    again = "producer = log.producer(identity); producer.start(30); producer.begin()\ntry:"
    m.setattr(takeover, "OWNER", takeover.OWNER.replace("try:", again))


def trimming_does_nothing(m):
    m.setattr(KafkaLog, "trim", lambda self, partition, low: None)


FAULTS = {
    "feed": positions_are_taken_outside_the_transaction,
    "hanging": the_high_watermark_is_that_of_committed_records,
    "ends": the_high_watermark_is_that_of_committed_records,
    "wide": an_abort_commits,
    "killed": a_killed_owner_holds_nothing_open,
    "zombie": an_owner_takes_its_identity_again,
    "trimmed": trimming_does_nothing,
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_probe_notices_that_it_is_otherwise(kafka, name, monkeypatch):
    FAULTS[name](monkeypatch)
    with pytest.raises(UnlikeError):
        tried(BY_NAME[name], kafka.bootstrap_servers, short=True)
