"""Scores of translations over a whole test set, each with its baselines and ceilings."""
