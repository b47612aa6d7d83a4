"""Every fault that was thought of, on a real broker and a real Redis, each with its verdict."""
