"""``processor dlq``: told in a table, shown one by one, sent again."""

from __future__ import annotations

import sys

import orjson
import polars as pl
import pytest
from click.testing import CliRunner

from processor import Json, Topology, app
from processor import functions as F
from processor.cli import lettering
from processor.cli.main import cli
from processor.testing import TestDriver

MODULE = "letters_in_a_test"
TEXT = f"from {__name__} import prices\ntopology = prices(strict=False)\n"


def prices(*, strict: bool = True) -> Topology:
    """Counts prices; a mended one knows what n/a is."""
    topology = Topology("prices")
    form = Json({"shop": pl.String, "price": pl.String})
    orders = topology.read.kafka("orders", format=form, partitioned_by="shop")
    price = pl.col("price") if strict else pl.col("price").replace("n/a", None)
    rows = orders.with_columns(price=price.cast(pl.Float64))
    counts = rows.group_by("shop").agg(n=F.count(), known=F.count("price"))
    counts.write.kafka("counts", key="shop", mode="update")
    return topology


@pytest.fixture
def driver(tmp_path, monkeypatch):
    (tmp_path / f"{MODULE}.py").write_text(TEXT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROCESSOR_CRASH_AT", raising=False)
    driver = TestDriver(prices(), partitions=2)
    for n in range(6):
        price = ["n/a", "1.5", "2"][n % 3]
        driver.feed([{"shop": f"s{n}", "price": price}], partition=n % 2, key=f"s{n}",
                    headers={"trace": f"t{n}", "Authorization": "Basic abc"})  # fmt: skip
    driver.feed(["no JSON, token=abcd"], partition=0)
    driver.run()
    monkeypatch.setattr(app, "reading", lambda _: driver.log)
    yield driver
    sys.modules.pop(MODULE, None)


def invoke(command, *options, name=MODULE, code=0):
    done = CliRunner().invoke(cli, ["dlq", command, name, *options])
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.output


def parsed(*args, **more):
    return [orjson.loads(line) for line in invoke(*args, "--json", **more).splitlines()]


def test_ls_shows_a_row_for_each_step_and_error(driver):
    lines = invoke("ls").splitlines()
    assert lines[0] == "prices-dead-letters: 3 dead letters, 0 of them sent again"
    assert lines[1].split()[:3] == ["letters", "sent", "again"]
    assert lines[2].split()[0] == "2"
    assert "prices/with_columns at " in lines[2]
    assert "orders[0-1]" in lines[2]
    assert "prices/decode" in lines[3]
    assert "orders[0]" in lines[3]
    assert len(lines) == 4


def test_ls_as_json_has_all_numbers(driver):
    invoke("redrive", "--step", "decode")
    (told,) = parsed("ls")
    assert (told["topic"], told["app"], told["letters"]) == ("prices-dead-letters", "prices", 3)
    first, second = told["rows"]
    assert (first["letters"], first["partitions"], first["sent_again"]) == (2, {"0": 1, "1": 1}, 0)
    assert (second["step"], second["sent_again"]) == ("decode", 1)
    assert first["first"].startswith("2096-")


def test_ls_of_a_topic_alone_knows_of_no_ledger(driver):
    lines = invoke("ls", name="prices-dead-letters").splitlines()
    assert lines[0] == "prices-dead-letters: 3 dead letters"
    assert lines[2].split()[1] == "-"


def test_filters_choose(driver):
    assert invoke("ls", "--error", "n/a").startswith("prices-dead-letters: 2 ")
    assert invoke("ls", "--step", "decode").startswith("prices-dead-letters: 1 ")
    assert invoke("ls", "--partition", "1").startswith("prices-dead-letters: 1 ")
    assert invoke("ls", "--to", "2026-08-01").startswith("prices-dead-letters: 0 ")
    assert invoke("ls", "--from", "2026-08-01").startswith("prices-dead-letters: 3 ")
    assert len(invoke("ls", "--to", "2026-08-01").splitlines()) == 1


def test_show_tells_what_a_letter_is(driver):
    shown = invoke("show", "--error", "n/a", "--limit", "1")
    assert shown.count(" offset ") == 2
    for text in ("prices-dead-letters[0] offset ", "  of      orders[0] offset 0, written 2096-",
                 "  step    prices/with_columns at ", "n/a", "  key     s0", "  header  trace: t0",
                 '  value   {"shop":"s0","price":"n/a"}'):  # fmt: skip
        assert text in shown


def test_show_shows_no_secret(driver):
    shown = invoke("show") + invoke("show", "--json")
    assert "Basic" not in shown
    assert "abcd" not in shown
    assert "token=***" in shown


def test_show_as_json_is_a_line_for_each(driver):
    found = parsed("show", "--limit", "2")
    assert len(found) == 2
    assert found[0]["letter"]["topic"] == "prices-dead-letters"
    assert found[0]["topic"] == "orders"
    assert {"name": "trace", "text": "t0", "bytes": 2} in found[0]["headers"]
    assert parsed("show", "--error", "nothing") == []


def test_show_says_that_there_is_none(driver):
    assert invoke("show", "--error", "nothing") == "prices-dead-letters: no such dead letter\n"


def test_what_is_no_text_is_shown_in_hexadecimal_numbers_and_what_is_long_is_cut():
    assert lettering._shown(b"\x00\xff") == "hex 00ff"
    assert lettering._shown("ü".encode()) == "ü"
    assert lettering._shown(b"\x1b[2J\n") == "\\x1b[2J\\n"
    assert lettering._shown(None) == "-"
    assert lettering._shown(b"") == ""
    assert lettering._shown(b"a" * 2_000) == "a" * 500 + "… (2,000 bytes)"
    assert lettering._shown(b"\xff" * 2_000) == f"hex {'ff' * 500}… (2,000 bytes)"
    # A known secret inside of what is no text is not shown in another form either.
    assert "hex" not in lettering._shown(b"\xff password=hunter2")


def test_redrive_sends_and_tells_and_the_mended_topology_counts_each_once(driver):
    looked = invoke("redrive", "--dry-run")
    assert "3 dead letters would be sent from prices-dead-letters to orders" in looked
    assert len(driver.read("orders")) == 7
    done = invoke("redrive", "--step", "with_columns")
    assert done == (
        "prices: 2 dead letters were sent from prices-dead-letters to orders\n"
        "  1 were not asked for\n"
    )
    assert "prices: 0 dead letters" in invoke("redrive", "--step", "with_columns")
    driver.stop()
    mended = TestDriver(prices(strict=False), partitions=2, log=driver.log, store=driver.store)
    mended.run()
    final = {row["shop"]: (row["n"], row["known"]) for row in mended.json("counts")}
    assert final == {f"s{n}": (1, int(n % 3 > 0)) for n in range(6)}


def test_a_record_that_fails_again_is_sent_until_attempts_are_used_up(driver):
    for expected in (1, 1, 0):
        (told,) = parsed("redrive", "--step", "decode", "--attempts", "2")
        assert told["sent"] == expected
        driver.run()
    assert told["stays"] == {"attempts": 1}
    text = invoke("redrive", "--step", "decode", "--attempts", "2")
    assert "1 stay: they were sent as often as --attempts allows" in text
    assert "sent    again before, 2 times" in invoke("show", "--step", "decode")


def test_redrive_of_a_topic_needs_to_know_whose_and_where_to(driver):
    topic = "prices-dead-letters"
    for options in ((), ("--app", "prices"), ("--input", "orders")):
        text = invoke("redrive", *options, name=topic, code=2)
        assert "whose letters are to be sent, and where to?" in text
    done = invoke("redrive", "--app", "prices", "--input", "orders", name=topic)
    assert "prices: 3 dead letters were sent" in done
    assert "prices: 0 dead letters were sent" in invoke("redrive")
    assert "--app and --input are for a topic" in invoke("redrive", "--app", "x", code=2)


@pytest.mark.parametrize(
    ("options", "name", "words"),
    [
        (("--from", "soon"), MODULE, "--from 'soon' is no time"),
        (("--to", "7"), MODULE, "--to '7' is no time"),
        (("--partition", "a"), MODULE, "--partition 'a' are no partitions"),
        ((), "nothing-there", "there is no topology and no topic 'nothing-there'"),
        ((), "./nothing.py", "there is no file nothing.py"),
        (("--topic",), MODULE, f"there is no topology and no topic '{MODULE}'"),
        (("--set", "a=b"), "prices-dead-letters", "--set is for a topology's parameters"),
    ],
)
def test_what_is_no_time_partition_or_place_is_refused(driver, options, name, words):
    for command in ("ls", "show", "redrive"):
        text = invoke(command, *options, name=name, code=2)
        assert words in text
        assert "remedy:" in text


def test_without_a_broker_there_is_nothing_to_look_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROCESSOR_BOOTSTRAP_SERVERS", raising=False)
    (tmp_path / f"{MODULE}.py").write_text(TEXT)
    try:
        assert "--bootstrap-servers" in invoke("ls", code=2)
    finally:
        sys.modules.pop(MODULE, None)


def test_a_topic_that_has_no_dead_letters_is_told_to_have_none(driver):
    told = invoke("ls", name="counts")
    count = len(driver.values("counts"))
    assert f"counts: {count} records, and none is a dead letter of the processor's" in told
    assert "processor.topic, processor.stage, processor.error" in told
    assert "remedy: name a topology, or its topic of dead letters" in told
    (found,) = parsed("ls", name="counts")
    assert (found["letters"], found["foreign"]) == (count, count)


def test_records_of_others_among_dead_letters_are_counted_apart(driver):
    driver.log.feed("prices-dead-letters", [b"x"], [None], partition=0)
    assert "; 1 of them are none of the processor's" in invoke("ls").splitlines()[0]
    assert parsed("ls")[0]["foreign"] == 1
