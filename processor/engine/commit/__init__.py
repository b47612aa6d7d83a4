"""What makes a batch true: its task, the checkpoint, and the transaction that names it."""
