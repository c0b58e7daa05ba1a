"""Frames ↔ video, with PyAV, which brings its own ffmpeg libraries.

Reading gives upright 8 bit RGB frames with their times, whatever the recording's rotation, pixel shape, bit depth
or frame rate. Writing gives an H.264 mp4 that browsers play from its first byte on, with the recording's sound,
there whole or not at all. Every error is a `ImageError` whose message can be shown as it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.stream import Disposition
from PIL import Image

from cyclegan.errors import ImageError
from cyclegan.images import IMAGE_SUFFIXES

__all__ = ["Frame", "Video", "VideoInfo", "VideoWriter", "is_video", "write_frames"]

VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".wmv", ".asf", ".flv",
    ".3gp", ".ogv", ".mxf", ".dv", ".vob",
})  # fmt: skip
# Sound goes on after the last picture for so long at most: a second of video may carry a day of silence.
SOUND_BEYOND_S = 10.0
# H.264's highest level ends at 8192×4352.
MAX_SIDE = 8192
MAX_PIXELS = 8192 * 4352
# Times of sound that are off by less are a file's clock.
MOST_JITTER_S = 0.05

# What a file may turn out to be. Playlists and the like are left out: ffmpeg would open the addresses in them, which
# no stranger's file should decide. The sound formats are there so that a song is told apart from rubbish.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpegtsraw,mpeg,mpegvideo,m4v,h264,hevc,ivf,obu,flv,asf,ogg,gif,apng,dv,mxf,nut,"
    "rm,yuv4mpegpipe,swf,mp3,wav,flac,aac"
)
_OPEN_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
# The best that browsers play; PyAV's own builds have the first.
_ENCODERS = ("libx264", "libopenh264", "libvpx-vp9")
# Sound that mp4 holds and browsers play there. Anything else becomes AAC.
_COPIED_SOUND = frozenset({"aac", "mp3", "opus", "flac"})
_BT709, _UNKNOWN, _BT601 = 1, 2, 5  # ffmpeg's numbers of colour matrices


@dataclass(frozen=True)
class VideoInfo:
    """What a video is, as its frames will come."""

    width: int
    """Pixels of an upright frame with square pixels."""
    height: int
    rate: Fraction
    """Frames per second, on average."""
    time_base: Fraction
    """Seconds per tick of the frames' times: every time is a multiple of it."""
    duration: float | None
    """Seconds of the picture track, or of the file where the track's are not known; None: the file doesn't say."""
    frames: int | None
    """As the file says; None if it doesn't."""
    has_sound: bool

    @property
    def expected_frames(self) -> int | None:
        """About how many frames there are, for a progress bar; None if nothing tells."""
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
    """Whether a file is to be taken for a video: by its suffix, and if that says nothing, by its content."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or path.is_dir():
        return False
    if suffix in VIDEO_SUFFIXES or not path.is_file():
        return suffix in VIDEO_SUFFIXES
    try:
        with av.open(os.path.abspath(path), options=_OPEN_OPTIONS) as container:
            return _picture_track(container) is not None
    except (av.error.FFmpegError, OSError, ValueError):
        return False


# ---------------------------------------------------------------------------------------------- reading


class Video:
    """A video file to read frames from. Nothing stays open between calls.

    Args:
        path: the file; the name in messages is its last part.
        max_seconds: the longest video that is accepted, by what the file says and by what it then holds.

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
            """Seconds that the file's own clock shows at the recording's start; MPEG-TS seldom begins at 0."""
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
        """Yield frames in the order of their times, which strictly rise.

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
        tick, usual = self.info.time_base, 1 / self.info.rate
        index, last, shown, lost = 0, None, usual, 0
        with self._opened() as (container, stream):
            if start > 0:
                # Files without an index can't seek; then everything before `start` is decoded and left out.
                with contextlib.suppress(av.error.FFmpegError):
                    container.seek(round((start + float(self.offset)) * 1_000_000))
            for frame in self._decoded(container, stream):
                known = frame.pts is not None
                time = frame.pts * tick - self.offset if known else (last or 0) + shown
                if last is not None and time <= last:
                    time = last + tick
                last, lost, shown = time, self.skipped, (frame.duration or 0) * tick or usual
                self._check_length(float(time))
                if end is not None and time >= end:
                    return
                if time < start:
                    continue
                if index % every == 0:
                    yield Frame(self._image(frame), time, shown)
                index += 1
            if stream.duration is not None and last is not None:
                over = (stream.start_time or 0) + stream.duration
                missing = round((over * stream.time_base - self.offset - last - shown) * self.info.rate)
                if missing > 1:  # One may be rounding.
                    self.skipped = max(self.skipped, lost + missing)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
        """The file and its picture track, with errors as sentences."""
        with _explained(self.path):
            # An absolute path, or ffmpeg takes `scene:1.mp4` for an address.
            container = av.open(os.path.abspath(self.path), options=_OPEN_OPTIONS)
        with container:
            stream = _picture_track(container)
            if stream is None:
                kind = "sound only" if container.streams.audio else "no picture track"
                raise ImageError("{name} has {kind}: give a video", name=self.name, kind=kind)
            self._check_size(stream.codec_context.width or 1, stream.codec_context.height or 1)
            stream.thread_type = "AUTO"
            with _explained(self.path):
                yield container, stream

    def _decoded(self, container, stream) -> Iterator[av.VideoFrame]:
        """Whole frames; what fails is counted and passed over."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, ValueError):
                packet = None  # The file breaks off here; what it lacks is counted by its duration.
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
        """8 bit RGB, with square pixels, upright. HDR keeps its curve, so it looks pale rather than failing."""
        colours = frame.colorspace
        if colours in (0, _UNKNOWN):  # Players go by the size too, where a file doesn't say.
            colours = _BT709 if frame.height > 576 else _BT601
        width, height = self._square
        rgb = frame.reformat(width, height, "rgb24", src_colorspace=colours, interpolation="BICUBIC")
        transposed, across, down = self._turn
        pixels = rgb.to_ndarray()
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


def write_frames(
    video: Video, folder: str | os.PathLike, *, every: int = 1, start: float = 0.0, end: float | None = None,
    size: int | None = None, limit: int | None = None, progress: Callable[[], None] | None = None,
) -> tuple[int, tuple[int, int]]:
    """Write frames as pictures, a training folder for instance.

        trainA/drive_000000000.jpg  drive_000000240.jpg …       the video's name and the frame's time in milliseconds

    JPEG at quality 95 with full colour resolution: what it loses is far below what the video's own compression lost,
    and PNG would take several times the room. The folder may hold other pictures, of other videos for instance, but
    none of a video of this name: nothing is overwritten, and two recordings are never mixed up.

    Args:
        video: where the frames come from.
        folder: made if need be.
        every, start, end: as for `Video.frames`.
        size: pixels of the shorter side; smaller frames are not enlarged. None: as they are.
        limit: at most so many pictures.
        progress: called after each picture.

    Returns:
        How many were written, and their width and height.

    Raises:
        ImageError: nothing to write, pictures of this name are there already, or the folder can't be written.
    """
    folder, written = Path(folder), 0
    stem = video.path.stem.lstrip(".") or "video"  # A leading dot would hide the pictures from listings.
    width, height = video.info.width, video.info.height
    scale = 1.0 if size is None else min(1.0, size / min(width, height))
    wanted = max(1, round(width * scale)), max(1, round(height * scale))
    try:
        ours = re.compile(rf"{re.escape(stem)}_[0-9]{{9,}}\.jpg", re.IGNORECASE)
        if folder.is_dir() and any(ours.fullmatch(path.name) for path in folder.iterdir()):
            raise ImageError(
                "{folder} holds pictures of a video named {stem} already: remove them, rename the video, or choose "
                "another folder",
                folder=folder, stem=stem,
            )
        last = -1
        for frame in video.frames(start=start, end=end, every=every):
            folder.mkdir(parents=True, exist_ok=True)
            last = max(last + 1, round(frame.time * 1000))
            image = frame.image if wanted == frame.image.size else frame.image.resize(wanted, Image.Resampling.BICUBIC)
            target = folder / f"{stem}_{last:09d}.jpg"
            part = target.with_name(f".{target.name}.part")
            try:
                image.save(part, format="JPEG", quality=95, subsampling=0)
                os.replace(part, target)
            finally:
                part.unlink(missing_ok=True)
            written += 1
            if progress is not None:
                progress()
            if written == limit:
                break
    except OSError as error:
        reason = error.strerror or error
        raise ImageError(
            "{folder} can't be written ({reason}): free space or choose another folder",
            folder=folder, reason=reason,
        ) from error
    if not written:
        known = "" if video.info.duration is None else f", which is {video.info.duration:.1f} seconds long"
        raise ImageError(
            "there are no frames between --start and --end in {video}{known}: choose other times",
            video=video.name, known=known,
        )
    return written, wanted


def _picture_track(container) -> av.VideoStream | None:
    """The first stream of moving pictures; a song's cover is none."""
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic:
            return stream
    return None


def _square_size(frame: av.VideoFrame, stream) -> tuple[int, int]:
    """Width and height with square pixels: the side whose pixels are too few is enlarged."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, 4) <= ratio <= 4:  # Nonsense in the header.
        ratio = Fraction(1)
    if ratio >= 1:
        return min(MAX_SIDE, round(frame.width * ratio)), frame.height
    return frame.width, min(MAX_SIDE, round(frame.height / ratio))


def _turn(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """What brings a frame upright: (swap rows and columns, then mirror left-right, then mirror top-bottom).

    A phone writes how it was held as a matrix (a b / c d) of 16.16 fixed point numbers beside the frames, which
    takes a pixel (x, y) to (a·x + c·y, b·x + d·y), y downwards. Angles other than quarter turns count as none.
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
        if path.exists() and not path.is_file():  # Opening a pipe would wait forever.
            raise ImageError("{name} is not a regular file: give a video file", name=path.name)
        if path.stat().st_size == 0:
            raise ImageError("{name} is empty (0 bytes): copy or download it again", name=path.name)
    except FileNotFoundError as error:
        raise ImageError("{name} does not exist: check the name and the folder", name=path.name) from error
    except OSError as error:
        raise ImageError(
            "{name} can't be read ({reason}): check the name and the permissions",
            name=path.name, reason=error.strerror,
        ) from error


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what ffmpeg and the system raise while reading into one sentence."""
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
    """Whether the first bytes are those of a common container."""
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

    H.264's colours need even sides: an odd one gets one more pixel, which repeats the last row or column, so that
    nothing of the picture is lost. Use it as a context manager: at the end the file takes `target`'s name, after an
    exception nothing is left.

        with VideoWriter("out.mp4", (640, 360), rate=Fraction(25), sound_from=video) as writer:
            writer.write(image, time, duration)

    Args:
        target: the file to write, .mp4; one that exists is replaced at the end.
        size: width and height of the frames that will come.
        rate: frames per second, for the encoder; the times of the frames are what counts.
        time_base: seconds per tick; times are rounded to it.
        sound_from: a video whose sound is taken over, unchanged if mp4 holds it and browsers play it there (AAC,
            MP3, Opus, FLAC), else as AAC. Of several tracks the best is taken.
        comment: a sentence for the file's metadata.

    Raises:
        ImageError: the file can't be written, or this build of PyAV has no encoder that browsers play.
    """

    def __init__(
        self, target: str | os.PathLike, size: tuple[int, int], *, rate: Fraction,
        time_base: Fraction = Fraction(1, 90_000), sound_from: Video | None = None, comment: str = "",
    ) -> None:
        self.target, self.size, self.time_base = Path(target), size, time_base
        self.sound: str | None = None
        """What became of the sound: "copied", "re-encoded", "left out" (it can't be decoded), None (there is none)."""
        self.written_size = size[0] + size[0] % 2, size[1] + size[1] % 2
        """Width and height of the file's frames."""
        # Hidden and of another suffix, so that nobody takes the half file for a video.
        self._part = self.target.with_name(f".{self.target.name}.{uuid.uuid4().hex[:8]}.part")
        self._last: int | None = None
        self._durations: dict[int, int] = {}
        self._end = Fraction(0)
        self._sound: _Sound | None = None
        self._container = None
        try:
            with self._explained():
                self._open(rate, sound_from, comment)
        except BaseException:
            self._discard()
            raise

    def _open(self, rate: Fraction, sound_from: Video | None, comment: str) -> None:
        encoder = next((name for name in _ENCODERS if _has_encoder(name)), None)
        if encoder is None:
            raise ImageError("this PyAV has no H.264 encoder: install it with pip install --force-reinstall av")
        options = {"movflags": "faststart"}
        self._container = av.open(os.path.abspath(self._part), "w", format="mp4", options=options)
        if comment:
            self._container.metadata["comment"] = comment
        rate = min(max(rate, Fraction(1, 1000)), Fraction(1000)).limit_denominator(100_000)
        self._stream = self._container.add_stream(encoder, rate=rate)
        context = self._stream.codec_context
        context.width, context.height = self.written_size
        context.pix_fmt, context.time_base = "yuv420p", self.time_base
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = _BT709, 1, 1, 1
        if encoder == "libx264":  # 18 is where people stop seeing a difference.
            # No B-frames: where the rate varies, mp4's durations of reordered frames end too early.
            context.options = {"crf": "18", "preset": "fast", "bf": "0"}
        else:
            context.bit_rate = max(1_000_000, int(context.width * context.height * rate * 0.15))
        if sound_from is not None and sound_from.info.has_sound:
            self._sound = _Sound(self._container, sound_from)
            self.sound = self._sound.how
        self._container.start_encoding()

    def write(self, image: Image.Image, time: Fraction, duration: Fraction) -> None:
        """Add a frame.

        Args:
            image: RGB, of the writer's size.
            time: seconds; one that does not rise is moved one tick behind the frame before.
            duration: seconds that it is shown for, which only counts for the last frame.

        Raises:
            ImageError: another size, or the file can't be written.
        """
        if image.size != self.size:
            raise ImageError(
                "a frame of {width}×{height} in a video of {size}×{size_2}",
                width=image.width, height=image.height, size=self.size[0], size_2=self.size[1],
            )
        pts = round(time / self.time_base)
        pts = pts if self._last is None else max(pts, self._last + 1)
        pixels = np.asarray(image.convert("RGB"))
        if image.width % 2 or image.height % 2:
            pixels = np.pad(pixels, ((0, image.height % 2), (0, image.width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709, interpolation="BICUBIC")
        frame.pts, frame.time_base = pts, self.time_base
        self._last = pts
        self._durations[pts] = max(1, round(duration / self.time_base))
        self._end = time + duration
        with self._explained():
            self._mux(self._stream.encode(frame))
            if self._sound is not None:
                self._sound.advance(float(time))

    def _mux(self, packets) -> None:
        for packet in packets:
            # Set here, since not every encoder hands a frame's duration on to its packet.
            packet.duration = self._durations.pop(packet.pts, 1)
            self._container.mux(packet)

    def __enter__(self) -> VideoWriter:
        """Itself."""
        return self

    def __exit__(self, kind, error, trace) -> None:
        """Finish the file and give it its name; after an exception, remove it."""
        try:
            if kind is None:
                with self._explained():
                    if self._last is None:
                        raise ImageError("{target} would have no frames: nothing was written", target=self.target.name)
                    self._mux(self._stream.encode(None))
                    if self._sound is not None:
                        self._sound.finish(float(self._end) + SOUND_BEYOND_S)
                    self._container.close()
                    os.replace(self._part, self.target)
        finally:
            self._discard()

    def _discard(self) -> None:
        """Close what is open, remove what has no name yet."""
        if self._sound is not None:
            self._sound.close()
        if self._container is not None:
            with contextlib.suppress(Exception):  # Only what is thrown away can fail here.
                self._container.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ImageError:
            raise
        except (av.error.FFmpegError, OSError) as error:
            reason = error.strerror or type(error).__name__
            raise ImageError(
                "{target} can't be written ({reason}): free space or choose another place",
                target=self.target.name, reason=reason,
            ) from error


class _Sound:
    """The sound of a video on its way into another file, in step with the pictures, so that little has to wait."""

    def __init__(self, output, video: Video) -> None:
        self.output, self.how = output, "copied"
        self.input = av.open(os.path.abspath(video.path), options=_OPEN_OPTIONS)
        stream, self._next = self.input.streams.best("audio"), None
        self.offset = video.offset
        self._heard: int | None = None  # Where the next samples belong, in samples, when they are re-encoded.
        if stream is None or stream.codec_context is None:  # Of a kind that ffmpeg doesn't know.
            self.how = "left out"
            return
        self.shift = round(video.offset / stream.time_base)
        if stream.codec_context.name.removesuffix("float") in _COPIED_SOUND:
            self.stream = output.add_stream_from_template(stream)
        else:
            self.how = "re-encoded"
            rates = av.codec.Codec("aac", "w").audio_rates or [48_000]
            rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout
            self.stream = output.add_stream("aac", rate=rate if rate in rates else 48_000)
            # AAC knows not every order of many channels.
            many = "5.1" if layout.nb_channels == 6 else "stereo"
            self.stream.codec_context.layout = layout if layout.nb_channels <= 2 else many
        self.packets = self.input.demux(stream)
        self._next = self._read()

    def _read(self):
        with contextlib.suppress(av.error.FFmpegError):  # Where the file breaks off, the sound ends.
            return next(self.packets, None)
        return None

    def finish(self, time: float) -> None:
        """Hand on what is heard up to `time` in seconds, and no more."""
        self.advance(time)
        if self._next is not None and self.how == "re-encoded":
            self.output.mux(self.stream.encode(None))
        self._next = None

    def advance(self, time: float) -> None:
        """Hand on what is heard up to `time` in seconds."""
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
            return  # A damaged piece of sound is a short silence.
        for frame in frames:
            rate = frame.sample_rate
            if frame.pts is not None:
                at = round((frame.pts * frame.time_base - self.offset) * rate)
                # One sample after the other, but for gaps: a file's clock may be coarser, AVI's by far.
                if self._heard is None or at - self._heard > MOST_JITTER_S * rate:
                    self._heard = at
            frame.pts, frame.time_base = self._heard or 0, Fraction(1, rate)
            self._heard = frame.pts + frame.samples
            self.output.mux(self.stream.encode(frame))

    def close(self) -> None:
        """Close the file that the sound comes from."""
        self.input.close()


def _has_encoder(name: str) -> bool:
    try:
        av.codec.Codec(name, "w")
    except (av.error.FFmpegError, ValueError):
        return False
    return True
