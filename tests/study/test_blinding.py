"""The self-test: each leak that is planted is found, and a study without one passes."""

import dataclasses
import hashlib
import io
import os
import re
import shutil
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclegan.errors import StudyError
from cyclegan.study import blinding, independence, server
from cyclegan.study.attack import Attacked
from cyclegan.study.blinding import check, jpeg_grid, resolution_of, structure
from cyclegan.study.build import Preparation, _chunk, build, encode_png, mark_png, stored
from cyclegan.study.format import PlannedCheckpoint, Stimulus, Study, read_study, write_study
from cyclegan.study.independence import Samples, classify, dependence, neighbours_alike
from cyclegan.study.protocol import protocol
from tests.study.pictures import Noise, Shown, blur


@pytest.fixture(autouse=True, scope="module")
def few_sessions():
    """Fewer than people's studies are tested with: those here have leaks that are plain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(independence, "SESSIONS", 24)
        yield


def built(folder, preset="cyclegan2017", seed=0, **fields):
    short = {"practice_trials": 0 if preset in ("pick", "tag") else 4, "test_trials": 8}
    return build(
        checkpoints=[(PlannedCheckpoint(e, f"{e:040x}", "run"), blur(e / 2)) for e in (1, 2)],
        inputs=Noise(30, 0), reals=Noise(30, 1), preparation=Preparation(Shown()), direction="ab",
        protocol=protocol(preset, **{**short, **fields}), domains=("A", "B"), dataset="noise", output=folder,
        seed=seed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A study without a leak; never changed."""
    return built(tmp_path_factory.mktemp("clean") / "clean")[0]


@pytest.fixture
def copy(clean, tmp_path):
    """The same in a folder of its own, to be spoilt."""
    shutil.copytree(clean.folder, tmp_path / "copy")
    return read_study(tmp_path / "copy")


@pytest.fixture
def changed(clean, tmp_path):
    """The clean study with other files: `change(stimulus, its file)` gives each."""

    def make(change):
        contents, stimuli = {}, []
        for stimulus in clean.stimuli:
            content = change(stimulus, clean.stimulus_path(stimulus.sha256).read_bytes())
            sha256 = hashlib.sha256(content).hexdigest()
            contents[sha256] = content
            stimuli.append(Stimulus(sha256, stimulus.kind, stimulus.scene, stimulus.epoch))
        contents = dict(sorted(contents.items()))
        study = dataclasses.replace(
            clean, stimuli=tuple(stimuli), bytes_per_stimulus=len(next(iter(contents.values()))), secret=clean.draw_key
        )
        return write_study(study, contents, tmp_path / "changed")

    return make


def image_of(content):
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")


def failing(study, **options):
    """The channels that find something."""
    report = check(study, **{"over_http": False, **options})
    assert report.passed == (not report.problems)
    return {finding.channel for finding in report.findings if not finding.passed}


@pytest.mark.parametrize("preset", ["cyclegan2017", "hype_infinity", "pick", "tag"])
def test_studies_without_a_leak_pass(tmp_path, preset):
    study, report = built(tmp_path / "s", preset)
    assert report.passed and {"files", "headers", "name", "transport"} <= {f.channel for f in report.findings}
    text = report.text()
    assert "FAILED" not in text and ("± 5 points with" in text) == (preset in ("cyclegan2017", "hype_infinity"))
    assert report.to_json()["passed"] is True
    assert report.summary() == (
        f"blind: nothing but the pictures gives away which are real ({len(report.findings)} channels tried)"
    )
    leak = dataclasses.replace(report.findings[0], passed=False)
    leaky = dataclasses.replace(report, findings=(leak, *report.findings[1:]))
    assert leaky.summary() == f"not blind: 1 of {len(report.findings)} channels tells real from fake (files)"
    assert not list(study.folder.glob("votes*"))  # The sessions of the test leave nothing.


def test_a_study_that_asks_for_accounts_is_played_too(tmp_path):
    report = built(tmp_path / "s", login="huggingface")[1]
    assert report.passed and "headers" in {finding.channel for finding in report.findings}


def test_hundreds_of_blind_studies_pass(monkeypatch):
    """False alarms: names and places drawn at random, for numbers of stimuli as studies have them."""
    # For the smallest p the same as Holm's, without what statsmodels spends on memory each time.
    monkeypatch.setattr(independence, "holm", lambda ps: [min(1.0, len(ps) * p) for p in ps])
    alarms = 0
    for seed in range(100):
        rng, samples = np.random.default_rng(seed), Samples()
        truths = ["real"] * 40 + ["fake of epoch 1"] * 40 + ["fake of epoch 2"] * 40
        names = rng.integers(0, 256, (len(truths), 32))
        places = rng.permutation(len(truths))
        for truth, name, place in zip(truths, names, places, strict=True):
            samples.add("name", int(place), truth)
            for n in range(5):
                samples.add(f"byte {n}", int(name[n]), truth)
            samples.add("odd", int(name[10]) % 2, truth)
            if truth != "fake of epoch 2" and seed < 20:
                samples.add_row("files", [place, *name[:8]], truth == "real")
        alarms += any(not finding.passed for finding in samples.findings())
    assert alarms <= 1  # 0.1 is expected.


# --- what has to be the same --------------------------------------------------------------------------------


LENGTH = 6000


def again(image):
    """As `build` writes a picture."""
    return mark_png(encode_png(image), b"key")


def padded(content, name=b"paDd"):
    """As studies were written until they were stored: LENGTH bytes with a chunk of noise."""
    noise = hashlib.shake_256(content).digest(LENGTH - len(content) - 12)
    return content[:-12] + _chunk(name, noise) + content[-12:]


def with_data(content, data):
    """A PNG of the same header with other data."""
    return content[:33] + _chunk(b"IDAT", data) + content[-12:]


def rows_of(content):
    """Its rows as PNG has them, the filter's byte first."""
    place = content.index(b"IDAT") + 4
    return zlib.decompress(content[place : place + int.from_bytes(content[place - 8 : place - 4], "big")])


def longer(stimulus, content):
    return mark_png(content, b"key") if stimulus.kind == "real" else content


def compressed(stimulus, content):
    """All files have one length, but the padding's gives back the pictures' entropy."""
    return padded(with_data(content, zlib.compress(rows_of(content), 9)))


def compressed_with_bytes_after_it(stimulus, content):
    data = zlib.compress(rows_of(content), 9)
    noise = hashlib.shake_256(data).digest(LENGTH - len(data))
    return with_data(content, data + noise)


def one_block_more(stimulus, content):
    """Stored in two blocks, of another length for the real ones."""
    rows = rows_of(content)
    cut = 1000 + (stimulus.kind == "real")
    first = b"\0" + cut.to_bytes(2, "little") + (cut ^ 0xFFFF).to_bytes(2, "little") + rows[:cut]
    return with_data(content, b"\x78\x01" + first + stored(rows[cut:])[2:-4] + zlib.adler32(rows).to_bytes(4, "big"))


def after_the_end(stimulus, content):
    return content + stimulus.kind[:4].encode()


def wider(stimulus, content):
    image = image_of(content)
    return padded(encode_png(image.resize((33, 31)) if stimulus.kind == "real" else image))


def commented(stimulus, content):
    return content[:33] + _chunk(b"tEXt" if stimulus.kind == "fake" else b"iTXt", b"epoch 1") + content[33:]


def commented_alike(stimulus, content):
    return content[:33] + _chunk(b"tEXt", stimulus.kind[:4].encode()) + content[33:]


def other_filters(stimulus, content):
    """As another encoder would have written the fakes: rows without a filter."""
    if stimulus.kind != "fake":
        return with_data(content, stored(rows_of(content)))
    pixels = np.asarray(image_of(content))
    rows = np.ones((32, 97), np.uint8)
    rows[:, 1:] = np.diff(pixels, axis=1, prepend=np.uint8(0)).reshape(32, -1)
    return with_data(content, stored(rows.tobytes()))


def the_same_filters_in_another_order(stimulus, content):
    """Each picture has rows with and without a filter, as encoders choose them."""
    pixels = np.asarray(image_of(content))
    rows = np.zeros((32, 97), np.uint8)
    rows[:, 1:] = pixels.reshape(32, -1)
    row = pixels[0].sum() % 32
    rows[row, 0], rows[row, 1:] = 1, np.diff(pixels[row], axis=0, prepend=np.uint8(0)).reshape(-1)
    return with_data(content, stored(rows.tobytes()))


def other_level(stimulus, content):
    """One zlib level for fakes, another for the rest: it stands in the second byte of the data."""
    return with_data(content, (b"\x78\xda" if stimulus.kind == "fake" else b"\x78\x01") + stored(rows_of(content))[2:])


def photographs(stimulus, content):
    """Real pictures are JPEG files under a PNG's name."""
    if stimulus.kind == "real":
        out = io.BytesIO()
        image_of(content).save(out, "JPEG")
        content = out.getvalue().ljust(len(content), b"\0")
    return content


def grey(stimulus, content):
    if stimulus.kind != "real":
        return again(image_of(content))
    out = io.BytesIO()
    image_of(content).convert("L").save(out, "PNG")
    content = out.getvalue()
    place = content.index(b"IDAT") - 4
    filled = _chunk(b"noIs", bytes(len(again(Image.new("RGB", (32, 32)))) - len(content) - 12))
    return content[:place] + filled + content[place:]


@pytest.mark.parametrize(
    "change, channel, word",
    [
        (longer, "files", "lengths"), (wider, "encoding", "width"), (commented, "encoding", "chunks"),
        (other_filters, "encoding", "filters"), (other_level, "encoding", "zlib"),
        (photographs, "encoding", "format"), (grey, "encoding", "colour type"), (compressed, "encoding", "chunks"),
        (compressed_with_bytes_after_it, "encoding", "blocks"), (one_block_more, "encoding", "blocks"),
        (after_the_end, "encoding", "rest"), (commented_alike, "encoding", "other content"),
        (the_same_filters_in_another_order, "encoding", "row filters"),
    ],
)  # fmt: skip
def test_files_that_differ_are_found(changed, change, channel, word):
    report = check(changed(change), over_http=False)
    found = [finding for finding in report.findings if not finding.passed]
    assert channel in {finding.channel for finding in found}
    assert any(word in str(finding.detail) for finding in found), report.text()


def test_pictures_that_are_compressed_on_their_way_are_found(clean, monkeypatch):
    monkeypatch.setattr(server, "KEPT_NOWHERE", {"cache-control": "no-store"})
    assert failing(clean, over_http=True) == {"transport"}


def test_missing_damaged_and_foreign_files_are_found(copy):
    first = copy.stimulus_path(copy.stimuli[0].sha256)
    content = first.read_bytes()
    first.unlink()
    assert str(check(copy).problems[0]).endswith("… is missing: build the study again, or get it again")
    first.write_bytes(content[:-20] + bytes(20))
    assert "isn't the file that study.json names" in str(check(copy).problems[0])
    first.write_bytes(content)
    (first.parent / "notes.txt").write_text("real ones: 1, 2, 3")
    assert "notes.txt isn't a stimulus" in str(check(copy).problems[0])


# --- what has to say nothing --------------------------------------------------------------------------------


def test_file_times_that_tell_are_found(copy):
    for stimulus in copy.stimuli:
        time = 1_700_000_000 + 60 * (stimulus.kind == "real")
        os.utime(copy.stimulus_path(stimulus.sha256), (time, time))
    assert "file time" in failing(copy)


def test_the_order_of_writing_is_found(clean, tmp_path):
    """Real pictures were written first, which only the disk knows."""
    contents = {s.sha256: clean.stimulus_path(s.sha256).read_bytes() for s in clean.stimuli}
    order = sorted(clean.stimuli, key=lambda s: s.kind != "real")
    contents = {s.sha256: contents[s.sha256] for s in order}
    assert "time of writing" in failing(write_study(clean, contents, tmp_path / "clean"))


def test_permissions_that_tell_are_found(copy):
    for stimulus in copy.stimuli:
        os.chmod(copy.stimulus_path(stimulus.sha256), 0o600 if stimulus.kind == "real" else 0o644)
    assert failing(copy) == {"permissions"}


def test_names_with_a_pattern_are_found(changed):
    """A mark chosen until the hash, and so the name, of each real picture begins with a low digit."""

    def named(stimulus, content):
        for copy in range(1000):
            marked = mark_png(encode_png(image_of(content)), b"key", copy)
            if (hashlib.sha256(marked).digest()[0] < 128) == (stimulus.kind == "real"):
                return marked

    assert {"name", "first byte of the name", "classifier of files"} <= failing(changed(named))


def test_marks_that_tell_are_found(changed):
    def marked(stimulus, content):
        return content[:-56] + _chunk(b"maRk", bytes([stimulus.kind == "real"]) * 31 + content[-17:-16]) + content[-12:]

    assert "mark" in failing(changed(marked))


def with_trials(monkeypatch, change):
    """Sessions as `change(trials, slot)` makes them of the planned ones."""
    planned = Study.trials

    def trials(self, arm, slot):
        found = change(list(planned(self, arm, slot)), slot)
        return tuple(dataclasses.replace(trial, index=index) for index, trial in enumerate(found))

    monkeypatch.setattr(Study, "trials", trials)


def turned(trial, left):
    """The trial with its real picture at the left, or at the right."""
    if (trial.left.kind == "real") == left:
        return trial
    return dataclasses.replace(trial, left=trial.right, right=trial.left)


def test_sides_that_are_uneven_are_found(clean, monkeypatch):
    with_trials(monkeypatch, lambda trials, slot: [turned(t, True) for t in trials])
    assert {"sides", "sides of all sessions"} <= failing(clean)


def test_sides_that_follow_the_place_are_found(clean, monkeypatch):
    """Even in each session, but the real picture is always at the left in the first half."""
    with_trials(monkeypatch, lambda trials, slot: [turned(t, n % 4 < 2) for n, t in enumerate(trials)])
    found = failing(clean)
    assert {"classifier of trials", "place of a trial in test"} & found and "sides" not in found


def test_sides_that_take_turns_are_found(clean, monkeypatch):
    """Left, right, left, right, beginning with either: even, and independent of the place."""
    with_trials(monkeypatch, lambda trials, slot: [turned(t, (n + slot // 3) % 2 == 0) for n, t in enumerate(trials)])
    assert "sequence of sides" in failing(clean)


def test_single_pictures_in_an_order_that_tells_are_found(tmp_path, monkeypatch):
    study = built(tmp_path / "s", "hype_infinity", practice_trials=4, test_trials=8)[0]
    with_trials(monkeypatch, lambda trials, slot: sorted(trials, key=lambda t: (t.phase, t.left.kind)))
    assert "place of a trial in test" in failing(study)


def test_sequences_that_a_participant_can_compute_are_found(clean, monkeypatch):
    assert {f.channel: f.passed for f in check(clean, over_http=False).findings}["sequences"]
    old = dataclasses.replace(clean, secret_sha256="")
    (problem,) = check(old, over_http=False).problems
    assert re.search("before there was a secret, .* its seed in 100% of sessions and was right in ", str(problem))
    guessed = dataclasses.replace(old, seed=0)
    monkeypatch.setattr(blinding, "attack_sequences", lambda study: Attacked(16, 32, 0, 8))  # No seed was found.
    assert "tried too few seeds" in str(check(guessed, over_http=False).problems[0])
    monkeypatch.setattr(blinding, "attack_sequences", lambda study: Attacked(240, 320, 8, 8))
    (problem,) = check(clean, over_http=False).problems
    assert "sequences: an attack that computes them is right in 75.0% of 320 trials" in str(problem)


def test_an_answer_that_holds_the_secret_is_found(clean, monkeypatch):
    about = server._Server.about

    async def more(self, request):
        return server.JSONResponse({"about": (await about(self, request)).body.decode(), "debug": clean.draw_key})

    monkeypatch.setattr(server._Server, "about", more)
    assert "answers" in failing(clean, over_http=True)


def test_a_study_that_was_built_before_is_marked_for_all_that_it_reveals():
    study = read_study(Path(__file__).parents[1] / "old_data" / "night-streets")
    assert {"encoding", "sequences"} <= failing(study)


# --- as served ----------------------------------------------------------------------------------------------


def test_headers_that_tell_are_found(clean, monkeypatch):
    sent = server._Server.stimulus

    async def stimulus(self, request):
        answer = await sent(self, request)
        answer.headers["etag"] = hashlib.sha256(answer.body).hexdigest()[:8]
        return answer

    monkeypatch.setattr(server._Server, "stimulus", stimulus)
    report = check(clean)
    assert [f.channel for f in report.findings if not f.passed] == ["headers"]
    assert "etag" in str(report.problems[0])


def test_answers_that_name_a_stimulus_are_found(clean, monkeypatch):
    about = server._Server.about

    async def more(self, request):
        answer = await about(self, request)
        return server.JSONResponse({"about": answer.body.decode(), "first": clean.stimuli[0].sha256})

    monkeypatch.setattr(server._Server, "about", more)
    assert "answers" in failing(clean, over_http=True)


def test_tokens_that_tell_are_found():
    samples, rng = Samples(), np.random.default_rng(0)
    for n in range(60):
        samples.add("token", ("a" if n % 2 else "z") + rng.bytes(8).hex(), ("real", "fake")[n % 2])
    assert not samples.findings()[0].passed


# --- the tests themselves -----------------------------------------------------------------------------------


def test_dependence_finds_shifts_and_patterns_but_no_noise():
    rng = np.random.default_rng(1)
    truths = ["real", "fake"] * 100
    noise = rng.random(200)
    assert dependence(noise, truths) > 0.01 and dependence([3] * 200, truths) == 1
    assert dependence(noise + 0.5 * (np.array(truths) == "real"), truths) < 1e-6
    spread = np.where(np.array(truths) == "real", rng.normal(0, 0.1, 200), rng.normal(0, 1, 200))
    assert dependence(spread, truths) < 1e-4  # The same middle, another width.
    assert dependence(["b", "a"] * 100, truths) < 1e-6 and dependence(noise, ["real"] * 200) == 1


@pytest.mark.parametrize("within", [True, False])
def test_even_sides_are_no_leak_and_one_that_repeats_is(within):
    """A session's trials have even sides: that its first is right says that its second is left, not where any is."""
    rng, ps = np.random.default_rng(3), []
    sessions = [n // 2 for n in range(120)]
    for _ in range(400):
        truths = [side for _ in range(60) for side in rng.permutation(["left", "right"])]
        ps.append(dependence([0, 1] * 60, truths, sessions if within else None))
    assert (np.mean(np.array(ps) < 0.01) < 0.02) == within  # Thought independent, they seem to tell sides too often.
    mostly = [side for n in range(60) for side in (["left", "right"] if n % 5 else ["right", "left"])]
    assert dependence([0, 1] * 60, mostly, sessions) < 1e-4
    rows, truths = np.array([[0.0], [1.0]] * 60), np.array([side == "left" for side in mostly])
    assert classify(rows, truths, sessions)[1] < 0.002


def test_the_classifier_finds_what_no_single_column_shows():
    rng = np.random.default_rng(2)
    truths = rng.random(200) < 0.5
    rows = rng.normal(size=(200, 12)) + 0.45 * truths[:, None]
    accuracy, p = classify(rows, truths)
    assert accuracy > 0.7 and p < 0.001
    accuracy, p = classify(rng.normal(size=(200, 12)), truths)
    assert 0.35 < accuracy < 0.65 and p > 0.005
    assert classify(np.ones((10, 3)), np.arange(10) < 5) == (0.5, 1.0)


@pytest.mark.parametrize(("accuracy", "p", "says"), [
    (0.792, 0.9, "is right in 79.2% of only 8, which chance often is, too: so few decide nothing (p 0.90)"),
    (0.51, 0.4, "is right in 51.0%, by chance 50% (p 0.40)"),
    (0.99, 1e-9, "classifier of files: is right in 99.0%, by chance 50% (p below 0.001); if"),
])  # fmt: skip
def test_a_classifier_of_few_files_is_no_contradiction(monkeypatch, accuracy, p, says):
    """79% next to "by chance 50%" and "p 1.00" reads as one."""
    monkeypatch.setattr(independence, "classify", lambda rows, truths, within: (accuracy, p))
    samples = Samples()
    for number in range(8):
        samples.add_row("files", [number], number < 4)
    (finding,) = samples.findings()
    assert str(finding.detail).startswith(says)


@pytest.mark.parametrize("sides", ["llrr", "lllrrrrr", "llllllllllrrrrrrrrrr", "lrb" * 4])
def test_neighbours_alike_are_counted_as_chance_has_them(sides):
    rng = np.random.default_rng(0)
    orders = np.array([rng.permutation(list(sides)) for _ in range(20_000)])
    counts = (orders[:, 1:] == orders[:, :-1]).sum(axis=1)
    mean, variance = neighbours_alike(Counter(sides))
    assert mean == pytest.approx(counts.mean(), abs=0.05) and variance == pytest.approx(counts.var(), rel=0.05)


def test_the_grid_of_jpeg_is_noted_and_fails_nothing(changed):
    def compressed(stimulus, content):
        image = image_of(content)
        if stimulus.kind == "real":
            out = io.BytesIO()
            image.save(out, "JPEG", quality=10)
            image = image_of(out.getvalue())
        return again(image)

    report = check(changed(compressed), over_http=False)
    assert report.passed and "the real pictures show more of JPEG's grid" in str(report.notes[0])


def test_smooth_pictures_have_no_grid(clean):
    assert check(clean, over_http=False).notes == ()
    assert jpeg_grid(Noise(1, 2, sizes=((128, 128),)).load(0)) == pytest.approx(1, abs=0.06)


def test_structure_of_what_is_damaged_is_told():
    assert "damaged" in structure(b"\x89PNG\r\n\x1a\n" + b"\0\0\0")["format"]
    assert structure(b"GIF89a")["format"] == "47494638"


def test_a_study_without_a_folder_is_refused(clean):
    with pytest.raises(StudyError, match="no folder"):
        check(dataclasses.replace(clean, folder=None))


def test_the_resolution_is_for_the_planned_participants(small_study):
    planned, without = small_study(planned_participants=40), small_study("open", results="open")
    assert [resolution_of(study)["participants"] for study in (planned, without)] == [40, 25]
    assert resolution_of(planned)["half_width"] < resolution_of(without)["half_width"]
