"""Hits in, a checked and cited answer out."""
