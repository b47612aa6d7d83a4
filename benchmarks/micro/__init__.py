"""Single steps of a batch, without a broker."""
