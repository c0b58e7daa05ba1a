"""Figures about checkpoints: of each epoch's test pictures, and of single pictures."""
