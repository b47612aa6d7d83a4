"""Faults on a real broker and Redis, drawn from a seed; then every record is judged."""
