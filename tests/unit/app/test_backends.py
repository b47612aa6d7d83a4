from __future__ import annotations

import psutil
import pytest
import structlog

from processor import app
from processor.connectors.redis.embedded import state_directory
from processor.connectors.sqlite.log import SqliteLog
from processor.errors import LogError, SettingsError, StoreAwayError, StoreError
from processor.settings import load
from tests.unit.others import mode


def test_settings_of_the_client_are_told_to_be_of_no_use_to_the_embedded_log_without_their_values():
    settings = load(kafka={"sasl.password": "hunter2", "ssl.ca.location": "/none/ca.pem"})
    with structlog.testing.capture_logs() as lines, app.backends(settings):
        pass
    (line,) = lines
    assert line["log_level"] == "warning"
    assert line["event"] == "settings of the Kafka client are not used: the log is embedded"
    assert line["settings"] == ["sasl.password", "ssl.ca.location"]
    assert "--bootstrap-servers" in line["remedy"]
    assert "hunter2" not in str(line)


def test_without_such_settings_nothing_is_told():
    with structlog.testing.capture_logs() as lines, app.backends(load()):
        pass
    assert lines == []


def test_a_data_directory_keeps_the_log_and_its_checkpoints_and_the_first_line_says_so(tmp_path):
    place = tmp_path / "data"
    with app.backends(load(data_dir=str(place))) as used:
        used.log.create({"rides": 2})
        assert used.log_name == f"embedded, in {place} (no --bootstrap-servers given)"
        assert f"embedded Redis in {place / 'checkpoints'}" in used.line
        assert used.store._redis.config_get("appendfsync") == {"appendfsync": "always"}
        assert {mode(path) for path in place.rglob("*") if path.is_dir()} == {0o700}
        files = {path for path in place.rglob("*") if path.is_file()}
        assert {mode(path) for path in files} == {0o600}
    log = app.reading(load(data_dir=place))
    assert len(log.describe(["rides"])["rides"].extents) == 2
    log.close()


def test_a_command_that_looks_on_makes_no_log_and_says_where_there_is_none(tmp_path):
    with pytest.raises(SettingsError, match="there is no log in") as caught:
        app.reading(load(data_dir=tmp_path / "none"))
    assert "--data-dir" in caught.value.remedy
    assert not (tmp_path / "none").exists()
    with pytest.raises(SettingsError, match="the embedded log is empty") as caught:
        app.reading(load())
    assert "--data-dir" in caught.value.remedy


def test_a_directory_that_is_in_use_is_refused_before_a_redis_is_started(tmp_path):
    place = tmp_path / "data"
    log = SqliteLog(place)
    with pytest.raises(LogError, match="is in use by process"), app.backends(load(data_dir=place)):
        pass
    assert not (place / "checkpoints").exists()
    log.close()


def test_with_kafka_the_directory_is_where_the_embedded_redis_keeps_its_data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert state_directory(tmp_path / "data") == tmp_path / "data" / "kafka-checkpoints"
    assert state_directory() == tmp_path / "state" / "processor"


def test_an_embedded_redis_that_has_ended_is_told_with_its_last_words_and_not_waited_for(tmp_path):
    with app.backends(load(data_dir=tmp_path / "data"), running=True) as used:
        children = psutil.Process().children()
        (server,) = [child for child in children if str(tmp_path) in " ".join(child.cmdline())]
        server.kill()
        server.wait()
        with pytest.raises(StoreError, match="has ended by itself") as caught:
            used.store.ping()
        assert not isinstance(caught.value, StoreAwayError)
        assert "see that its disk has room" in caught.value.remedy
        assert "Ready to accept connections" in caught.value.remedy
