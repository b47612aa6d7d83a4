"""Whole runs over whole files, against answers from elsewhere."""
