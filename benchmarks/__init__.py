"""Runnable measurements; what they wrote is in benchmarks/reports/. `python -m benchmarks` lists them."""

from benchmarks.catalogue import announce

announce()
