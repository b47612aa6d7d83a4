"""The ride pipeline: trips to clusters, and the popular clusters by hour."""
