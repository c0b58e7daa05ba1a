"""Times of a video's frames: read from a file, and written to one. All times are seconds as exact fractions."""

from __future__ import annotations

from fractions import Fraction


class ReadTimes:
    """Times of a file's frames, counted from the recording's start. They strictly rise.

    Args:
        tick: seconds per tick of the file's times.
        rate: frames per second, on average.
        offset: seconds on the file's own clock at the recording's start.
    """

    def __init__(self, tick: Fraction, rate: Fraction, offset: Fraction) -> None:
        self.tick, self.rate, self.offset = tick, rate, offset
        self._last: Fraction | None = None
        self._duration = 1 / rate

    def next(self, pts: int | None, duration: int | None) -> tuple[Fraction, Fraction]:
        """Return time and duration of the next frame.

        A frame without a time follows the one before. A time that doesn't rise becomes one tick later than the last.

        Args:
            pts: ticks on the file's clock; None where the file doesn't say.
            duration: ticks; None or 0 where the file doesn't say, which counts as 1 / rate.
        """
        time = pts * self.tick - self.offset if pts is not None else (self._last or 0) + self._duration
        if self._last is not None and time <= self._last:
            time = self._last + self.tick
        self._last, self._duration = time, (duration or 0) * self.tick or 1 / self.rate
        return time, self._duration

    def missing_before(self, end: Fraction) -> int:
        """Return the number of frames missing between the last frame and `end` on the file's clock."""
        if self._last is None:
            return 0
        missing = round((end - self.offset - self._last - self._duration) * self.rate)
        return missing if missing > 1 else 0  # One may be rounding.


class WrittenTimes:
    """Ticks of a new file's frames.

    Args:
        tick: seconds per tick; times are rounded to it.
    """

    def __init__(self, tick: Fraction) -> None:
        self.tick = tick
        self.last: int | None = None
        """Ticks of the last frame."""
        self.end = Fraction(0)
        """Seconds at the end of the last frame."""
        self._durations: dict[int, int] = {}

    def add(self, time: Fraction, duration: Fraction) -> int:
        """Return the ticks of the next frame: one tick after the frame before where `time` doesn't rise."""
        pts = round(time / self.tick)
        self.last = pts if self.last is None else max(pts, self.last + 1)
        self._durations[self.last] = max(1, round(duration / self.tick))
        self.end = time + duration
        return self.last

    def duration(self, pts: int) -> int:
        """Return the duration of the frame at `pts` in ticks, and forget it."""
        return self._durations.pop(pts, 1)
