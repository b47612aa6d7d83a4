"""Real servers for the tests: a Kafka broker and a Redis, from whatever this machine offers."""

from tests.services.handle import Server, Unavailable, free_port
from tests.services.ladder import both, climb, kafka_rungs, redis_rungs

__all__ = ["Server", "Unavailable", "both", "climb", "free_port", "kafka_rungs", "redis_rungs"]
