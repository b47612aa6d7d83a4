import pytest

from processor.connectors.kafka.producer import KafkaProducer
from processor.connectors.kafka.settings import Connection
from processor.model.log import Output


def test_fewer_keys_than_values_are_refused_and_nothing_is_left_out():
    producer = KafkaProducer(Connection("127.0.0.1:1"), None)
    with pytest.raises(ValueError, match="1 keys for 2 values"):
        producer.produce(Output("out", [b"1", b"2"], [b"k"]))
    producer.close()
