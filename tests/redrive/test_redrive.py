"""The short form: twenty thousand letters, and a look at whether it would notice."""

from __future__ import annotations

import json

import pytest
from confluent_kafka.admin import AdminClient

from processor.model.log import Output
from tests.integration.running import until
from tests.redrive.run import LETTERS, benched, redriven

pytestmark = pytest.mark.kafka
RECORDS = 20_000


def test_letters_are_sent_once_though_the_process_is_killed_at_three_steps(kafka):
    kills = ["before:commit#2", "before:flush", "after:commit"]
    done = redriven(kafka.bootstrap_servers, RECORDS, kills)
    assert done.wrong == []
    assert len(done.kills) == 3


def test_letters_are_sent_once_though_the_process_is_killed_by_a_signal(kafka):
    done = redriven(kafka.bootstrap_servers, RECORDS, [0.1, 0.5])
    assert done.wrong == []


def test_a_topic_of_letters_that_was_made_anew_is_read_from_its_beginning(kafka):
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 2})
    with benched(kafka.bootstrap_servers) as bench:
        for records, sent, doubles in ((60, 60, 0), (100, 40, 60)):
            bench.fill(records)
            process = bench.command()
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            told = json.loads(out)
            assert (told["sent"], told["doubles"]) == (sent, doubles)
            for done in admin.delete_topics([bench.dead]).values():
                done.result()
            until(lambda: bench.dead not in admin.list_topics(timeout=10).topics, "it is gone")
            bench.log.create({bench.dead: LETTERS})
        assert list(bench.faults(100)) == []


def test_a_record_that_is_missing_or_twice_or_changed_is_noticed(kafka):
    with benched(kafka.bootstrap_servers) as bench:
        bench.fill(100)
        process = bench.command()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert list(bench.faults(100)) == []
        assert list(bench.faults(101)) == ["1 missing"]
        producer = bench.log.producer(None)
        producer.start(10)
        producer.produce(Output(bench.input, [b"value 5"], partition=2))
        producer.flush(10)
        producer.close()
        assert list(bench.faults(100)) == ["1 not as it was", "1 more than once"]
