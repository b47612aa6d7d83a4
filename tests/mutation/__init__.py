"""Mutation testing: faults are put into the product one at a time, and a test has to find each."""
