"""What a study is built from, and that fakes and real pictures are made alike."""

import dataclasses
import filecmp
import hashlib
import io
import os
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from cyclegan.errors import ImageError, StudyError, message
from cyclegan.study import blinding
from cyclegan.study.blinding import structure
from cyclegan.study.build import Preparation, break_picture, bring, build, encode_png, mark_png, stored
from cyclegan.study.choice import TooFewPictures
from cyclegan.study.findings import BlindingReport, Finding
from cyclegan.study.format import FILE_TIME, PlannedCheckpoint, find_studies, read_study
from cyclegan.study.protocol import protocol
from tests.study.pictures import Noise, Shown, blur

ROOT = Path(__file__).parents[2]
SHORT = {"practice_trials": 2, "test_trials": 6}


def checkpoint(epoch, opened=None):
    return PlannedCheckpoint(epoch, f"{epoch:040x}", "run"), opened or blur(epoch)


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Build a small study; the self-test has tests of its own, and is left out or replaced unless `checked` is true."""

    def build_it(name="small", *, preset="cyclegan2017", checked=False, fields=None, **changes):
        if checked is not True:
            monkeypatch.setattr(blinding, "check", checked or (lambda study: BlindingReport(study.name, ())))
        short = {key: SHORT[key] for key in SHORT if preset not in ("pick", "tag") or key == "test_trials"}
        given = {
            "checkpoints": [checkpoint(1), checkpoint(2)], "inputs": Noise(14, 0), "reals": Noise(14, 1),
            "preparation": Preparation(Shown()), "protocol": protocol(preset, **{**short, **(fields or {})}),
            "direction": "ab", "domains": ("A", "B"), "dataset": "noise", "output": tmp_path / name, **changes,
        }  # fmt: skip
        return build(**given)[0]

    return build_it


def pixels(study, stimulus):
    with Image.open(study.stimulus_path(stimulus.sha256)) as image:
        return np.asarray(image)


def same_folders(one, other):
    found = filecmp.dircmp(one, other)
    names = [path.name for path in (one / "stimuli").iterdir()]
    same, different, errors = filecmp.cmpfiles(one / "stimuli", other / "stimuli", names, shallow=False)
    return not (found.left_only or found.right_only or different or errors) and filecmp.cmp(
        one / "study.json", other / "study.json", shallow=False
    )


def test_building_twice_with_one_secret_gives_the_same_bytes(make, tmp_path):
    one, other = (make("x", output=tmp_path / n / "x", secret="a" * 64) for n in "12")
    assert one.study_id == other.study_id and same_folders(one.folder, other.folder)
    another = make("x", output=tmp_path / "3" / "x", seed=1, limit=10, secret="a" * 64)
    assert another.study_id != one.study_id and not same_folders(one.folder, another.folder)


def test_each_build_draws_a_secret_that_only_its_owner_may_read(make):
    one, other = make("x"), make("y")
    assert len({one.draw_key, other.draw_key}) == 2 and one.trials(0, 0) != other.trials(0, 0)
    file = one.folder / "secret"
    assert file.read_text() == one.draw_key and file.stat().st_mode & 0o777 == 0o600
    assert one.secret_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()  # As `sha256sum secret` prints it.
    assert one.draw_key not in (one.folder / "study.json").read_text() and one.draw_key not in repr(one)


def test_a_study_passes_its_own_test_and_says_what_it_was_made_of(make, tmp_path):
    study = make(checked=True, title="Which?", contact="a@b", seed=3)
    assert read_study(tmp_path / "small") == study
    assert {(s.kind, s.epoch) for s in study.stimuli} == {("real", None), ("fake", 1), ("fake", 2)}
    assert len(study.stimuli) == 14 * 3 and study.size == (32, 32)
    assert [c.commit_sha for c in study.checkpoints] == [f"{1:040x}", f"{2:040x}"]
    assert study.title == "Which?" and study.contact == "a@b" and study.seed == 3
    assert [path.name for path in tmp_path.iterdir()] == ["small"]  # Nothing is left beside it.


@pytest.mark.parametrize("size", [None, (48, 36), (20 + 20, 40)])
def test_fakes_and_real_pictures_have_the_same_history(make, size):
    """With a network that changes nothing, the fake and the real picture of a scene are the same, pixel by pixel."""
    domain = Noise(14, 0)
    identity = checkpoint(1, lambda: lambda images: images)
    study = make(checkpoints=[identity], inputs=domain, reals=domain, size=size)
    assert study.size == (size or (32, 32))
    by_pixels = {}
    for stimulus in study.stimuli:
        by_pixels.setdefault(pixels(study, stimulus).tobytes(), []).append(stimulus.kind)
    assert sorted(map(sorted, by_pixels.values())) == [["fake", "real"]] * 14
    expected = bring(domain.load(0), (32, 32), Preparation(Shown()))
    expected = expected if size is None else expected.resize(size, Image.Resampling.BICUBIC)
    assert np.asarray(expected).tobytes() in by_pixels


def test_files_are_as_long_as_each_other_and_named_by_their_hash(make):
    study = make()
    files = list((study.folder / "stimuli").iterdir())
    assert {path.stat().st_size for path in files} == {study.bytes_per_stimulus}
    assert {path.stat().st_mtime for path in files} == {FILE_TIME}
    assert [path.stem for path in sorted(files)] == [s.sha256 for s in study.stimuli]  # Sorted: order says nothing.


def test_a_network_that_collapsed_gives_stimuli_of_their_own(make):
    grey = checkpoint(1, lambda: lambda images: [Image.new("RGB", image.size, "grey") for image in images])
    study = make(checkpoints=[grey, checkpoint(2)])
    fakes = [s for s in study.stimuli if s.epoch == 1]
    assert len({s.sha256 for s in fakes}) == len({s.scene for s in fakes}) == 14
    assert len({pixels(study, s).tobytes() for s in fakes}) == 1


def test_a_png_holds_the_pixels_and_nothing_that_differs_but_a_mark():
    one, two = (encode_png(Noise(1, seed, sizes=((160, 150),)).load(0)) for seed in (5, 6))
    plain = encode_png(Image.new("RGB", (160, 150)))
    assert len(one) == len(two) == len(plain) and structure(one) == structure(plain)
    assert "stored 2" in structure(one)["blocks"]
    files = [mark_png(one, b"k"), mark_png(one, b"k", 1), mark_png(one, b"other")]
    assert len(set(files)) == 3 and {len(each) for each in files} == {len(one) + 44}
    for each in (one, *files):
        with Image.open(io.BytesIO(each)) as read:
            read.load()
            expected = np.asarray(Noise(1, 5, sizes=((160, 150),)).load(0))
            assert np.array_equal(np.asarray(read), expected) and not read.info
        assert zlib.decompress(stored(each)) == each
    assert zlib.decompress(stored(bytes(65535))) == bytes(65535) and files[0] == mark_png(one, b"k")


@pytest.mark.parametrize(("p", "secret", "draws"), [(1e-4, "", 3), (1e-4, "c" * 64, 1), (None, "", 1)])
def test_a_false_alarm_costs_another_secret_but_a_leak_stays_one(make, tmp_path, monkeypatch, p, secret, draws):
    """A blind study fails a test of chance once in a thousand times, perhaps after hours of networks."""
    alarm, seen = Finding("place", False, message("tells real from fake"), p), []

    def check(study):
        assert {path.stem for path in (study.folder / "stimuli").iterdir()} == set(study.by_hash)
        seen.append(study.draw_key)
        return BlindingReport(study.name, () if len(seen) == passes_at else (alarm,))

    passes_at = 0
    with pytest.raises(StudyError, match="would not be blind"):
        make("leaky", secret=secret, checked=check)
    assert len(set(seen)) == len(seen) == draws and not list(tmp_path.iterdir())
    seen.clear()
    passes_at = draws
    study = make("blind", secret=secret, checked=check)
    assert len(seen) == draws and study.draw_key == seen[-1] and read_study(study.folder).draw_key == seen[-1]


def test_second_copies_can_not_be_computed_without_the_secret(make):
    """Only a network makes copies: a file whose mark had to be that of a second one would be a fake for sure."""
    grey = checkpoint(1, lambda: lambda images: [Image.new("RGB", image.size, "grey") for image in images])
    one = make("one", checkpoints=[grey], secret="1" * 64)
    other = make("other", checkpoints=[grey], secret="2" * 64)
    assert not {s.sha256 for s in one.stimuli} & {s.sha256 for s in other.stimuli}


def test_too_few_pictures_are_told_before_anything_is_rendered(make, tmp_path):
    def never():
        raise AssertionError("opened")

    inputs = Noise(5, 0)
    with pytest.raises(TooFewPictures, match="2 practice trials and 6 test trials need .*, 5 to translate and 14"):
        make(inputs=inputs, checkpoints=[checkpoint(1, never)])
    with pytest.raises(TooFewPictures, match="4 real ones: add some, or take --practice_trials 1 --test_trials 3"):
        make(reals=Noise(4, 1), checkpoints=[checkpoint(1, never)])
    with pytest.raises(TooFewPictures, match="needs 2 pictures .*; the data set has 1 to translate and 14"):
        make(inputs=Noise(1, 0), checkpoints=[checkpoint(1, never)])  # Nothing would fit.
    assert not inputs.loaded and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "count, preset, fields, fits",
    [
        (16, "cyclegan2017", {}, (4, 12)), (25, "cyclegan2017", {}, (5, 20)), (49, "cyclegan2017", {}, (10, 39)),
        (25, "colorization2016", {"pairing": "different"}, None), (16, "hype_infinity", {}, None),
        (16, "pick", {}, (0, 16)), (4, "cyclegan2017", {"practice_trials": 0}, (0, 4)),
    ],
)  # fmt: skip
def test_the_trials_that_would_fit_are_named_and_do_fit(make, count, preset, fields, fits):
    rules = protocol(preset, **fields)
    pictures = {"inputs": Noise(count, 0), "reals": Noise(count, 1), "checkpoints": [checkpoint(1), checkpoint(2)]}
    with pytest.raises(TooFewPictures) as caught:
        make(protocol=rules, **pictures)
    named = {name: caught.value.message.values[name] for name in ("practice_trials", "test_trials")}
    assert str(caught.value).endswith("--practice_trials {practice_trials} --test_trials {test_trials}".format(**named))
    assert fits in (None, tuple(named.values()))
    study = make("fits", protocol=protocol(preset, **{**fields, **named}), **pictures)
    study.check_enough()
    study = make("short", protocol=rules, shorten=True, **pictures)
    assert study.protocol == dataclasses.replace(rules, name=f"{preset}, shortened", **named)
    for more in ("practice_trials", "test_trials"):
        if named[more]:
            with pytest.raises(TooFewPictures):
                make("more", protocol=protocol(preset, **{**fields, **named, more: named[more] + 2}), **pictures)


def test_a_protocol_that_fits_is_not_shortened(make):
    assert make(shorten=True).protocol == protocol("cyclegan2017", **SHORT)


def test_limit_takes_some_by_the_seed(make):
    studies = [make(f"s{seed}", seed=seed, limit=8, inputs=Noise(40, 0), reals=Noise(40, 1)) for seed in (0, 1)]
    scenes = [{s.scene for s in study.stimuli if s.kind == "fake"} for study in studies]
    assert [len(each) for each in scenes] == [8, 8] and scenes[0] != scenes[1]
    assert all(len([s for s in study.stimuli if s.kind == "real"]) == 8 for study in studies)


def test_paired_data_keeps_each_real_picture_with_its_scene(make):
    truths = Noise(14, 1)
    study = make(fields={"pairing": "same"}, inputs=Noise(14, 0, truths=truths), reals=Noise(3, 9))
    reals = {s.scene: s for s in study.stimuli if s.kind == "real"}
    assert reals.keys() == {s.scene for s in study.stimuli if s.kind == "fake"}
    number = next(scene for scene in reals).split(":")[1]
    shown = next(s for scene, s in reals.items() if scene.split(":")[1] == number)
    expected = bring(truths.load(int(number)), (32, 32), Preparation(Shown()))
    assert np.array_equal(pixels(study, shown), np.asarray(expected))
    assert all(t.left.scene == t.right.scene for t in study.trials(0, 0))


def test_scenes_are_recognised_where_real_pictures_come_from_the_other_domain(make):
    reals = Noise(18, 1)
    study = make(fields={"pairing": "different"}, inputs=Noise(18, 0, truths=reals), reals=reals)
    scenes = [{s.scene for s in study.stimuli if s.kind == kind} for kind in ("real", "fake")]
    assert scenes[0] == scenes[1]
    assert all(t.left.scene != t.right.scene for slot in range(5) for t in study.trials(0, slot))


def test_same_pairing_needs_data_that_knows_its_pairs(make):
    with pytest.raises(StudyError, match="--pairing different"):
        make(fields={"pairing": "same"})


def test_picking_and_tagging_show_fakes_only(make):
    for preset in ("pick", "tag"):
        study = make(preset, preset=preset)
        assert {s.kind for s in study.stimuli} == {"fake"} and len(study.stimuli) == 28


def test_ratings_are_of_the_fakes_and_of_as_many_real_pictures_as_of_one_epoch(make):
    reals = Noise(20, 1)
    study = make(preset="mos", inputs=Noise(20, 0, truths=reals), reals=reals)
    sessions = [study.trials(0, slot) for slot in range(6)]
    assert all(len({t.left.scene for t in trials}) == len(trials) == 8 for trials in sessions)
    rated = Counter(t.left.epoch for trials in sessions for t in trials if t.phase == "test")
    assert rated == {1: 12, 2: 12, None: 12}


def test_vigilance_gets_broken_pictures(make):
    reals = Noise(14, 1)
    study = make(fields={"vigilance_share": 0.2}, reals=reals)
    broken = [s for s in study.stimuli if s.kind == "broken"]
    assert len(broken) == 4
    whole = {np.sort(pixels(study, s), axis=None).tobytes() for s in study.stimuli if s.kind == "real"}
    negative = np.kron(np.indices((4, 4)).sum(axis=0) % 2, np.ones((8, 8), int))[..., None]
    undone = [np.where(negative, 255 - pixels(study, s), pixels(study, s)) for s in broken]
    assert all(np.sort(each, axis=None).tobytes() in whole for each in undone)  # Real ones, their blocks shuffled.
    assert [t.kind for t in study.trials(0, 0)].count("vigilance") == 1


def test_broken_pictures_are_broken_and_drawn_by_the_seed():
    image = Noise(1, 3, sizes=((34, 33),)).load(0)
    one, again, other = (np.asarray(break_picture(image, seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert (one != np.asarray(image)).mean() > 0.5


@pytest.mark.parametrize("colour", ["black", "white", "navy"])
def test_a_plain_picture_is_broken_too(colour):
    broken = np.asarray(break_picture(Image.new("RGB", (32, 32), colour), 0)).astype(int)
    assert (np.abs(broken[:8, :8] - broken[:8, 8:16]).max(axis=2) > 120).all()


def test_pictures_of_another_shape_are_cropped_to_that_of_most(make):
    shown = Preparation(Shown("scale_width"), 4)
    study = make(inputs=Noise(14, 0, sizes=((48, 36), (48, 36), (40, 60))), reals=Noise(14, 1, sizes=((64, 32),)),
                 preparation=shown)  # fmt: skip
    assert study.size == (44, 32) and {pixels(study, s).shape for s in study.stimuli} == {(32, 44, 3)}
    wide = Image.new("RGB", (64, 32), "red")
    wide.paste("blue", (0, 0, 4, 32))
    assert not (np.asarray(bring(wide, (44, 32), shown))[..., 2] > 128).any()  # Cropped in the middle, not squeezed.


def test_a_network_of_another_size_is_refused(make):
    with pytest.raises(StudyError, match="gives 8×8"):
        make(checkpoints=[checkpoint(1, lambda: lambda images: [i.resize((8, 8)) for i in images])])


def test_what_is_there_already_is_not_touched(make, tmp_path):
    study = make()
    before = sorted((tmp_path / "small").rglob("*"))
    with pytest.raises(StudyError, match="exists already"):
        make(seed=5)
    assert sorted((tmp_path / "small").rglob("*")) == before and read_study(tmp_path / "small") == study


@pytest.mark.parametrize("error", [KeyboardInterrupt, StudyError("no"), OSError(28, "No space left on device")])
def test_an_interrupted_build_leaves_nothing(make, tmp_path, error):
    def fails():
        raise error

    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else StudyError) as caught:
        make(checkpoints=[checkpoint(1), checkpoint(2, fails)])
    assert not list(tmp_path.iterdir())
    assert not isinstance(error, OSError) or "free space" in str(caught.value)


def test_a_killed_build_leaves_no_study_and_the_next_one_clears_up(make, tmp_path):
    script = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.study import pictures as p
from cyclegan.study.protocol import protocol
from cyclegan.study.format import PlannedCheckpoint
from cyclegan.study.build import Preparation, build
die = lambda: os.kill(os.getpid(), 9)
build(checkpoints=[(PlannedCheckpoint(1, "a" * 40, "run"), die)], inputs=p.Noise(14, 0), reals=p.Noise(14, 1),
      preparation=Preparation(p.Shown()), protocol=protocol("cyclegan2017", practice_trials=2, test_trials=6),
      direction="ab", domains=("A", "B"), dataset="noise", output=Path({str(tmp_path / "small")!r}))
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    assert [path.name[:7] for path in tmp_path.iterdir()] == [".small."]
    with pytest.raises(StudyError, match="no study"):
        find_studies([tmp_path])
    (left,) = tmp_path.iterdir()
    (tmp_path / ".small.er.abcdefgh.part").mkdir()  # Of another study, whose build may be at it.
    make()
    assert left.is_dir()  # So may this one's.
    os.utime(left, (0, 0))
    os.utime(tmp_path / ".small.er.abcdefgh.part", (0, 0))
    shutil.rmtree(tmp_path / "small")
    make()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".small.er.abcdefgh.part", "small"]


def test_a_study_that_is_not_blind_is_not_kept(make, tmp_path, monkeypatch):
    failed = Finding("files", False, message("fakes are longer"))
    monkeypatch.setattr(blinding, "check", lambda study: BlindingReport(study.name, (failed,)))
    with pytest.raises(StudyError, match="not be blind.*fakes are longer"):
        make(checked=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(16, 64), (64, 4000)])
def test_sizes_have_bounds(make, size):
    with pytest.raises(StudyError, match="choose sides"):
        make(size=size)


def test_progress_ends_where_it_said(make):
    seen = []
    make(progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (56, 56) and all(a[0] < b[0] for a, b in zip(seen, seen[1:], strict=False))


def test_few_pictures_are_held_at_once(make):
    held = []

    def opened():
        def translate(images):
            held.append(len(images))
            return [image.filter(ImageFilter.GaussianBlur(1)) for image in images]

        return translate

    make(checkpoints=[checkpoint(1, opened)], inputs=Noise(30, 0))
    assert max(held) == 8 and sum(held) == 30


def test_a_damaged_picture_is_named(make):
    class Damaged(Noise):
        def load(self, index):
            from cyclegan.images import open_image

            return open_image(b"nonsense", name=self.label(index))

    with pytest.raises(ImageError, match=r"^00\d\d.png is not a picture"):
        make(inputs=Damaged(14, 0))
