"""The page of limits says the numbers that hold."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from processor import settings, slots
from processor.api import functions
from processor.app import worker
from processor.connectors.kafka.settings import RECORD_BYTES_MAX
from processor.connectors.sqlite import blocks
from processor.engine.offline import batches, letters, redrive
from processor.formats.avro.kinds import LEVELS_MAX
from processor.formats.avro.nodes import DEPTH_MAX
from processor.formats.avro.single import NOTHING_MAX
from processor.formats.base import VALUE_BYTES_MAX
from processor.model.manifest import LENGTH_MAX
from processor.plan import validate
from processor.state.chain import CHUNK_BYTES_MAX
from processor.state.slab import NUMBER_MAX

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "limits.md").read_text()
WORKERS = settings.Settings.model_json_schema()["properties"]["workers"]["maximum"]


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("a record's value", VALUE_BYTES_MAX),
        ("a record that is published", RECORD_BYTES_MAX),
        ("a sum of whole numbers", NUMBER_MAX),
        ("a watermark's delay", validate._DELAY_MAX // timedelta(days=1)),
        ("items of an Avro array that take no bytes (`null`)", NOTHING_MAX),
        ("an Avro schema", LEVELS_MAX),
        ("an Avro record inside itself, passed over", DEPTH_MAX),
        ("records of a batch", worker.RECORDS_MAX),
        ("records of a batch", worker.RECORDS_MAX_WITH_STATE),
        ("attempts of a dead letter", redrive.ATTEMPTS),
        ("dead letters of a transaction", batches.MOST),
        ("sorts of errors that `processor dlq ls` tells apart", letters.SORTS_MAX),
        ("records of a block of the log on disk", blocks.RECORDS_MAX),
        ("records of a block of the log on disk", blocks.BYTES_MAX),
        ("`--workers`", WORKERS),
        ("workers of an application on one machine", slots._MOST),
        ("a piece of a checkpoint", CHUNK_BYTES_MAX),
        ("a checkpoint's name in the committed offset", LENGTH_MAX),
    ],
)
def test_a_number_of_the_page_is_the_one_that_holds(what, number):
    (row,) = re.findall(rf"^\| {re.escape(what)} \|.*$", PAGE, re.MULTILINE)
    assert f"{number:,}" in row


def test_the_bytes_of_a_transaction_of_letters_are_those_of_the_page():
    assert f"or {batches.BYTES_MOST >> 20} MiB" in PAGE


def test_windows_are_as_long_as_the_page_says():
    assert f"{functions._SIZE_MAX // timedelta(days=1):,} days" in PAGE


def test_the_files_that_are_named_are_there():
    for path in re.findall(r"`(processor/[\w/.]+)`", PAGE):
        assert (ROOT / path).exists(), path
