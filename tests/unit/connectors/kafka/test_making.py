import pytest

from processor.connectors.kafka.making import check
from processor.errors import LogError


def test_text_where_the_client_wants_an_object_of_python_is_refused_without_a_traceback():
    with pytest.raises(LogError, match="Kafka client") as caught:
        check({"delivery.report.only.error": "true"})
    assert "--kafka" in caught.value.remedy
