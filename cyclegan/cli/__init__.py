"""Command lines: flags from dataclasses, ports, signals, progress bars, and the end of every command."""
