"""The plain loops: what one would write without a stream processor."""
