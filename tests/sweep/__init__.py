"""Every action of the protocol is a crash point; here each is tried on a real broker and Redis."""
