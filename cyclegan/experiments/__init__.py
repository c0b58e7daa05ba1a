"""Experiments: rows of settings that are trained from several seeds, scored alike, and reported in one table."""
