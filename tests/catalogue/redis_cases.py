"""Redis that loses, alters, refuses or delays."""

from __future__ import annotations

from tests.catalogue.case import case
from tests.integration.running import POPULAR, enriched_lines, popular, read_popular, trips


@case(
    "redis: nothing happens",
    done="a run on a Redis of its own, to the end",
    expected="goes on, exact",
)
def nothing(servers):
    bench = servers.bench(redis=servers.own_redis())
    bench.create()
    lines = trips(200)
    values, keys = enriched_lines(lines)
    bench.topics.fill(bench.enriched, values, keys=keys)
    bench.run(POPULAR, "--until-caught-up").succeeds()
    assert read_popular(bench.topics.read(bench.popular)) == popular(lines)
