"""Spend by user and ten minutes, against dictionaries."""

import random
from collections import defaultdict

import orjson

from processor.testing import TestDriver
from topologies.spend.totals import spend

SIZE_MS = 600_000


def payments(count: int) -> list[dict[str, object]]:
    dice = random.Random(5)
    return [
        {
            "user": f"u{dice.randrange(200):06d}",
            "amount": dice.randrange(4, 400) / 4,
            "ts": 1_406_851_200_000 + i * 250 - dice.randrange(60_000),
        }
        for i in range(count)
    ]


def test_the_last_update_of_each_user_and_window_is_exact():
    driver = TestDriver(spend, partitions=4, workers=2, batch_records_max=2_500)
    wanted: dict[tuple[object, int], list[float]] = defaultdict(lambda: [0.0, 0])
    for payment in payments(20_000):
        driver.feed([payment], key=str(payment["user"]))
        total = wanted[payment["user"], int(str(payment["ts"])) // SIZE_MS * SIZE_MS]
        total[0] += float(str(payment["amount"]))
        total[1] += 1
    driver.run()
    last = {(r["user"], r["start"]): [r["sum"], r["count"]] for r in driver.json("spend-by-user")}
    assert last == wanted
    assert sum(report.late for report in driver.reports) == 0


def test_an_update_has_the_form_that_was_agreed():
    driver = TestDriver(spend)
    driver.feed([{"user": "u000001", "amount": 12.25, "ts": 1_406_851_200_000}])
    driver.run()
    (value,) = driver.values("spend-by-user")
    assert orjson.loads(value or b"") == {
        "user": "u000001",
        "start": 1_406_851_200_000,
        "end": 1_406_851_800_000,
        "sum": 12.25,
        "count": 1,
    }
    assert driver.read("spend-by-user")[0].key() == b"u000001"
