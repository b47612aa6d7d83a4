"""What the stages share."""

import os
from typing import Any

import pathway as pw

SETTINGS = {
    "bootstrap.servers": os.environ["BOOTSTRAP"],
    "group.id": os.environ["GROUP"],
    "auto.offset.reset": "earliest",
}
EVERY_MS = 200


def read(**form: Any) -> pw.Table:
    return pw.io.kafka.read(SETTINGS, os.environ["INPUT"], autocommit_duration_ms=EVERY_MS, **form)


def run(table: pw.Table, key: pw.ColumnReference) -> None:
    pw.io.kafka.write(table, SETTINGS, os.environ["OUTPUT"], format="json", key=key)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
