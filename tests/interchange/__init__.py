"""Other clients of Kafka read what we write, and we read what they write."""
