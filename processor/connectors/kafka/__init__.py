"""Kafka as a log: the ports of `processor.connectors.ports` over confluent-kafka."""

from processor.connectors.kafka.log import KafkaLog, make_kafka_log

__all__ = ["KafkaLog", "make_kafka_log"]
