"""What customers of a shop buy."""
