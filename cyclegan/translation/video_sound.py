"""The sound of a translated video: copied, or encoded again as AAC."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import av
import av.error

# Sound continues after the last picture for at most this long, because a second of video may carry a day of silence.
BEYOND_S = 10.0
# Smaller deviations in the times of sound come from the file's clock.
MOST_JITTER_S = 0.05
# Sound that mp4 holds and browsers play there. Anything else becomes AAC.
COPIED = frozenset({"aac", "mp3", "opus", "flac"})


class Sound:
    """The sound of a video on its way into another file, in step with the pictures, so that little is buffered.

    Args:
        output: the container that is written.
        source: the opened video that the sound comes from; `close` closes it.
        offset: seconds on the source's own clock at the recording's start.
    """

    def __init__(self, output, source, offset: Fraction) -> None:
        self.output, self.input, self.offset = output, source, offset
        self.how = "copied"
        """"copied", "re-encoded" or "left out"."""
        stream, self._next = self.input.streams.best("audio"), None
        self._heard: int | None = None  # The position of the next samples, in samples, when they are re-encoded.
        if stream is None or stream.codec_context is None:  # ffmpeg doesn't know its kind.
            self.how = "left out"
            return
        self.shift = round(offset / stream.time_base)
        if stream.codec_context.name.removesuffix("float") in COPIED:
            self.stream = output.add_stream_from_template(stream)
        else:
            self.how = "re-encoded"
            rates = av.codec.Codec("aac", "w").audio_rates or [48_000]
            rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout
            self.stream = output.add_stream("aac", rate=rate if rate in rates else 48_000)
            # AAC doesn't know every order of many channels.
            many = "5.1" if layout.nb_channels == 6 else "stereo"
            self.stream.codec_context.layout = layout if layout.nb_channels <= 2 else many
        self.packets = self.input.demux(stream)
        self._next = self._read()

    def _read(self):
        with contextlib.suppress(av.error.FFmpegError):  # The sound ends where the file breaks off.
            return next(self.packets, None)
        return None

    def finish(self, time: float) -> None:
        """Write the last sound, up to BEYOND_S after `time` in seconds, where the pictures end."""
        self.advance(time + BEYOND_S)
        if self._next is not None and self.how == "re-encoded":
            self.output.mux(self.stream.encode(None))
        self._next = None

    def advance(self, time: float) -> None:
        """Write the sound up to `time` in seconds."""
        while self._next is not None:
            packet = self._next
            at = packet.dts if packet.dts is not None else packet.pts
            if at is not None and float((at - self.shift) * packet.time_base) > time:
                return
            if self.how == "re-encoded":
                self._encode(packet)
            elif at is not None and packet.size:
                packet.pts = (packet.pts if packet.pts is not None else at) - self.shift
                packet.dts = at - self.shift
                packet.stream = self.stream
                self.output.mux(packet)
            self._next = self._read()
            if self._next is None and self.how == "re-encoded":
                self.output.mux(self.stream.encode(None))

    def _encode(self, packet) -> None:
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError):
            return  # A damaged piece of sound becomes a short silence.
        for frame in frames:
            rate = frame.sample_rate
            if frame.pts is not None:
                at = round((frame.pts * frame.time_base - self.offset) * rate)
                # Consecutive, except for gaps, because a file's clock may be coarser than samples, especially AVI's.
                if self._heard is None or at - self._heard > MOST_JITTER_S * rate:
                    self._heard = at
            frame.pts, frame.time_base = self._heard or 0, Fraction(1, rate)
            self._heard = frame.pts + frame.samples
            self.output.mux(self.stream.encode(frame))

    def close(self) -> None:
        """Close the file that the sound comes from."""
        self.input.close()
