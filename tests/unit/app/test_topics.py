"""Topics between stages are created by the run."""

from __future__ import annotations

import pytest

from processor.app.topics import prepare_topics
from processor.connectors.memory.log import MemoryLog
from processor.errors import SettingsError
from processor.settings import Settings
from tests.staged import CASES


def plans(name):
    return [stage.plan for stage in CASES[name].build().stages()]


def test_an_internal_topic_has_as_many_partitions_as_the_largest_input_or_one_for_all_rows():
    log = MemoryLog()
    log.create({"in": 3, "other": 5, "out": 1, "copy": 1, "app-dead-letters": 1})
    assert prepare_topics(log, plans("two topics united"), Settings()) == {
        "app": 3, "app.other": 5, "app.by-user": 5,
    }  # fmt: skip
    log.create({"all": 1})
    counts = prepare_topics(log, plans("three in a row"), Settings())
    assert (counts["app.by-user"], counts["app.all"]) == (5, 1)


def test_it_is_created_where_others_have_to_be_there_and_stays_as_it_is():
    log = MemoryLog()
    wanted = Settings(bootstrap_servers="h:1")
    with pytest.raises(SettingsError, match="topics are missing: app-dead-letters, in, out"):
        prepare_topics(log, plans("by another column"), wanted)
    log.create({"in": 2, "out": 1, "app-dead-letters": 1})
    assert prepare_topics(log, plans("by another column"), wanted)["app.by-user"] == 2
    log.create({"bigger": 9})
    assert prepare_topics(log, plans("by another column"), wanted)["app.by-user"] == 2
