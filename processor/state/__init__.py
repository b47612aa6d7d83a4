"""State: aggregates in a slab, and checkpoints as a chain of immutable blobs."""
