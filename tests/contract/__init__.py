"""One suite over the in-memory pair and over Kafka and Redis: what the ports promise."""
