"""Two recordings → a data set → a training → a translated video: the whole way, and what stands in it."""

import json
import math
import os
import signal
import time
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from cyclegan.config import DataConfig
from cyclegan.data import find_data, name_domains
from cyclegan.errors import DataError, ImageError
from cyclegan.translation.contact_sheet import MOST, Thumbnails, write_sheet
from cyclegan.translation.recordings import write_recordings
from cyclegan.translation.time_split import Recording, Split
from cyclegan.translation.video_frames import DISTANCE, Duplicates
from cyclegan.translation.video_io import Video, VideoWriter

SIZE, RATE = (64, 48), 10
QUICK = ("--every", "2", "--gap", "0.25", "--test_share", "0.2")


def drive(path, seconds=8, seed=0, still=(3, 4)):
    """A recording that glides over a picture, but for a time in which it stands still."""
    rng = np.random.default_rng(seed)
    wide = Image.fromarray(rng.integers(0, 256, (9, 60, 3), dtype=np.uint8)).resize((640, 96), Image.Resampling.BICUBIC)
    with VideoWriter(path, SIZE, rate=Fraction(RATE)) as writer:
        for index in range(seconds * RATE):
            now = index / RATE
            moved = min(now, still[0]) + max(0, now - still[1])
            left = round(6 * RATE * moved) % (640 - SIZE[0])
            frame = wide.crop((left, 20, left + SIZE[0], 20 + SIZE[1]))
            writer.write(frame, Fraction(index, RATE), Fraction(1, RATE))
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return drive(folder / "game.mp4"), drive(folder / "real.mp4", seed=1)


@pytest.fixture
def run(run):
    """The same, with the lines of the last words."""

    def lines(*words):
        status, text, errors = run(*words)
        return status, text, errors.strip().splitlines()

    return lines


def times(folder):
    return sorted(int(path.stem.rpartition("_")[2]) / 1000 for path in folder.iterdir())


def files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_two_recordings_become_a_run_and_a_video(tmp_path, clips, run, run_script):
    root, again = tmp_path / "drive", tmp_path / "again"
    status, text, errors = run("frames", *clips, "--output", root, *QUICK)
    assert status == 0 and "80/80" in errors[-2] and "scores and studies want 50 and more in each domain" in errors[-1]
    lines = text.splitlines()
    train, test = (times(root / part / "game") for part in ("train", "test"))
    assert f"game: {len(train)} pictures for training and {len(test)} for testing, 64×48, from game.mp4" == lines[0]
    assert lines[1].startswith("  test: 20% of the time, 0:01.1 to 0:01.6, 0:03.7 to 0:04.3, 0:06.4 to 0:06.9; ")
    assert lines[1].endswith("frames left out in the gaps of 0.25 s around")
    # It stands still for a second, of which one frame remains: the others are near-duplicates.
    assert lines[2] == "  near-duplicates left out: 5" and lines[3] == f"  contact sheet: {root / 'contact_game.jpg'}"
    assert lines[-2] == "domain A is game, B is real"
    command = f"next: python train_accelerate.py --dataset {root} --output_dir runs/drive --resume auto"
    assert lines[-1] == command
    assert min(abs(one - other) for one in train for other in test) >= 0.25
    # Deterministic to the byte, and the data finder takes it without a word about contact sheets.
    assert run("frames", *clips, "--output", again, *QUICK)[0] == 0 and files(again) == files(root)
    config = name_domains(DataConfig(dataset=str(root)))
    assert (config.domain_a, config.domain_b) == ("game", "real")
    splits = find_data(config)
    assert (len(splits.train_a), len(splits.test_a)) == (len(train), len(test)) and not splits.warnings
    assert not any("contact" in str(note) for note in splits.notes)
    # The whole way, in few and small steps.
    done = run_script(
        "train_accelerate.py", "--dataset", root, "--output_dir", tmp_path / "run",
        "--generator", "resnet_6", "--ngf", 4, "--ndf", 4, "--load_size", 36, "--crop_size", 32,
        "--sample_count", 1, "--epochs", 1, "--decay_epochs", 0, "--max_images", 2,
    )  # fmt: skip
    assert "contact" not in done.stdout + done.stderr
    status, text, _ = run("translate", "--checkpoints", tmp_path / "run", "--direction", "ab", "--input", clips[0],
                          "--output", tmp_path / "real.mp4", "--size", 32)  # fmt: skip
    assert status == 0 and "80 frames, 8.0 s" in text and "game → real" in text


def test_domain_a_is_the_recording_that_is_named_first(tmp_path, clips, run):
    """Also against the alphabet; a data set of an older version, whose record doesn't say so, keeps its order."""
    root = tmp_path / "drive"
    status, text, _ = run("frames", *clips[::-1], "--output", root, *QUICK)
    assert status == 0 and "domain A is real, B is game" in text
    config = name_domains(DataConfig(dataset=str(root)))
    assert (config.domain_a, config.domain_b) == ("real", "game")
    splits = find_data(config)
    assert (splits.train_a.part, splits.test_b.part) == ("train/real", "test/game")
    more = drive(tmp_path / "more.mp4", seed=2), drive(tmp_path / "still.mp4", seed=3)
    status, text, _ = run("frames", *more, "--output", root, *QUICK)
    assert status == 0 and "domain A is real, B is game" in text and list((root / "train" / "real").glob("more_*"))
    record = json.loads((root / "recordings.json").read_text())
    assert record["domains"] == ["real", "game"] and record.pop("a") == "real"
    (root / "recordings.json").write_text(json.dumps(record))
    assert name_domains(DataConfig(dataset=str(root))).domain_a == "game"
    again = drive(tmp_path / "again.mp4", seed=4), drive(tmp_path / "last.mp4", seed=5)
    status, text, _ = run("frames", *again, "--output", root, *QUICK)
    assert status == 0 and "domain A is game, B is real" in text
    assert "a" not in json.loads((root / "recordings.json").read_text())
    (root / "recordings.json").write_text("{")
    with pytest.raises(DataError, match="recordings.json"):
        find_data(config)


def test_the_same_video_twice_is_refused(tmp_path, clips, run):
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(clips[0].read_bytes())
    for other in (clips[0], copy):
        status, _, errors = run("frames", clips[0], other, "--output", tmp_path / "drive", *QUICK)
        assert status == 1 and "are the same video: give one of each domain" in errors[-1]
    assert not (tmp_path / "drive").exists()


def test_further_recordings_are_added_to_the_domains_of_a_data_set(tmp_path, clips, run):
    root = tmp_path / "drive"
    assert run("frames", *clips, "--output", root, *QUICK)[0] == 0
    before = files(root)
    status, _, errors = run("frames", *clips, "--output", root, *QUICK)
    assert status == 1 and "holds pictures of a video named game already" in errors[-1] and files(root) == before
    more = drive(tmp_path / "drive2.mp4", seed=2), drive(tmp_path / "walk.mp4", seed=3)
    status, _, errors = run("frames", *more, "--output", root, "--names", "day,night", *QUICK)
    assert status == 1 and "with --names game,real, in the order" in errors[-1] and files(root) == before
    status, text, _ = run("frames", *more, "--output", root, *QUICK)
    after, record = files(root), json.loads(before.pop("recordings.json"))
    assert status == 0 and before.items() < after.items() and (root / "contact_real_walk.jpg").is_file()
    grown = json.loads(after["recordings.json"])
    assert grown["domains"] == ["game", "real"] and grown["recordings"][:2] == record["recordings"]
    assert [one["video"] for one in grown["recordings"][2:]] == ["drive2.mp4", "walk.mp4"]
    assert {name.split("_")[0].removeprefix("train/") for name in after if "train/real" in name} == {
        "real/real", "real/walk"
    }  # fmt: skip
    (root / "recordings.json").write_text("{}")
    status, _, errors = run("frames", *more, "--output", root, *QUICK)
    assert status == 1 and "recordings.json is damaged" in errors[-1]
    (root / "recordings.json").unlink()
    status, _, errors = run("frames", *more, "--output", root, *QUICK)
    assert status == 1 and "with --names game,real, in the order" in errors[-1]
    (tmp_path / "other" / "trainA").mkdir(parents=True)
    status, _, errors = run("frames", *clips, "--output", tmp_path / "other", *QUICK)
    assert status == 1 and "data set with trainA or trainB" in errors[-1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--gap", "5"], "game.mp4 has 8.0 s, too few for a test part with gaps of 5 s around it: use a recording of "
                         "at least 23 s, or --gap 1.8 or less"),
        (["--gap", "1", "--every", "30"], "leaves no picture for test: lower --every"),
        (["--names", "one"], "isn't two names"),
        (["--names", "one,One"], "both domains would be named one"),
        (["--names", "../one,two"], "isn't a valid name of a domain"),
        (["--test_share", "0.5"], "leaves too little for training"),
        (["--duplicate_distance", "300"], "from 0 to 64"),
        (["--start", "20"], "too few"),
    ],
)  # fmt: skip
def test_what_cannot_become_a_data_set(tmp_path, clips, run, words, says):
    status, _, errors = run("frames", *clips, "--output", tmp_path / "out", *words)
    assert status != 0 and says in errors[-1] and not (tmp_path / "out").exists()


def test_the_number_of_videos_and_flags_fit_together(tmp_path, clips, run):
    out = ("--output", tmp_path / "out")
    assert "3 videos: give one, or two" in run("frames", *clips, clips[0], *out)[2][-1]
    for words in (["--gap", "2"], ["--names", "a,b"], ["--test_share", "0.1"]):
        assert "is for two videos" in run("frames", clips[0], *out, *words)[2][-1]
    status, text, _ = run("frames", clips[0], *out, "--every", "2")
    assert status == 0 and ", 5 near-duplicates left out; next" in text and len(times(tmp_path / "out")) == 35
    status, text, _ = run("frames", clips[0], "--output", tmp_path / "all", "--every", "2", "--duplicate_distance", "0")
    assert status == 0 and "near" not in text and len(times(tmp_path / "all")) == 40


@pytest.mark.slow
@pytest.mark.parametrize("last", [signal.SIGINT, signal.SIGKILL])
def test_an_end_in_the_middle_leaves_no_pictures(tmp_path, start_script, run, last):
    long = drive(tmp_path / "long.mp4", seconds=60), drive(tmp_path / "other.mp4", seed=1)
    process = start_script("-m", "cyclegan", "frames", *long, "--output", tmp_path / "out", "--gap", "0.5",
                           "--every", 1)  # fmt: skip
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "out").glob(".*.part/frames/*.jpg"))) < 5 and process.poll() is None:
        assert time.monotonic() < deadline
    process.send_signal(last)
    _, text = process.communicate(timeout=60)
    if last is signal.SIGINT:
        assert process.returncode == 130 and text.splitlines()[-1] == "stopped" and not (tmp_path / "out").exists()
        return
    (left,) = (tmp_path / "out").iterdir()
    os.utime(left, (1, 1))  # It has been there for long.
    short = drive(tmp_path / "long.mp4"), tmp_path / "other.mp4"
    assert run("frames", *short, "--output", tmp_path / "out", *QUICK)[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "contact_long.jpg", "contact_other.jpg", "recordings.json", "test", "train"
    ]  # fmt: skip


def test_a_move_that_was_broken_off_is_finished(tmp_path, clips, monkeypatch):
    videos, options = [Video(path) for path in clips], {"every": 2, "split": Split(0.2, 0.25)}
    write_recordings(videos, tmp_path / "whole", ["game", "real"], **options)
    replace, moved = os.replace, []

    def broken_off(source, target):
        if ".ready" in str(source):
            moved.append(target)
            if len(moved) == 5:
                raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", broken_off)
        write_recordings(videos, tmp_path / "out", ["game", "real"], **options)
    with pytest.raises(ImageError, match="already"):
        write_recordings(videos, tmp_path / "out", ["game", "real"], **options)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_file_without_a_length_is_split_by_its_frames(tmp_path, clips):
    videos = [Video(path) for path in clips]
    for video in videos:
        object.__setattr__(video.info, "duration", None)
    done = write_recordings(videos, tmp_path, ["game", "real"], every=2, split=Split(0.2, 0.25))
    assert [tuple(round(time, 2) for time in each) for each in done[0].stretches] == [
        (1.07, 1.6), (3.73, 4.27), (6.4, 6.93)
    ]  # fmt: skip
    with pytest.raises(ImageError, match="too few"):
        write_recordings(videos, tmp_path / "x", ["game", "real"])
    assert not (tmp_path / "x").exists()
    whole = write_recordings(videos, tmp_path / "y", ["game", "real"], every=20, split=Split(0))
    assert (whole[0].test, whole[0].in_gaps, whole[0].train) == (0, 0, 4)


def test_stretches_are_spread_and_take_half_at_most():
    for length, count in ((300, 3), (134, 3), (100, 2), (50, 1), (23, 1)):
        stretches = Split().stretches(10, 10 + length, "x")
        assert len(stretches) == count and stretches[0][0] > 10 and stretches[-1][1] < 10 + length
        assert sum(end - begin for begin, end in stretches) == pytest.approx(length / 10)
        training = sum(Split().part_of(10 + index / 10, stretches) == "train" for index in range(length * 10)) / 10
        assert training >= 0.45 * length - 0.5 and (count == 1 or training >= 0.67 * length)
    with pytest.raises(ImageError, match="at least 23 s"):
        Split().stretches(0, 22, "x")
    split = Split(0.1, 5)
    assert [split.part_of(time, [(20, 23)]) for time in (14.9, 15, 20, 22.9, 23, 27.9, 28)] == [
        "train", None, "test", "test", None, None, "train"
    ]  # fmt: skip


@pytest.mark.parametrize(("length", "share"), [(19.2, 0.1), (4.8, 0.25), (9.6, 0.3), (44, 0.4), (12, 0.4), (0.5, 0.1)])
def test_the_gap_that_an_error_names_fits(length, share):
    with pytest.raises(ImageError, match="or --gap [0-9.]+ or less$") as refused:
        Split(share, 60).stretches(0, length, "x")
    gap = float(str(refused.value).split("--gap ")[1].split()[0])
    assert gap and Split(share, gap).stretches(0, length, "x")


def test_few_test_pictures_are_said_and_those_of_earlier_recordings_count(tmp_path, clips, run, monkeypatch):
    more = drive(tmp_path / "game2.mp4", seed=2), drive(tmp_path / "real2.mp4", seed=3)
    words = ("--output", tmp_path / "data", *QUICK)
    _, _, errors = run("frames", *clips, *words)
    tested = min(len(list((tmp_path / "data" / "test" / name).iterdir())) for name in ("game", "real"))
    assert "note: few test pictures: scores and studies want 50 and more" in errors[-1]
    monkeypatch.setattr("cyclegan.commands.pictures.FOR_SCORES", tested + 1)
    status, _, errors = run("frames", *more, *words)
    assert status == 0 and not any("few test pictures" in line for line in errors)


def test_of_a_moment_no_gap_is_named():
    with pytest.raises(ImageError, match="at least 23 s$"):
        Split().stretches(3, 3, "x")


def test_a_recording_ends_where_it_is_to_end(tmp_path, clips):
    done = write_recordings([Video(path) for path in clips], tmp_path, ["game", "real"], every=5, end=3.1,
                            split=Split(0.3, 0))  # fmt: skip
    assert done[0].stretches[-1] == pytest.approx((3.1 * (5 / 6 - 0.05), 3.1 * (5 / 6 + 0.05)))


def test_noise_makes_a_near_duplicate_and_driving_does_not():
    rng = np.random.default_rng(0)
    scene = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    scene = scene.resize((320, 240), Image.Resampling.BICUBIC)
    noisy = np.clip(np.asarray(scene, float) + rng.normal(0, 4, (240, 320, 1)), 0, 255).astype(np.uint8)
    driven = scene.resize(scene.size, box=(6, 4, 314, 236))
    duplicates = Duplicates(DISTANCE)
    shown = scene, Image.fromarray(noisy), driven, scene
    assert [duplicates.found(one) for one in shown] == [False, True, False, True]
    assert not any(Duplicates(0).found(scene) for _ in range(2))
    many = Duplicates(1)
    for seed in range(130):  # More than the first block of hashes.
        many.found(Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)))
    first = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    assert many.found(first)




def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "imagehash", None)
    with pytest.raises(ImageError, match="pip install imagehash"):
        Duplicates(6)


@pytest.mark.parametrize(("count", "size"), [(40, (64, 36)), (4000, (64, 36)), (500, (20, 48))])
def test_a_contact_sheet_stays_readable(tmp_path, count, size):
    thumbnails = Thumbnails()
    for index in range(count):
        thumbnails.add(Image.new("RGB", size, (index % 256, 90, 90)), index / 10, index % 7 == 0)
    assert len(thumbnails.kept) == min(count, math.ceil(count / thumbnails.step)) <= MOST
    split = Split(0.1, count / 400)
    stretches = split.stretches(0, count / 10, "x")
    facts = Recording("게임", "drive.mp4", 30, 4, 2, 4, size, stretches, tmp_path / "x.jpg")
    write_sheet(tmp_path / "x.jpg", thumbnails, 0, count / 10, split, facts)
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.width == 1610 and 200 < image.height < 4000


def test_a_test_picture_is_told_apart_without_colour(tmp_path):
    """Grey: a test picture's frame is thick, a training picture's thin, and what was left out is crossed and pale."""
    looks = {}
    for part, stretches in (("train", []), ("test", [(0, 9)]), ("gap", [(10, 11)])):
        thumbnails = Thumbnails()
        thumbnails.add(Image.new("RGB", (190, 100), "black"), 0.0, False)
        facts = Recording("a", "b.mp4", 1, 1, 0, 0, (190, 100), stretches, tmp_path / "x.jpg")
        write_sheet(tmp_path / f"{part}.jpg", thumbnails, 0, 20, Split(0.1, 10), facts)
        with Image.open(tmp_path / f"{part}.jpg") as image:
            looks[part] = np.asarray(image.convert("L"), float)[-140:-20, :210]
    assert looks["test"][looks["test"] < 30].size < looks["train"][looks["train"] < 30].size - 1000
    assert looks["gap"].mean() > looks["train"].mean() + 40



def test_the_order_of_the_first_recordings_counts_for_further_ones(tmp_path, clips, run):
    """Domain A is the first by name; but whoever named the real one first does so again."""
    more = drive(tmp_path / "x.mp4", seed=4), drive(tmp_path / "y.mp4", seed=5)
    for videos in (clips[::-1], more):
        assert run("frames", *videos, "--output", tmp_path / "set", *QUICK)[0] == 0
    assert {path.name.split("_")[0] for path in (tmp_path / "set" / "train" / "real").iterdir()} == {"real", "x"}
    assert {path.name.split("_")[0] for path in (tmp_path / "set" / "test" / "game").iterdir()} == {"game", "y"}
