"""The topologies that read files and a socket."""

from __future__ import annotations

import pytest

from processor import Text, Topology
from processor.testing import TestDriver
from tests.feeding import put
from topologies.retail.purchases import purchases
from topologies.wordcount.windowed import windowed
from topologies.wordcount.words import Words

HEADER = b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


def test_what_customers_spend_is_summed_by_day_a_file_at_a_time(tmp_path):
    put(tmp_path, "2010-12-01.csv", HEADER + (
        b'1,A,"BOX, 6",2,2010-12-01 08:26:00,2.5,17850.0,United Kingdom\n'
        b"2,B,,1,2010-12-01 09:00:00,1.0,,France\n"
    ))  # fmt: skip
    put(tmp_path, "2010-12-02.csv", HEADER + (
        b"3,A,BOX,1,2010-12-02 08:26:00,2.5,17850.0,United Kingdom\n"
        b"C4,A,BOX,-1,2010-12-01 10:00:00,2.5,17850.0,United Kingdom\n"
    ), 1)  # fmt: skip
    driver = TestDriver(purchases, {"input": str(tmp_path)})
    driver.run()
    feeds = [r.records_in for r in driver.reports if r.topology.endswith("feed-sales")]
    assert feeds == [2, 2]
    assert not driver.dead_letters()
    rows = driver.json("spent-by-customer")
    last = {(row["customer"], row["window_start"][:10]): row["spent"] for row in rows}
    assert last == {
        (17850, "2010-12-01"): 2.5, (None, "2010-12-01"): 1.0, (17850, "2010-12-02"): 2.5,
    }  # fmt: skip


def test_words_of_lines_are_counted_by_window():
    driver = TestDriver(windowed, {"slide": "10 minutes"})
    driver.kill(("feed-words", 0))  # there is no server here
    driver.feed(["the cat", "", "  the  dog "])
    driver.run()
    counts = {row["word"]: row["count"] for row in driver.json("word-counts")}
    assert counts == {"the": 2, "cat": 1, "dog": 1}
    assert [row["word"] for row in driver.json("word-counts")][-3:] == ["cat", "dog", "the"]


def test_a_line_that_is_no_text_is_one_bad_row_and_shifts_no_other():
    decoded = Words().decode([b"a b", b"\xff", b"", b"c"])
    assert decoded.frame["word"].to_list() == ["a", "b", "", "c"]
    assert decoded.records.tolist() == [0, 0, 1, 3]
    assert list(decoded.bad) == [2]
    assert Words().pack(decoded.frame[:2]) == [(2, b"a b")]
    assert Words().decode([]).frame.height == 0


@pytest.mark.parametrize("define", [purchases, windowed])
def test_they_can_be_described(define):
    assert define.build({}).stages()


def test_a_feed_that_has_not_begun_is_left_out_where_its_topic_is_fed(tmp_path):
    (tmp_path / "a").write_text("from a file\n")
    topology = Topology("app")
    topology.read.files(tmp_path, format=Text(), name="in").write.memory("rows")
    driver = TestDriver(topology)
    driver.feed(["from the test"])
    driver.run()
    assert driver.table("rows")["value"].to_list() == ["from the test"]
