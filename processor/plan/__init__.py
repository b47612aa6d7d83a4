"""The plan: what a topology asks for, as plain nodes. It is checked, described, never executed."""
