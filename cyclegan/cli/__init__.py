"""Command lines: flags from dataclasses, ports, signals, progress bars, and how a command ends."""
