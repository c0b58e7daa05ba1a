"""Pictures, files and videos through a checkpoint's generators, and back."""
