"""The same three jobs, as each of the peers is used by those who know it."""
