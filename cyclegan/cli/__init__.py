"""Command lines: flags from dataclasses, ports, signals, progress bars, and exit statuses."""
