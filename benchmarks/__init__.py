"""What the processor costs, next to a plain loop over the same client."""
