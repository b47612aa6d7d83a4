"""Redis as the store of checkpoints, a server elsewhere or one that is embedded."""
