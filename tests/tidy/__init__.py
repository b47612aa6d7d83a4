"""What holds for the tree of files."""
