"""What looks on or mends from outside, while no worker needs to run: verify, reset, redrive."""
