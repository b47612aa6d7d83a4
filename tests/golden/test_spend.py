"""Spend by user and ten minutes, and orders with their payments, against plain Python."""

import random
from collections import defaultdict

import orjson

from processor.testing import TestDriver
from topologies.spend.by_user import spend_by_user
from topologies.spend.paid import paid_orders
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


def test_the_totals_are_the_same_of_a_topic_that_is_keyed_by_shop():
    driver = TestDriver(spend_by_user, partitions=4, batch_records_max=700)
    wanted: dict[tuple[object, int], list[float]] = defaultdict(lambda: [0.0, 0])
    for i, payment in enumerate(payments(3_000)):
        driver.feed([payment], key=f"shop {i * i % 11}")
        total = wanted[payment["user"], int(str(payment["ts"])) // SIZE_MS * SIZE_MS]
        total[0] += float(str(payment["amount"]))
        total[1] += 1
    driver.run()
    assert driver.stages() == ["spend-by-user", "by-user"]
    last = {(r["user"], r["start"]): [r["sum"], r["count"]] for r in driver.json("spend-by-user")}
    assert last == wanted


def test_orders_come_out_with_the_payments_of_ten_minutes():
    driver = TestDriver(paid_orders, partitions=2, batch_records_max=200)
    wanted = []
    orders: list[dict[str, object]] = []
    rows = payments(1_200)
    for i, row in enumerate(rows):
        row["user"], row["ts"] = f"u{i * i % 45}", 1_406_851_200_000 + i * 3_000
    for i, row in enumerate(rows):
        if i % 2:
            driver.feed([{"payment": i, **row}], topic="payments", key=str(row["user"]))
            wanted += [
                (order["user"], order["order"], order["ts"], i, row["amount"], row["ts"])
                for order in orders
                if order["user"] == row["user"]
                and 0 <= int(str(row["ts"])) - int(str(order["ts"])) <= SIZE_MS
            ]
        else:
            orders.append({"user": row["user"], "order": i, "ts": row["ts"]})
            driver.feed([orders[-1]], topic="orders", key=str(row["user"]))
    driver.run()
    names = ("user", "order", "ordered", "payment", "amount", "paid")
    found = [tuple(row[name] for name in names) for row in driver.json("paid-orders")]
    assert len(wanted) > 500
    assert sorted(found) == sorted(wanted)
    assert sum(report.late for report in driver.reports) == 0
