"""Checkpoints: their format, where they come from, the training state, and other programs' formats."""
