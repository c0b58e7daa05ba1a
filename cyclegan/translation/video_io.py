"""Frames ↔ video, with PyAV, which brings its own ffmpeg libraries.

Reading gives upright 8 bit RGB frames with their times (`frame_times`), whatever the recording's rotation, pixel shape,
bit depth or frame rate. Writing gives an H.264 mp4 that browsers play from its first byte on, with the recording's
sound (`video_sound`), whole or not at all. Every error is an `ImageError`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.stream import Disposition
from PIL import Image

from cyclegan.config import DataConfig
from cyclegan.errors import ImageError
from cyclegan.files import whole_file
from cyclegan.images import IMAGE_SUFFIXES
from cyclegan.translation.frame_times import ReadTimes, WrittenTimes
from cyclegan.translation.tone_mapping import BT2020, HLG, PQ, tone_mapped
from cyclegan.translation.video_sound import Sound

__all__ = ["Frame", "Video", "VideoInfo", "VideoWriter", "is_video"]

VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".wmv", ".asf", ".flv",
    ".3gp", ".ogv", ".mxf", ".dv", ".vob",
})  # fmt: skip
# H.264's highest level ends at 8192×4352.
MAX_SIDE = 8192
MAX_PIXELS = 8192 * 4352

# The accepted formats. Playlists and the like are excluded, because ffmpeg would open the addresses in a stranger's
# file. Sound formats are accepted so that a song gets its own message.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpegtsraw,mpeg,mpegvideo,m4v,h264,hevc,ivf,obu,flv,asf,ogg,gif,apng,dv,mxf,nut,"
    "rm,yuv4mpegpipe,swf,mp3,wav,flac,aac"
)
OPEN_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
# Encoders that browsers play, the best first; PyAV's own builds have it.
_ENCODERS = ("libx264", "libopenh264", "libvpx-vp9")
_BT709, _UNKNOWN, _BT601 = 1, 2, 5  # ffmpeg's numbers of colour matrices


@dataclass(frozen=True)
class VideoInfo:
    """Facts about a video, as its frames will come."""

    width: int
    """Pixels of an upright frame with square pixels."""
    height: int
    rate: Fraction
    """Frames per second, on average."""
    time_base: Fraction
    """Seconds per tick of the frames' times: every time is a multiple of it."""
    duration: float | None
    """Seconds of the picture track, or of the file where the track's are unknown; None: the file doesn't say."""
    frames: int | None
    """As the file says; None if it doesn't."""
    has_sound: bool

    @property
    def expected_frames(self) -> int | None:
        """The approximate number of frames, for a progress bar; None if it is unknown."""
        return self.frames or (None if self.duration is None else max(1, round(self.duration * self.rate)))


@dataclass(frozen=True)
class Frame:
    """One picture of a video."""

    image: Image.Image
    """RGB, upright, of the size in `VideoInfo`."""
    time: Fraction
    """Seconds since the recording's start, of sound or picture, whichever is first."""
    duration: Fraction
    """Seconds that the file shows it for; 1 / rate where the file doesn't say."""


def is_video(path: str | os.PathLike) -> bool:
    """Return whether a file is a video: by its suffix, or by its content where the suffix is unknown."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or path.is_dir():
        return False
    if suffix in VIDEO_SUFFIXES or not path.is_file():
        return suffix in VIDEO_SUFFIXES
    try:
        with av.open(os.path.abspath(path), options=OPEN_OPTIONS) as container:
            return _picture_track(container) is not None
    except (av.error.FFmpegError, OSError, ValueError):
        return False


# ---------------------------------------------------------------------------------------------- reading


def refuse_values(data: DataConfig) -> None:
    """Raise ImageError if a run's pictures aren't those of videos, which have 8-bit colour."""
    if not data.plain:
        raise ImageError(
            "a video has 8-bit colour, and these networks were trained on pictures of other values: translate pictures"
        )


class Video:
    """A video file to read frames from. No file is open between calls.

    Args:
        path: the file; messages show the last part of its name.
        max_seconds: the longest video that is accepted, by the file's own duration and by its frames' times.

    Raises:
        ImageError: missing, empty, not a video, without a picture track, without one frame that can be decoded,
            damaged, too large (MAX_SIDE, MAX_PIXELS) or too long.
    """

    def __init__(self, path: str | os.PathLike, *, max_seconds: float | None = None) -> None:
        self.path, self.max_seconds = Path(path), max_seconds
        self.skipped = 0
        """Damaged or missing frames that the last `frames()` met so far."""
        _check_file(self.path)
        with self._opened() as (container, stream):
            self.offset = max(Fraction(0), Fraction(container.start_time or 0, 1_000_000))
            """Seconds on the file's own clock at the recording's start; MPEG-TS seldom begins at 0."""
            duration = None if stream.duration is None else float(stream.duration * stream.time_base)
            if duration is None and container.duration is not None:
                # Matroska counts from its clock's 0, whenever the recording begins.
                early = float(self.offset) if "matroska" in container.format.name else 0.0
                duration = container.duration / 1e6 - early
            self._check_length(duration)
            first = next(self._decoded(container, stream), None)
            if first is None:
                raise ImageError("{name} has no frame that can be read: copy or download it again", name=self.name)
            self._square = _square_size(first, stream)
            self._turn = _turn(first)
            width, height = self._square[:: -1 if self._turn[0] else 1]
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            self.info = VideoInfo(
                width, height, Fraction(rate), Fraction(stream.time_base), duration, stream.frames or None,
                has_sound=bool(container.streams.audio),
            )  # fmt: skip

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name

    def frames(self, *, start: float = 0.0, end: float | None = None, every: int = 1) -> Iterator[Frame]:
        """Yield frames in the order of their times, which strictly rise (`frame_times.ReadTimes`).

        Damaged frames are left out and counted in `skipped`, and so are those that a truncated file lacks at its
        end: the frame before them is then shown for longer.

        Args:
            start: seconds; frames before it are left out.
            end: seconds; frames from it on are left out. None: to the end.
            every: 1 for each frame, 6 for each sixth from the first on.

        Raises:
            ImageError: the file changed since, or is longer than `max_seconds`.
        """
        self.skipped = 0
        times = ReadTimes(self.info.time_base, self.info.rate, self.offset)
        index, lost = 0, 0
        with self._opened() as (container, stream):
            if start > 0:
                # Files without an index can't seek; then everything before `start` is decoded and left out.
                with contextlib.suppress(av.error.FFmpegError):
                    container.seek(round((start + float(self.offset)) * 1_000_000))
            for frame in self._decoded(container, stream):
                time, duration = times.next(frame.pts, frame.duration)
                lost = self.skipped
                self._check_length(float(time))
                if end is not None and time >= end:
                    return
                if time < start:
                    continue
                if index % every == 0:
                    yield Frame(self._image(frame), time, duration)
                index += 1
            if stream.duration is not None:
                end = ((stream.start_time or 0) + stream.duration) * stream.time_base
                self.skipped = max(self.skipped, lost + times.missing_before(end))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
        """Yield the file and its picture track, with errors as sentences."""
        with _explained(self.path):
            # An absolute path, because ffmpeg treats `scene:1.mp4` as an address.
            container = av.open(os.path.abspath(self.path), options=OPEN_OPTIONS)
        with container:
            stream = _picture_track(container)
            if stream is None:
                if container.streams.audio:
                    raise ImageError("{name} has sound only: give a video", name=self.name)
                raise ImageError("{name} has no picture track: give a video", name=self.name)
            self._check_size(stream.codec_context.width or 1, stream.codec_context.height or 1)
            stream.thread_type = "AUTO"
            with _explained(self.path):
                yield container, stream

    def _decoded(self, container, stream) -> Iterator[av.VideoFrame]:
        """Yield whole frames; those that fail are counted and skipped."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, ValueError):
                packet = None  # The file breaks off here; its duration shows the number of missing frames.
            try:
                found = stream.codec_context.decode(packet)
            except av.error.EOFError:
                found = []
            except (av.error.FFmpegError, ValueError):
                found = []
                self.skipped += 1
            for frame in found:
                if frame.is_corrupt or frame.width < 1:
                    self.skipped += 1
                else:
                    self._check_size(frame.width, frame.height)
                    yield frame
            if packet is None or packet.size == 0:
                return

    def _image(self, frame: av.VideoFrame) -> Image.Image:
        """Return 8 bit RGB, upright, with square pixels; HDR is tone-mapped."""
        colours, is_hdr = frame.colorspace, frame.color_trc in (PQ, HLG)
        if colours in (0, _UNKNOWN):  # Where a file doesn't say, players also go by the size.
            colours = BT2020 if is_hdr else _BT709 if frame.height > 576 else _BT601
        width, height = self._square
        depth = "rgb48le" if is_hdr else "rgb24"
        pixels = frame.reformat(width, height, depth, src_colorspace=colours, interpolation="BICUBIC").to_ndarray()
        if is_hdr:
            pixels = tone_mapped(pixels, frame.color_trc)
        transposed, across, down = self._turn
        pixels = pixels.transpose(1, 0, 2) if transposed else pixels
        return Image.fromarray(np.ascontiguousarray(pixels[:: -1 if down else 1, :: -1 if across else 1]))

    def _check_size(self, width: int, height: int) -> None:
        if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
            raise ImageError(
                "{name} is {width}×{height}, beyond what H.264 holds (8192×4352): make it smaller",
                name=self.name, width=width, height=height,
            )

    def _check_length(self, seconds: float | None) -> None:
        if self.max_seconds is not None and seconds is not None and seconds > self.max_seconds:
            raise ImageError(
                "{name} is longer than {max_seconds:g} seconds: cut it first",
                name=self.name, max_seconds=self.max_seconds,
            )


def _picture_track(container) -> av.VideoStream | None:
    """Return the first stream of moving pictures, which excludes a song's cover."""
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic:
            return stream
    return None


def _square_size(frame: av.VideoFrame, stream) -> tuple[int, int]:
    """Return width and height with square pixels: the side with too few pixels is enlarged."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, 4) <= ratio <= 4:  # The header is wrong.
        ratio = Fraction(1)
    if ratio >= 1:
        return min(MAX_SIDE, round(frame.width * ratio)), frame.height
    return frame.width, min(MAX_SIDE, round(frame.height / ratio))


def _turn(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """Return the steps that turn a frame upright: (swap rows and columns, mirror left-right, mirror top-bottom).

    A phone writes its orientation as a matrix (a b / c d) of 16.16 fixed point numbers next to the frames, which takes
    a pixel (x, y) to (a·x + c·y, b·x + d·y), y downwards. Angles other than quarter turns count as none.
    """
    side = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(side), np.int32)[:5].tolist()
    if a == d == 0:
        return True, c < 0, b < 0
    return (False, a < 0, d < 0) if b == c == 0 else (False, False, False)


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise ImageError("{name} is a folder: give a video file", name=path.name)
        if path.exists() and not path.is_file():  # Opening a pipe may never end.
            raise ImageError("{name} is not a regular file: give a video file", name=path.name)
        if path.stat().st_size == 0:
            raise ImageError("{name} is empty (0 bytes): copy or download it again", name=path.name)
    except FileNotFoundError as error:
        raise ImageError("{name} does not exist: check the name and the folder", name=path.name) from error
    except OSError as error:
        raise ImageError(
            "{name} can't be read ({reason}): check the name and the permissions",
            name=path.name, reason=error,
        ) from error


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn errors of ffmpeg and the system while reading into one sentence."""
    try:
        yield
    except (av.error.FileNotFoundError, FileNotFoundError) as error:
        raise ImageError("{name} does not exist: check the name and the folder", name=path.name) from error
    except (av.error.PermissionError, PermissionError) as error:
        raise ImageError("{name} may not be read: change the file's permissions", name=path.name) from error
    except MemoryError as error:
        raise ImageError("{name} does not fit in memory: make it smaller first", name=path.name) from error
    except av.error.FFmpegError as error:
        if _looks_like_video(path):
            raise ImageError("{name} is truncated or damaged: copy or download it again", name=path.name) from error
        raise ImageError(
            "{name} is not a video that can be read here: save it as mp4, mkv or webm",
            name=path.name,
        ) from error


def _looks_like_video(path: Path) -> bool:
    """Return whether the first bytes are those of a common container."""
    with contextlib.suppress(OSError), open(path, "rb") as stream:
        head = stream.read(12)
        return (
            head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
            or head[:4] in (b"\x1aE\xdf\xa3", b"OggS", b"\x00\x00\x01\xba", b"0&\xb2u")
            or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
            or head[:3] == b"FLV"
        )
    return False


# ---------------------------------------------------------------------------------------------- writing


class VideoWriter:
    """Write frames as an mp4 that browsers play: H.264, 4:2:0, its index at the front.

    H.264's colours need even sides: an odd side gets one more pixel, which repeats the last row or column, so that
    nothing of the picture is lost. Use it as a context manager: at the end the file takes `target`'s name; after an
    exception nothing is left.

        with VideoWriter("out.mp4", (640, 360), rate=Fraction(25), sound_from=video) as writer:
            writer.write(image, time, duration)

    Args:
        target: the file to write, .mp4; one that exists is replaced at the end.
        size: width and height of the frames.
        rate: frames per second, for the encoder's rate control only; each frame has its own time.
        time_base: seconds per tick; times are rounded to it.
        sound_from: a video whose sound is used, unchanged if mp4 holds it and browsers play it there (AAC, MP3,
            Opus, FLAC), else as AAC. Of several tracks the best is used.
        comment: a sentence for the file's metadata.

    Raises:
        ImageError: the file can't be written, or this build of PyAV has no encoder that browsers play.
    """

    def __init__(
        self, target: str | os.PathLike, size: tuple[int, int], *, rate: Fraction,
        time_base: Fraction = Fraction(1, 90_000), sound_from: Video | None = None, comment: str = "",
    ) -> None:
        self.target, self.size = Path(target), size
        self.sound: str | None = None
        """The sound's treatment: "copied", "re-encoded", "left out" (it can't be decoded), None (there is none)."""
        self.written_size = size[0] + size[0] % 2, size[1] + size[1] % 2
        """Width and height of the file's frames."""
        self._times = WrittenTimes(time_base)
        self._sound: Sound | None = None
        self._container = None
        self._stack = contextlib.ExitStack()
        """Closes what is open and gives the file its name, or removes it after an exception."""
        with self._explained(), contextlib.ExitStack() as stack:
            part = stack.enter_context(whole_file(self.target, durable=False))
            stack.callback(self._close)
            self._open(part, rate, sound_from, comment)
            self._stack = stack.pop_all()

    def _open(self, part: Path, rate: Fraction, sound_from: Video | None, comment: str) -> None:
        encoder = next((name for name in _ENCODERS if _has_encoder(name)), None)
        if encoder is None:
            raise ImageError("this PyAV has no H.264 encoder: install it with pip install --force-reinstall av")
        options = {"movflags": "faststart"}
        self._container = av.open(os.path.abspath(part), "w", format="mp4", options=options)
        if comment:
            self._container.metadata["comment"] = comment
        rate = min(max(rate, Fraction(1, 1000)), Fraction(1000)).limit_denominator(100_000)
        self._stream = self._container.add_stream(encoder, rate=rate)
        context = self._stream.codec_context
        context.width, context.height = self.written_size
        context.pix_fmt, context.time_base = "yuv420p", self._times.tick
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = _BT709, 1, 1, 1
        if encoder == "libx264":  # From 18 down, people see no difference.
            # No B-frames, because mp4's durations of reordered frames end too early where the rate varies.
            context.options = {"crf": "18", "preset": "fast", "bf": "0"}
        else:
            context.bit_rate = max(1_000_000, int(context.width * context.height * rate * 0.15))
        if sound_from is not None and sound_from.info.has_sound:
            source = av.open(os.path.abspath(sound_from.path), options=OPEN_OPTIONS)
            self._sound = Sound(self._container, source, sound_from.offset)
            self.sound = self._sound.how
        self._container.start_encoding()

    def write(self, image: Image.Image, time: Fraction, duration: Fraction) -> None:
        """Add a frame.

        Args:
            image: RGB, of the writer's size.
            time: seconds; one that doesn't rise is moved one tick after the frame before (`frame_times`).
            duration: seconds that it is shown for, which only counts for the last frame.

        Raises:
            ImageError: another size, or the file can't be written.
        """
        if image.size != self.size:
            raise ImageError(
                "a frame of {width}×{height} in a video of {video_width}×{video_height}",
                width=image.width, height=image.height, video_width=self.size[0], video_height=self.size[1],
            )
        pixels = np.asarray(image.convert("RGB"))
        if image.width % 2 or image.height % 2:
            pixels = np.pad(pixels, ((0, image.height % 2), (0, image.width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709, interpolation="BICUBIC")
        frame.pts, frame.time_base = self._times.add(time, duration), self._times.tick
        with self._explained():
            self._mux(self._stream.encode(frame))
            if self._sound is not None:
                self._sound.advance(float(time))

    def _mux(self, packets) -> None:
        for packet in packets:
            # Set here, because not every encoder passes a frame's duration on to its packet.
            packet.duration = self._times.duration(packet.pts)
            self._container.mux(packet)

    def __enter__(self) -> VideoWriter:
        """Itself."""
        return self

    def __exit__(self, kind, error, trace) -> None:
        """Finish the file and give it its name; after an exception, remove it."""
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._explained(), self._stack:
            if self._times.last is None:
                raise ImageError("{target} would have no frames: nothing was written", target=self.target.name)
            self._mux(self._stream.encode(None))
            if self._sound is not None:
                self._sound.finish(float(self._times.end))
            self._container.close()

    def _close(self) -> None:
        """Close both files; only an unfinished one can fail here, which is discarded anyway."""
        if self._sound is not None:
            self._sound.close()
        if self._container is not None:
            with contextlib.suppress(Exception):
                self._container.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            reason = error.strerror or type(error).__name__
            raise ImageError(
                "{target} can't be written ({reason}): free space or choose another place",
                target=self.target.name, reason=reason,
            ) from error


def _has_encoder(name: str) -> bool:
    try:
        av.codec.Codec(name, "w")
    except (av.error.FFmpegError, ValueError):
        return False
    return True
