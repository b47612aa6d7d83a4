import contextlib
import json
import logging
import sys

import pytest
import structlog

from processor.cli.logs import KAFKA_LOGGER, configure
from processor.connectors.registry.client import Client


@pytest.fixture(autouse=True)
def restored():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_an_event_is_one_json_line_on_standard_error(capsys):
    configure("json", "info")
    structlog.get_logger().info("batch committed", records_in=500, topology="rides")
    (line,) = lines(capsys)
    assert line["event"] == "batch committed"
    assert line["level"] == "info"
    assert line["records_in"] == 500
    assert line["timestamp"].endswith("Z")


def test_without_a_terminal_the_format_is_json(capsys):
    configure()
    structlog.get_logger().warning("x")
    assert lines(capsys)[0]["event"] == "x"


def test_text_is_key_value(capsys):
    configure("text", "info")
    structlog.get_logger().info("batch committed", records_in=500)
    assert "records_in=500" in capsys.readouterr().err


def test_what_libraries_log_has_the_same_form(capsys):
    configure("json", "info")
    logging.getLogger("library").warning("slow %s", "answer", extra={"seconds": 3})
    (line,) = lines(capsys)
    assert line["event"] == "slow answer"
    assert line["seconds"] == 3


def test_the_level_holds(capsys):
    configure("json", "warning")
    structlog.get_logger().info("no")
    logging.getLogger("library").info("no")
    assert lines(capsys) == []


def test_kafka_is_quiet_but_for_errors_and_debugging(capsys):
    configure("json", "info")
    logging.getLogger(KAFKA_LOGGER).warning("broker is away")
    assert lines(capsys) == []
    logging.getLogger(KAFKA_LOGGER).error("all brokers are down")
    configure("json", "debug")
    logging.getLogger(KAFKA_LOGGER).debug("metadata")
    assert [line["event"] for line in lines(capsys)] == ["all brokers are down", "metadata"]


def test_requests_to_a_registry_are_told_to_none_who_did_not_ask(capsys, registry):
    for level, told in (("info", False), ("debug", True)):
        configure("json", level)
        with contextlib.closing(Client(registry.url, {})) as client:
            assert client.versions("orders-value", "AVRO") == []
        assert bool(lines(capsys)) == told


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_secrets_are_masked(capsys, log_format):
    configure(log_format, "info")
    log = structlog.get_logger()
    log.info(
        "connecting to redis://me:hidden@host/0",
        password="hidden",  # noqa: S106 - to be masked
        kafka={"sasl.password": "hidden", "client.id": "me"},
        urls=["redis://:hidden@host"],
        hint="password=hidden",
    )
    try:
        raise ValueError("redis://me:hidden@host refused")
    except ValueError:
        log.exception("failed")
    shown = capsys.readouterr().err
    assert "hidden" not in shown
    assert "client.id" in shown


def test_values_that_json_lacks_are_written_as_text(capsys):
    configure("json", "info")
    structlog.get_logger().info("x", where={1: object})
    assert "object" in lines(capsys)[0]["where"]["1"]


@pytest.mark.parametrize(("given", "coloured"), [("", True), ("1", False)])
def test_there_are_no_colours_where_they_are_not_wanted(monkeypatch, capsys, given, coloured):
    monkeypatch.setenv("NO_COLOR", given)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure("text", "info")
    structlog.get_logger().info("batch committed", records_in=500)
    assert ("\x1b[" in capsys.readouterr().err) is coloured
