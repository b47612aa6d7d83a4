from __future__ import annotations

import structlog

from processor import app
from processor.settings import load


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
