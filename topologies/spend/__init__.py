"""Spend by user and ten minutes."""
