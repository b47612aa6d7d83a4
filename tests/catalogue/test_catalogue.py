"""The cases of the fault catalogue that are quick enough for every run of the tests."""

from __future__ import annotations

import pytest

from tests.catalogue.case import Servers, cases

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


@pytest.mark.parametrize("case", [c for c in cases() if c.in_tests], ids=lambda case: case.name)
def test_a_fault_comes_out_as_the_catalogue_says(case, kafka, redis_server, tmp_path):
    with Servers(kafka, redis_server, tmp_path) as servers:
        case.run(servers)
