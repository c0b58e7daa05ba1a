"""Frames ↔ video: what a recording is comes through, and what is no recording is one sentence."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from cyclegan.errors import ImageError
from cyclegan.translation import video_io as module
from cyclegan.translation.video_frames import FramesWritten, write_frames
from cyclegan.translation.video_io import Video, VideoWriter, is_video

REGULAR = [Fraction(i, 10) for i in range(20)]
UNEVEN = [Fraction(ms, 1000) for ms in (0, 40, 45, 200, 210, 700, 1500)]
CORNERS = {"red": (200, 30, 40), "green": (20, 160, 60), "blue": (40, 50, 190), "white": (230, 230, 230)}


def painted(index, size):
    """A picture whose corners tell how it is turned, with a bar that tells which frame it is."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    for color, (down, across) in zip(CORNERS.values(), ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        pixels[down * height // 2 :, across * width // 2 :] = color
    left = (2 * index) % width
    pixels[height // 4 : height // 2, left : left + 4] = 255
    return pixels


def make_clip(path, times=REGULAR, *, size=(64, 48), sound=None, rate=48_000, pix="yuv420p", codec="libx264",
              ratio=None, start=Fraction(0), tick=Fraction(1, 1000), picture=True, **options):  # fmt: skip
    """A recording, with a tone of 440 Hz as its sound."""
    with av.open(str(path), "w", options=options) as container:
        if picture:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = *size, pix
            stream.codec_context.time_base = tick
            if codec == "libx264":
                stream.codec_context.options = {"bf": "0"}
            if ratio:
                stream.codec_context.sample_aspect_ratio = ratio
        if sound:
            heard = container.add_stream(sound, rate=rate)
            heard.codec_context.layout = "mono"
        container.start_encoding()
        for index, time in enumerate(times if picture else ()):
            frame = av.VideoFrame.from_ndarray(painted(index, size), "rgb24").reformat(format=pix)
            frame.pts, frame.time_base = round((time + start) / tick), tick
            container.mux(stream.encode(frame))
        if picture:
            container.mux(stream.encode(None))
        if sound:
            wave = 8000 * np.sin(2 * np.pi * 440 * np.arange(int(rate * (times[-1] + Fraction(1, 10)))) / rate)
            for first in range(0, len(wave), 1024):
                samples = wave[None, first : first + 1024].astype(np.int16)
                frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
                frame.sample_rate, frame.pts, frame.time_base = rate, first + int(start * rate), Fraction(1, rate)
                container.mux(heard.encode(frame))
            container.mux(heard.encode(None))
    return path


def turned(path, matrix):
    """Write (a, b, c, d) into an mp4's track header, as a phone does; needs no new PyAV."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 65536 for value in matrix)
    data[at : at + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(data)
    return path


def copied(source, target):
    """Every frame written again as it is; the writer's report and the frames' times."""
    info, times = source.info, []
    with VideoWriter(target, (info.width, info.height), rate=info.rate, time_base=info.time_base,
                     sound_from=source) as writer:  # fmt: skip
        for frame in source.frames():
            writer.write(frame.image, frame.time, frame.duration)
            times.append(frame.time)
    return writer, times


def track(path, kind):
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        return stream.codec_context.name, float((stream.duration or 0) * stream.time_base), packets


def corner(image):
    """What is seen at the top left, top right, bottom left and bottom right."""
    width, height = image.size
    names = []
    for y in (1, height - 2):
        for x in (1, width - 2):
            pixel = np.asarray(image, int)[y, x]
            names.append(min(CORNERS, key=lambda name: np.abs(pixel - CORNERS[name]).sum()))
    return names


@pytest.mark.parametrize(
    ("name", "sound", "options", "becomes"),
    [
        ("a.mp4", "aac", {}, "copied"),
        ("a.mkv", "flac", {}, "copied"),
        ("a.webm", "libopus", {"codec": "libvpx-vp9"}, "copied"),
        ("a.avi", "libmp3lame", {"codec": "mpeg4", "tick": Fraction(1, 10)}, "copied"),
        ("a.ts", "aac", {}, "copied"),
        ("a.mov", "pcm_s16le", {"rate": 44_100}, "re-encoded"),
        ("a.mkv", "ac3", {}, "re-encoded"),
        ("a.avi", "ac3", {"codec": "mpeg4", "tick": Fraction(1, 10)}, "re-encoded"),
        ("late.mkv", "ac3", {"start": Fraction(5)}, "re-encoded"),
        ("a.mp4", None, {}, None),
        ("late.mkv", "aac", {"start": Fraction(5)}, "copied"),
    ],
)
def test_frames_times_and_sound_come_through(tmp_path, name, sound, options, becomes):
    source = Video(make_clip(tmp_path / name, sound=sound, **options))
    assert (source.info.width, source.info.height) == (64, 48) and source.info.has_sound == bool(sound)
    assert abs(source.info.expected_frames - 20) <= 1
    target = tmp_path / "out.mp4"
    writer, times = copied(source, target)
    again = [frame.time for frame in Video(target).frames()]
    assert source.skipped == 0 and len(times) == len(again) == 20
    assert max(abs(one - other) for one, other in zip(times, again, strict=True)) < 0.001
    assert writer.sound == becomes
    codec, duration, _ = track(target, "video")
    assert codec == "h264" and duration == pytest.approx(float(times[-1] - times[0]) + 0.1, abs=0.001)
    if becomes == "copied" and name != "a.ts":  # MPEG-TS wraps each packet of AAC, mp4 does not.
        assert track(target, "audio")[2] == track(tmp_path / name, "audio")[2]
    if becomes:
        assert track(target, "audio")[1] == pytest.approx(2, abs=0.06)
    if becomes == "re-encoded":
        assert track(target, "audio")[0] == "aac"
        with av.open(str(target)) as container:
            wave = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
            rate = container.streams.audio[0].codec_context.sample_rate
        loudest = np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave)
        assert loudest == pytest.approx(440, abs=2)
    data = target.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat"), "browsers need the index first"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_varying_frame_rate_is_kept(tmp_path):
    source = Video(make_clip(tmp_path / "v.mp4", UNEVEN, sound="aac"))
    _, times = copied(source, tmp_path / "out.mp4")
    assert times == UNEVEN and [frame.time for frame in Video(tmp_path / "out.mp4").frames()] == UNEVEN
    assert track(tmp_path / "out.mp4", "video")[1] >= 1.5


@pytest.mark.parametrize(
    ("matrix", "seen"),
    [
        ((1, 0, 0, 1), ["red", "green", "blue", "white"]),
        ((0, 1, -1, 0), ["blue", "red", "white", "green"]),  # a quarter turn clockwise: held upright
        ((0, -1, 1, 0), ["green", "white", "red", "blue"]),
        ((-1, 0, 0, -1), ["white", "blue", "green", "red"]),
        ((-1, 0, 0, 1), ["green", "red", "white", "blue"]),  # a front camera's mirror
        ((0, 1, 1, 0), ["red", "blue", "green", "white"]),
    ],
)
def test_a_phones_video_comes_upright(tmp_path, matrix, seen):
    source = Video(turned(make_clip(tmp_path / "phone.mp4"), matrix))
    expected = (48, 64) if matrix[0] == 0 else (64, 48)
    image = next(source.frames()).image
    assert (source.info.width, source.info.height) == image.size == expected and corner(image) == seen
    copied(source, tmp_path / "out.mp4")  # upright in itself, with nothing left to turn
    assert corner(next(Video(tmp_path / "out.mp4").frames()).image) == seen


def test_odd_sides_get_one_more_pixel(tmp_path):
    source = Video(make_clip(tmp_path / "odd.mkv", size=(33, 21), pix="yuv444p"))
    assert (source.info.width, source.info.height) == (33, 21)
    copied(source, tmp_path / "out.mp4")
    result = Video(tmp_path / "out.mp4")
    assert (result.info.width, result.info.height) == (34, 22)
    pixels = np.asarray(next(result.frames()).image, int)
    assert np.abs(pixels[21] - pixels[20]).mean() < 4 and np.abs(pixels[:, 33] - pixels[:, 32]).mean() < 4


def test_pixels_that_are_not_square_and_ten_bits(tmp_path):
    wide = Video(make_clip(tmp_path / "wide.mp4", ratio=Fraction(3, 2)))
    assert next(wide.frames()).image.size == (wide.info.width, wide.info.height) == (96, 48)
    tall = Video(make_clip(tmp_path / "tall.mp4", ratio=Fraction(1, 2)))
    assert (tall.info.width, tall.info.height) == (64, 96)
    deep = Video(make_clip(tmp_path / "deep.mp4", pix="yuv420p10le"))
    image = next(deep.frames()).image
    assert image.mode == "RGB" and corner(image) == list(CORNERS)


@pytest.mark.parametrize("size", [(64, 48), (1280, 720)])
def test_colours_stay(tmp_path, size):
    with VideoWriter(tmp_path / "x.mp4", size, rate=Fraction(10)) as writer:
        writer.write(Image.fromarray(painted(0, size)), Fraction(0), Fraction(1, 10))
    pixels = np.asarray(next(Video(tmp_path / "x.mp4").frames()).image, int)
    assert np.abs(pixels - painted(0, size)).mean() < 6
    for (y, x), name in {(-4, 4): "blue", (-4, -4): "white", (4, -4): "green"}.items():
        assert np.abs(pixels[y, x] - CORNERS[name]).max() <= 4


def test_parts_of_a_video(tmp_path):
    source = Video(make_clip(tmp_path / "a.mp4"))
    assert [frame.time for frame in source.frames(every=6)] == [0, Fraction(6, 10), Fraction(12, 10), Fraction(18, 10)]
    assert [frame.time for frame in source.frames(start=0.95, end=1.4, every=2)] == [1, Fraction(12, 10)]
    only = Video(make_clip(tmp_path / "one.mp4", REGULAR[:1]))
    assert [(f.time, f.duration) for f in only.frames()] == [(0, Fraction(1, 10))] and only.info.frames == 1
    copied(only, tmp_path / "again.mp4")
    assert track(tmp_path / "again.mp4", "video")[1] == pytest.approx(0.1)


def test_damage_is_passed_over_and_counted(tmp_path):
    whole = make_clip(tmp_path / "whole.mp4", sound="aac", movflags="faststart").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    cut = Video(tmp_path / "cut.mp4")
    _, times = copied(cut, tmp_path / "out.mp4")
    assert 3 < len(times) < 20 and abs(len(times) + cut.skipped - 20) <= 1
    with av.open(str(tmp_path / "whole.mp4")) as container:
        hit = [packet.pos for packet in container.demux(video=0) if packet.size][10]
    noisy = bytearray(whole)
    noisy[hit : hit + 12] = b"\xff" * 12
    (tmp_path / "noisy.mp4").write_bytes(noisy)
    noisy = Video(tmp_path / "noisy.mp4")
    assert len(list(noisy.frames())) == 19 and noisy.skipped == 1


def test_what_is_no_video_is_one_sentence(tmp_path, monkeypatch):
    whole = make_clip(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "text.mp4").write_text("not a video\n" * 500)
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{tmp_path}/whole.mp4\n")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "folder.mp4").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "picture.png")
    (tmp_path / "picture.png").rename(tmp_path / "picture.mp4")
    make_clip(tmp_path / "song.mp4", sound="aac", picture=False)
    make_clip(tmp_path / "none.mp4", [], movflags="empty_moov")
    os.mkfifo(tmp_path / "pipe.mp4")
    says = {
        "text": "is not a video", "list": "is not a video", "picture": "is not a video", "empty": "is empty",
        "half": "truncated or damaged", "folder": "is a folder", "song": "sound only", "none": "no frame",
        "missing": "does not exist", "pipe": "not a regular file",
    }  # fmt: skip
    for name, text in says.items():
        with pytest.raises(ImageError, match=text) as caught:
            Video(tmp_path / f"{name}.mp4")
        assert f"{name}.mp4" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ImageError, match="longer than 1.5 seconds"):
        Video(tmp_path / "whole.mp4", max_seconds=1.5)
    monkeypatch.setattr(module, "MAX_SIDE", 60)
    with pytest.raises(ImageError, match="64×48"):
        Video(tmp_path / "whole.mp4")


def test_which_files_are_taken_for_videos(tmp_path):
    make_clip(tmp_path / "clip.mp4").rename(tmp_path / "clip")
    (tmp_path / "notes").write_text("hello")
    (tmp_path / "folder.mp4").mkdir()
    assert is_video(tmp_path / "clip") and is_video("missing.MP4") and not is_video(tmp_path / "folder.mp4")
    assert not is_video(tmp_path / "notes") and not is_video("x.gif") and not is_video("missing")


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"before")
    image, tenth = Image.new("RGB", (64, 48)), Fraction(1, 10)
    with pytest.raises(KeyboardInterrupt), VideoWriter(target, (64, 48), rate=Fraction(10)) as writer:
        writer.write(image, Fraction(0), tenth)
        assert len(list(tmp_path.iterdir())) == 2
        raise KeyboardInterrupt
    with pytest.raises(ImageError, match="no frames"), VideoWriter(target, (64, 48), rate=Fraction(10)):
        pass
    with pytest.raises(ImageError, match="32×32"), VideoWriter(target, (64, 48), rate=Fraction(10)) as writer:
        writer.write(Image.new("RGB", (32, 32)), Fraction(0), tenth)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"] and target.read_bytes() == b"before"
    with pytest.raises(ImageError, match="can't be written"):
        VideoWriter(target / "x.mp4", (64, 48), rate=Fraction(10))
    with VideoWriter(target, (64, 48), rate=Fraction(10), comment="made by a test") as writer:
        for time in (Fraction(0), Fraction(0), Fraction(1, 10)):  # A time that doesn't rise is no reason to fail.
            writer.write(image, time, tenth)
    assert len(list(Video(target).frames())) == 3
    with av.open(str(target)) as container:
        assert container.metadata["comment"] == "made by a test"


def test_frames_become_a_training_folder(tmp_path):
    folder = tmp_path / "deep" / "trainA"
    one, two = (Video(make_clip(tmp_path / name)) for name in ("drive.mp4", ".walk.mp4"))
    calls = []
    done = write_frames(one, folder, every=6, size=24, progress=lambda: calls.append(1))
    assert done == FramesWritten(4, 0, (32, 24))
    names = ["drive_000000000.jpg", "drive_000000600.jpg", "drive_000001200.jpg", "drive_000001800.jpg"]
    assert sorted(p.name for p in folder.iterdir()) == names and len(calls) == 4
    with Image.open(folder / names[1]) as image:
        assert image.size == (32, 24) and image.format == "JPEG"
    assert write_frames(two, folder, every=2, limit=3, size=500) == FramesWritten(3, 0, (64, 48))
    assert len(list(folder.iterdir())) == 7 and (folder / "walk_000000400.jpg").is_file()
    before = {p: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(ImageError, match="named drive already"):
        write_frames(one, folder, start=1.0)
    assert {p: p.read_bytes() for p in folder.iterdir()} == before
    with pytest.raises(ImageError, match="2.0 seconds long"):
        write_frames(one, tmp_path / "empty", start=60)
    assert not (tmp_path / "empty").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match="can't be written"):
        write_frames(one, tmp_path / "file")
    long = Video((tmp_path / "drive.mp4").rename(tmp_path / ("가" * 83 + ".mp4")))
    assert write_frames(long, tmp_path / "long", limit=1).pictures == 1
    assert [path.name for path in (tmp_path / "long").iterdir()] == ["가" * 80 + "_000000000.jpg"]


def test_sound_ends_soon_after_the_pictures(tmp_path):
    """A second of video may carry hours of silence, which nobody waits for."""
    source = tmp_path / "long.mov"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        heard = container.add_stream("pcm_s16le", rate=8000)
        heard.codec_context.layout = "mono"
        for index in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(painted(index, (64, 48)), "rgb24")))
        container.mux(stream.encode(None))
        for second in range(60):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, 8000 * second, Fraction(1, 8000)
            container.mux(heard.encode(frame))
        container.mux(heard.encode(None))
    copied(Video(source), tmp_path / "out.mp4")
    name, seconds, _ = track(tmp_path / "out.mp4", "audio")
    assert name == "aac" and 1 < seconds < 13
