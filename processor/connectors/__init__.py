"""The outer world: each folder implements the ports with one client, and is its only user."""
