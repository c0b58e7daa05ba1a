"""Videos through a checkpoint, from the shell and from Python; flicker and its smoothing."""

import signal
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageChops

from cyclegan.checkpoints.format import load_checkpoint
from cyclegan.errors import Cancelled, CheckpointError, ImageError
from cyclegan.images import mean_difference
from cyclegan.translation.smoothing import Smoother
from cyclegan.translation.translator import Translator
from cyclegan.translation.video import translate_video, translate_video_in_steps
from cyclegan.translation.video_io import Video, VideoWriter

CYCLEGAN = ("-m", "cyclegan")
SIZE = (50, 38)


def scene(index, size=SIZE):
    """A bar that moves over a still gradient."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:] = (np.arange(width) * 3)[None, :, None]
    left = (3 * index) % (width - 8)
    pixels[height // 4 : height // 2, left : left + 8] = (250, 40, 30)
    return Image.fromarray(pixels)


@pytest.fixture
def clip(tmp_path):
    """Ten frames of a second, with a tone, at a rate that no clock likes."""
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30_000, 1001))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        heard = container.add_stream("aac", rate=48_000)
        heard.codec_context.layout = "mono"
        for index in range(10):
            container.mux(stream.encode(av.VideoFrame.from_image(scene(index))))
        container.mux(stream.encode(None))
        for first in range(0, 16_016, 1024):
            frame = av.AudioFrame.from_ndarray(np.full((1, 1024), 500 * (-1) ** first, np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 48_000, first
            container.mux(heard.encode(frame))
        container.mux(heard.encode(None))
    return path


@pytest.fixture
def translator(tmp_path, make_checkpoint):
    return Translator(load_checkpoint(make_checkpoint(tmp_path / "run", 1)), "cpu")


def facts(path):
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio
        heard = [bytes(p) for p in container.demux(sound[0]) if p.size] if sound else None
        return video.width, video.height, video.frames, video.average_rate, container.duration, heard


@pytest.mark.parametrize("generator", ["resnet_6", "unet_128", "encoder_decoder"])
@pytest.mark.parametrize("size", [None, 27, 32])
def test_a_batch_gives_what_single_pictures_give(tmp_path, make_checkpoint, generator, size):
    translator = Translator(load_checkpoint(make_checkpoint(tmp_path, 1, generator=generator)), "cpu")
    images = [scene(index) for index in range(3)]
    batch = translator.translate_batch(images, "ba", size)
    for image, result in zip(images, batch, strict=True):
        alone = translator.translate(image, "ba", size=size).fake
        assert result.size == alone.size == SIZE and result.mode == "RGB"
        assert np.abs(np.asarray(result, int) - np.asarray(alone, int)).max() <= 1
    assert mean_difference(batch[0], batch[1]) > 0


def test_a_batch_says_what_it_cannot_do(tmp_path, make_checkpoint, monkeypatch):
    translator = Translator(load_checkpoint(make_checkpoint(tmp_path, 1, directions=("ab",))), "cpu")
    assert translator.translate_batch([], "ab") == []
    with pytest.raises(ImageError, match="differ in size"):
        translator.translate_batch([scene(0), scene(0, (20, 20))], "ab")
    with pytest.raises(CheckpointError, match="A → B only"):
        translator.translate_batch([scene(0)], "ba")
    memory = type("Memory", (), {"available": 1_000_000})
    monkeypatch.setattr("cyclegan.translation.translator.psutil.virtual_memory", lambda: memory)
    assert len(translator.translate_batch([scene(0)], "ab")) == 1
    assert len(translator.translate_batch([scene(0)] * 9, "ab")) == 9  # One by one, if not together.


@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_every_frame_is_translated_in_its_place(tmp_path, clip, translator, batch_size):
    """Inverted by hand: what an untrained network paints is more than a video's colours can hold."""
    target, calls, asked = tmp_path / "out.mp4", [], []

    def inverted(images, direction, size):
        asked.append((len(images), direction, size))
        return [ImageChops.invert(image) for image in images]

    translator.translate_batch = inverted
    done = translate_video(translator, clip, target, "ba", size=26, batch_size=batch_size,
                           progress=lambda *numbers: calls.append(numbers))  # fmt: skip
    assert (done.frames, done.skipped, done.sound) == (10, 0, "copied")
    assert done.seconds == pytest.approx(10 * 1001 / 30_000, abs=0.001)
    assert asked == [(n, "ba", 26) for n in {None: [10], 1: [1] * 10, 4: [4, 4, 2]}[batch_size]]
    assert facts(target) == facts(clip)
    assert calls[0] == (0, 10) and calls[-1] == (10, 10) and calls == sorted(calls)
    for before, after in zip(Video(clip).frames(), Video(target).frames(), strict=True):
        assert after.time == before.time and mean_difference(after.image, ImageChops.invert(before.image)) < 6
    with av.open(str(target)) as container:
        assert translator.checkpoint.info.commit_sha in container.metadata["comment"]


@pytest.mark.parametrize("size", [196, 208])
def test_the_usual_sizes_work(tmp_path, clip, translator, size):
    done = translate_video(translator, Video(clip), tmp_path / "out.mp4", "ab", size=size)
    assert done.frames == 10 and facts(tmp_path / "out.mp4") == facts(clip)


@pytest.mark.parametrize(("size", "written"), [(196, (258, 196)), (27, (36, 28)), (None, SIZE), (38, SIZE)])
def test_a_video_can_be_written_at_the_size_worked_at(tmp_path, clip, translator, size, written):
    target = tmp_path / "out.mp4"
    done = translate_video(translator, clip, target, "ab", size=size, scale_back=False, smoothing=0.5)
    assert done.frames == 10 and done.size == written and done.flicker_after < done.flicker_before
    assert facts(target)[:2] == written and facts(target)[2:] == facts(clip)[2:]


def test_what_h264_cannot_hold_is_said_before_anything_is_done(tmp_path, clip, translator):
    with pytest.raises(ImageError, match="clip.mov would become 10526×8000, and H.264 ends at 8192"):
        translate_video(translator, clip, tmp_path / "out.mp4", "ab", size=8000, scale_back=False)
    assert not (tmp_path / "out.mp4").exists()


def test_steps_can_be_given_up(tmp_path, clip, translator):
    steps = translate_video_in_steps(translator, Video(clip), tmp_path / "out.mp4", "ab", batch_size=2)
    assert [next(steps) for _ in range(3)] == [(0, 10), (2, 10), (4, 10)]
    assert list(tmp_path.glob(".*.part"))
    steps.close()
    assert {p.name for p in tmp_path.iterdir()} == {"clip.mov", "run"}


def test_cancel_leaves_nothing(tmp_path, clip, translator):
    seen = []

    def cancelled():
        seen.append([p.name for p in tmp_path.iterdir() if p.name.endswith(".part")])
        return len(seen) == 3

    with pytest.raises(Cancelled, match="nothing was written"):
        translate_video(translator, clip, tmp_path / "out.mp4", "ab", batch_size=2, cancelled=cancelled)
    assert len(seen) == 3 and all(seen)
    assert {p.name for p in tmp_path.iterdir()} == {"clip.mov", "run"}
    with pytest.raises(ImageError, match="overwritten"):
        translate_video(translator, clip, clip, "ab")


# ---------------------------------------------------------------------------------------------- flicker


def flickering(image, index):
    """A translation that is brighter and darker in turn."""
    return Image.fromarray(np.clip(255 - np.asarray(image, int) + 8 * (-1) ** index, 0, 255).astype(np.uint8))


def smoothed(strength, count=12, translate=flickering):
    smoother = Smoother(strength)
    shown = [scene(index) for index in range(count)]
    results = [smoother.smooth(image, translate(image, index)) for index, image in enumerate(shown)]
    return smoother, shown, results


def test_smoothing_lowers_flicker_and_says_so():
    none, shown, results = smoothed(0)
    assert all(mean_difference(r, flickering(s, i)) == 0 for i, (s, r) in enumerate(zip(shown, results, strict=True)))
    assert none.flicker_before == none.flicker_after and 10 < none.flicker_before <= 16
    half, full = smoothed(0.5)[0], smoothed(1)[0]
    assert none.flicker_before == half.flicker_before == full.flicker_before
    assert full.flicker_after < 0.25 * half.flicker_before and half.flicker_after < 0.6 * half.flicker_before
    assert full.flicker_after < half.flicker_after


def test_smoothing_leaves_what_moves_alone():
    """Without flicker the moving bar is where it was, and as sharp; nothing of it stays behind."""
    _, shown, results = smoothed(1, translate=lambda image, index: image)
    for image, result in zip(shown, results, strict=True):
        assert np.abs(np.asarray(image, int) - np.asarray(result, int)).max() <= 2


def test_a_cut_starts_anew_and_daylight_may_fade():
    smoother = Smoother(1)
    smoother.smooth(Image.new("RGB", SIZE, "black"), Image.new("RGB", SIZE, "white"))
    cut = smoother.smooth(Image.new("RGB", SIZE, "white"), Image.new("RGB", SIZE, "black"))
    assert np.asarray(cut).max() == 0
    assert smoother.flicker_before is None and smoother.flicker_after is None  # Nothing stood still.
    for level in range(255, 100, -1):
        image = Image.new("RGB", SIZE, (level, level, level))
        result = smoother.smooth(image, image)
    assert abs(int(np.asarray(result).mean()) - 101) <= 10
    for _ in range(60):
        result = smoother.smooth(image, image)
    assert mean_difference(result, image) == 0
    with pytest.raises(ImageError, match="between 0 and 1"):
        Smoother(1.5)


# ---------------------------------------------------------------------------------------------- the shell


def test_sixty_frames_a_second_stay_sixty_at_208(tmp_path, translator):
    source, target = tmp_path / "fast.mp4", tmp_path / "out.mp4"
    size = 227, 208
    with VideoWriter(source, size, rate=Fraction(60)) as writer:
        for index in range(24):
            writer.write(scene(index, size), Fraction(index, 60), Fraction(1, 60))
    translator.translate_batch = lambda images, direction, size: images
    done = translate_video(translator, source, target, "ab", size=208, scale_back=False, batch_size=7)
    assert done.frames == 24 and done.size == (228, 208)
    given, made = (list(Video(path).frames()) for path in (source, target))
    assert [frame.time for frame in made] == [frame.time for frame in given]
    assert len({round(float(frame.time) * 60) for frame in made}) == 24 and round(float(made[-1].time) * 60) == 23
    assert facts(target)[3] == facts(source)[3] == 60


def test_the_input_next_to_the_result_in_one_video(tmp_path, clip, translator, run):
    target, both = tmp_path / "out.mp4", tmp_path / "new" / "both.mp4"
    status, text, _ = run("translate", "--checkpoints", tmp_path / "run", "--direction", "ab", "--input", clip,
                          "--output", target, "--side_by_side", both, "--device", "cpu")  # fmt: skip
    assert status == 0 and text.splitlines()[-1].endswith(f"written to {target}, and next to the input to {both}")
    assert facts(both)[2:] == facts(clip)[2:], "its frames, rate, length and sound"
    for given, made, shown in zip(*(Video(path).frames() for path in (clip, target, both)), strict=True):
        assert shown.time == given.time
        corners = (4, given.image, made.image), (4 + SIZE[0] + 4, made.image, given.image)
        for left, tile, other in corners:
            part = shown.image.crop((left, 18, left + SIZE[0], 18 + SIZE[1]))
            assert mean_difference(part, tile) < 12 < 2 * mean_difference(part, other)


def test_translate_from_the_shell(tmp_path, clip, translator, run_script):
    target = tmp_path / "new" / "out.mp4"
    done = run_script(*CYCLEGAN, "translate", "--checkpoints", tmp_path / "run", "--direction", "ab",
                      "--input", clip, "--output", target, "--size", 32, "--smoothing", 0.5)  # fmt: skip
    assert "10 frames, 0.3 s, sound copied, translated with epoch 1, day → night," in done.stdout
    assert "flicker where nothing moves" in done.stdout and "after smoothing" in done.stdout
    assert "10/10" in done.stderr and facts(target) == facts(clip)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--input": "none.mp4"}, "does not exist"),
        ({"--input": "text.mp4"}, "not a video"),
        ({"--output": "out.avi"}, "isn't an .mp4 file"),
        ({"--output": "out"}, "isn't an .mp4 file"),
        ({"--input": "a.mp4", "--output": "a.mp4"}, "input itself"),
        ({"--reconstruct": None}, "for pictures"),
        ({"--side_by_side": "both.avi"}, "isn't an .mp4 file"),
        ({"--side_by_side": "out.mp4"}, "is the input or --output"),
        ({"--side_by_side": "clip.mov.mp4", "--input": "a.png", "--output": "o.png"}, "for videos"),
        ({"--smoothing": "2"}, "from 0 to 1"),
        ({"--input": "a.png", "--smoothing": "0.5", "--output": "o.png"}, "for videos"),
        ({"--input": "a.png"}, "isn't a .png file"),
        ({"--input": "."}, "isn't a .png file"),
    ],
)
def test_what_cannot_be_done_with_videos(tmp_path, clip, make_checkpoint, run, change, says):
    make_checkpoint(tmp_path / "run", 1)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "a.mp4").write_bytes(clip.read_bytes())
    scene(0).save(tmp_path / "a.png")
    flags = {"--checkpoints": "run", "--direction": "ab", "--input": "clip.mov", "--output": "out.mp4", **change}
    paths = ("--checkpoints", "--input", "--output", "--side_by_side")
    words = [w for k, v in flags.items() for w in (k, tmp_path / v if k in paths else v) if w is not None]
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    status, _, errors = run("translate", *words)
    assert status != 0 and says in errors.splitlines()[-1]
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_ctrl_c_leaves_no_half_file(tmp_path, translator, start_script):
    with VideoWriter(tmp_path / "long.mp4", (64, 48), rate=Fraction(100)) as writer:
        for index in range(2000):
            writer.write(scene(index % 14, (64, 48)), Fraction(index, 100), Fraction(1, 100))
    process = start_script(*CYCLEGAN, "translate", "--checkpoints", tmp_path / "run", "--direction", "ab",
                           "--input", tmp_path / "long.mp4", "--output", tmp_path / "out.mp4",
                           "--size", 200)  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*.part")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    assert list(tmp_path.glob(".*.part")), "it should be at work by now"
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=300)
    assert process.returncode == 130 and text.splitlines()[-1] == "stopped" and "Traceback" not in text
    assert {p.name for p in tmp_path.iterdir()} == {"long.mp4", "run"}


def test_a_size_beyond_the_bounds_is_named(tmp_path, clip, run, make_checkpoint, monkeypatch):
    make_checkpoint(tmp_path / "run", 1)
    monkeypatch.setattr("cyclegan.translation.translator.MAX_SIDE", 60)
    status, _, errors = run("translate", "--checkpoints", tmp_path / "run", "--direction", "ab", "--device", "cpu",
                            "--input", clip, "--output", tmp_path / "o.mp4", "--size", 100)  # fmt: skip
    assert status == 0
    assert "note: clip.mov, 50×38, was translated at 60×45, the largest size for its shape, instead of" in errors


def test_frames_from_the_shell(tmp_path, clip, run):
    out = tmp_path / "data" / "trainA"
    status, text, errors = run("frames", clip, "--every", 4, "--output", out)
    assert status == 0 and len(list(out.glob("clip_*.jpg"))) == 3 and "3/3" in errors
    assert f"3 pictures of 50×38 written to {out}; next: fill {tmp_path / 'data' / 'trainB'}" in text
    assert "python train_accelerate.py --dataset" in text
    status, _, errors = run("frames", clip, "--output", out)
    assert status == 1 and "already" in errors.splitlines()[-1]
    status, _, errors = run("frames", clip, "--output", tmp_path / "x", "--start", "1:00")
    assert status == 1 and "0.3 seconds long" in errors.splitlines()[-1] and not (tmp_path / "x").exists()
    some = ("--every", 1, "--start", "0.1", "--end", "0.2", "--limit", 2, "--size", 20)
    status, text, errors = run("frames", clip, "--output", tmp_path / "x", *some)
    assert status == 0 and "2 pictures of 26×20" in text and "2/2" in errors
    for words, says in ((["--start", "a"], "a time"), (["--start", "3", "--end", "2"], "not after")):
        status, _, errors = run("frames", clip, "--output", tmp_path / "y", *words)
        assert status != 0 and says in errors
