"""Formats: a batch's bytes to columns in one call, and a batch's columns to bytes in one call."""
