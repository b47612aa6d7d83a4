"""Words counted as they come in."""
