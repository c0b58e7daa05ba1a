"""Rate limits: how often an address or a session may ask."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta

PER_ADDRESS = (600.0, 4000.0)
"""Requests per second and at once. Generous because a class of 200 may sit behind one address."""
PER_SESSION = (30.0, 60.0)
SESSIONS_PER_ADDRESS, ADDRESS_WINDOW = 400, timedelta(minutes=10)
"""Enough for two classes of 200 behind one address."""
CHECKS_PER_ADDRESS = (SESSIONS_PER_ADDRESS / ADDRESS_WINDOW.total_seconds(), float(SESSIONS_PER_ADDRESS))
"""As many as sessions: asking who took part is no cheaper than taking part."""
MAX_KNOWN = 20_000
"""Addresses, and sessions, that are remembered: the latest."""


class Buckets:
    """A token bucket for each of the latest MAX_KNOWN keys.

    Args:
        rate: tokens per second that a bucket regains.
        burst: tokens that it holds.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        self._kept: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def take(self, key: bytes) -> float:
        """Take a token and return 0, or return the seconds until one is available."""
        now = self.clock()
        tokens, since = self._kept.pop(key, (self.burst, now))
        tokens = min(self.burst, tokens + (now - since) * self.rate)
        self._kept[key] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._kept) > MAX_KNOWN:
            self._kept.popitem(last=False)
        return 0.0 if tokens >= 1 else (1 - tokens) / self.rate
