"""A training: its steps, its folder, its figures."""
