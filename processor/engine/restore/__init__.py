"""What brings a task back: the chain, the heal, the changelog's rows, an upgrade."""
