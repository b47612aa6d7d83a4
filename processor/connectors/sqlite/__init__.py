"""A log on disk: the in-memory log's model, with its records and positions in SQLite."""
