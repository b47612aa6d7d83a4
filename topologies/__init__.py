"""Topologies that come with the processor, written with its public names only."""
