"""A log and a store in memory that keep the promises of Kafka and Redis."""
