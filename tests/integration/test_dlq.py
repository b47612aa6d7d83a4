"""Dead letters on a real broker: looked at, the topology mended, sent again, counted once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.integration.running import ROOT, bench

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

PRICES = "tests.redrive.topologies:prices"


@pytest.fixture
def sets(bench):
    bench.topics.create(bench.trips, bench.popular, bench.dead)
    given = {
        "app": f"prices-{bench.id}", "input": bench.trips, "output": bench.popular,
        "dead": bench.dead,
    }  # fmt: skip
    return [part for name, value in given.items() for part in ("--set", f"{name}={value}")]


def dlq(bench, command, *options, name=PRICES, code=0, **env):
    done = subprocess.run(
        [sys.executable, "-m", "processor", "dlq", command, name, "--bootstrap-servers",
         bench.servers, *options],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=os.environ | env,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def run(bench, sets, *more):
    servers = ["--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url]
    bench.start(PRICES, *servers, *sets, "--until-caught-up", *more).succeeds()


def final(bench):
    rows = [json.loads(m.value()) for m in bench.topics.read(bench.popular)]
    return {row["shop"]: (row["n"], row["known"]) for row in rows}


def test_after_the_topology_was_mended_each_record_is_counted_once(bench, sets):
    orders = [(f"s{n % 7}", "n/a" if n % 3 == 0 else f"{n}.5") for n in range(700)]
    values = [json.dumps({"shop": shop, "price": price}).encode() for shop, price in orders]
    bench.topics.fill(bench.trips, values, keys=[shop.encode() for shop, _ in orders])
    run(bench, sets)
    bad = sum(price == "n/a" for _, price in orders)
    assert sum(n for n, _ in final(bench).values()) == 700 - bad

    told = dlq(bench, "ls", *sets)
    assert f"{bench.dead}: {bad} dead letters, 0 of them sent again" in told
    assert "with_columns at " in told
    shown = dlq(bench, "show", *sets, "--limit", "2", "--json").splitlines()
    values = Counter(m.value().decode() for m in bench.topics.read(bench.dead))
    assert len(shown) == 2
    assert Counter(json.loads(line)["value"]["text"] for line in shown) <= values

    # The topology is not mended yet: they fail again, and tell how often.
    dlq(bench, "redrive", *sets, PROCESSOR_CRASH_AT="before:commit", code=70)
    assert json.loads(dlq(bench, "redrive", *sets, "--json"))["sent"] == bad
    run(bench, sets)
    letters = bench.topics.read(bench.dead)
    assert len(letters) == 2 * bad
    counts = [dict(m.headers()).get("processor.redriven") for m in letters]
    assert Counter(counts) == {None: bad, b"1": bad}

    # Now it is.
    mended = [*sets, "--set", "mended=true"]
    assert json.loads(dlq(bench, "redrive", *mended, "--json"))["sent"] == bad
    run(bench, mended)
    assert json.loads(dlq(bench, "redrive", *mended, "--dry-run", "--json"))["sent"] == 0
    wanted = {}
    for shop, price in orders:
        n, known = wanted.get(shop, (0, 0))
        wanted[shop] = n + 1, known + (price != "n/a")
    assert final(bench) == wanted
    assert len(bench.topics.read(bench.dead)) == 2 * bad
    assert f"{2 * bad} dead letters, {2 * bad} of them sent again" in dlq(bench, "ls", *mended)


def test_a_topic_alone_can_be_looked_at_and_sent_by_name(bench, sets):
    bench.topics.fill(bench.trips, [b"no JSON", b"none either"], partition=1)
    run(bench, sets)
    assert f"{bench.dead}: 2 dead letters" in dlq(bench, "ls", name=bench.dead)
    assert "whose letters" in dlq(bench, "redrive", name=bench.dead, code=2)
    options = ("--app", f"prices-{bench.id}", "--input", bench.trips, "--json")
    assert json.loads(dlq(bench, "redrive", *options, name=bench.dead))["sent"] == 2
    assert json.loads(dlq(bench, "redrive", *sets, "--json"))["sent"] == 0


def test_an_old_record_is_not_put_where_it_would_be_deleted_at_once(bench):
    bench.topics.create(bench.trips, retention_ms=86_400_000)
    bench.topics.create(bench.dead)
    given = ["--app", "a", "--input", bench.trips, "--json"]
    headers = {
        "topic": bench.trips, "partition": 0, "offset": 1, "timestamp": 1_700_000_000_000,
        "stage": "a/decode", "error": "no",
    }  # fmt: skip
    bench.topics._producer.produce(
        bench.dead, b"old", headers=[(f"processor.{k}", str(v)) for k, v in headers.items()]
    )
    bench.topics._producer.flush(10)
    told = json.loads(dlq(bench, "redrive", *given, name=bench.dead))
    assert (told["sent"], told["stays"]) == (0, {"old": 1})
    told = json.loads(dlq(bench, "redrive", *given, "--timestamps", "now", name=bench.dead))
    assert told["sent"] == 1
