"""The whole processor on a broker: latency, backlogs, many partitions, a million keys, healing."""
