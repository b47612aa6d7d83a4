"""The engine: the loop, and the protocol by which a batch becomes true."""
