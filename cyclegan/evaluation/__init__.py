"""What is measured and drawn after each epoch. No trainer, no Hub."""
