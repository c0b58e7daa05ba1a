"""Scores over whole test sets: each compares pictures or label maps, and knows no command and no page."""
