"""What users give and what cannot be taken: addresses, and settings that would break a promise."""
