"""What turns: the loop and its worker, what they poll, how fast, and for whom."""
