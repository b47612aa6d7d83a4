"""Plain values that every room shares: no behaviour that needs a client, a clock or a file."""
