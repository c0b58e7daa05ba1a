"""Runnable measurements; what they wrote is in benchmarks/reports/."""
