"""Protocols, the study format, and the sequences of trials: balanced, without repeats, and the same for ever."""

import dataclasses
import hashlib
import json
import os
from collections import Counter

import pytest

from cyclegan.errors import StudyError
from cyclegan.study import plan
from cyclegan.study.plan import PlannedCheckpoint, Protocol, Stimulus, Study, protocol


def study_of(preset="cyclegan2017", *, epochs=(1, 2, 3), scenes=130, reals=None, broken=10, paired=True, seed=7,
             **overrides):  # fmt: skip
    """A study whose pictures nobody ever looks at."""

    def stimulus(kind, scene, epoch=None):
        return Stimulus(hashlib.sha256(f"{kind} {scene} {epoch}".encode()).hexdigest(), kind, scene, epoch)

    stimuli = [stimulus("fake", f"scene-{n}", epoch) for n in range(scenes) for epoch in epochs]
    stimuli += [stimulus("real", f"{'scene' if paired else 'other'}-{n}") for n in range(reals or scenes)]
    stimuli += [stimulus("broken", f"broken-{n}") for n in range(broken)]
    return Study(
        name="numbers", title="", protocol=protocol(preset, **overrides), direction="ab", domains=("day", "night"),
        dataset="noise", checkpoints=tuple(PlannedCheckpoint(e, f"{e:040x}", "run") for e in epochs), seed=seed,
        size=(16, 16), stimuli=tuple(stimuli), bytes_per_stimulus=1,
    )  # fmt: skip


def sessions(study, count=12):
    return [study.trials(arm, slot) for arm in range(len(study.arms)) for slot in range(count)]


def even(numbers, slack=1):
    return max(numbers) - min(numbers) <= slack


# --- protocols ----------------------------------------------------------------------------------------------


def test_the_presets_are_those_of_the_papers():
    for name in ("cyclegan2017", "pix2pix2017", "colorization2016"):
        p = protocol(name)
        assert (p.practice_trials, p.test_trials, p.exposure_ms, p.presentation) == (10, 40, 1000, "together")
    assert protocol("cyclegan2017").question == "real" and protocol("pix2pix2017").question == "fake"
    colorization = protocol("colorization2016")
    assert colorization.pairing == "same" and colorization.counts["vigilance"] == 4
    hype = protocol("hype_infinity")
    assert (hype.presentation, hype.exposure_ms, hype.test_trials, hype.qualification) == ("single", 0, 100, 0.65)
    assert all(p.name == name for name, p in plan.PROTOCOLS.items())


def test_every_field_can_be_overridden_and_explains_itself():
    for field in dataclasses.fields(Protocol):
        assert len(field.metadata["help"]) > 10
    changed = protocol("cyclegan2017", exposure_ms=250, mask=True, blank_ms=None)
    assert (changed.exposure_ms, changed.mask, changed.blank_ms) == (250, True, 600)
    assert Protocol(**json.loads(json.dumps(changed.to_json()))) == changed


@pytest.mark.parametrize(
    ("preset", "overrides", "sentence"),
    [
        ("cyclegan2018", {}, "no protocol 'cyclegan2018': choose cyclegan2017, "),
        ("cyclegan2017", {"question": "maybe"}, "question is 'maybe': choose real or fake"),
        ("cyclegan2017", {"test_trials": 0}, "test_trials is 0: it goes from 1 to 1000"),
        ("cyclegan2017", {"test_trials": "40"}, "test_trials is '40'"),
        ("cyclegan2017", {"test_trials": True}, "test_trials is True"),
        ("cyclegan2017", {"exposure_ms": 1e9}, "exposure_ms is 1000000000.0"),
        ("cyclegan2017", {"mask": 1}, "mask is 1"),
        ("cyclegan2017", {"vigilance_share": 0.6}, "vigilance_share is 0.6: it goes from 0 to 0.5"),
        ("cyclegan2017", {"vigilance_share": float("nan")}, "vigilance_share is nan"),
        ("cyclegan2017", {"vigilance_share": 0.5, "repeat_share": 0.5}, "too few comparisons are left"),
        ("cyclegan2017", {"vigilance_pass": 0.5}, "vigilance_pass without a vigilance trial"),
        ("cyclegan2017", {"qualification": 0.5, "practice_trials": 0}, "practice_trials can't be 0"),
        ("hype_infinity", {"real_real_share": 0.1}, "real_real_share is for pairs"),
        ("pick", {"presentation": "single"}, "picking takes two pictures"),
        ("pick", {"real_real_share": 0.1}, "leave it out of picking"),
        ("pick", {"qualification": 0.5, "practice_trials": 2}, "a preference has no right answer"),
        ("tag", {"presentation": "together"}, "tagging shows one fake at a time"),
        ("tag", {"repeat_share": 0.1}, "tagging shows one fake at a time"),
    ],
)  # fmt: skip
def test_protocols_that_make_no_sense(preset, overrides, sentence):
    with pytest.raises(StudyError, match=sentence):
        protocol(preset, **overrides)


def test_the_kinds_of_trials_add_up():
    p = protocol("cyclegan2017", vigilance_share=0.1, real_real_share=0.05, repeat_share=0.1)
    assert p.counts == {"comparison": 30, "vigilance": 4, "real_real": 2, "repeat": 4}
    for trials in sessions(study_of(vigilance_share=0.1, real_real_share=0.05, repeat_share=0.1), 3):
        assert Counter(t.kind for t in trials if t.phase == "test") == p.counts
        assert [t.phase for t in trials] == ["practice"] * 10 + ["test"] * 40
        assert [t.index for t in trials] == list(range(50)) and {t.kind for t in trials[:10]} == {"comparison"}


# --- sequences ----------------------------------------------------------------------------------------------

EVERYTHING = {"vigilance_share": 0.1, "real_real_share": 0.05, "repeat_share": 0.1, "test_trials": 40}
KINDS = [
    {}, EVERYTHING, {"pairing": "same"}, {**EVERYTHING, "pairing": "same"}, {"paired": False, "scenes": 60},
    {**EVERYTHING, "epochs_per_session": "mixed"}, {"test_trials": 7, "practice_trials": 3}, {"preset": "tag"},
    {"presentation": "sequence"}, {"preset": "colorization2016"}, {"preset": "hype_infinity"},
    {"preset": "hype_infinity", "practice_trials": 5, "test_trials": 11, "vigilance_share": 0.2},
    {"preset": "pick", "vigilance_share": 0.1}, {"preset": "pick", "practice_trials": 4, "repeat_share": 0.1},
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_within_a_session_no_scene_is_compared_twice_and_no_real_picture_shown_twice(kind):
    study = study_of(**kind)
    for trials in sessions(study):
        once = [t for t in trials if t.kind != "repeat"]
        fakes = [s.scene for t in once for s in t.stimuli if s.kind == "fake"]
        per_scene = 2 if study.protocol.task == "pick" else 1
        assert set(Counter(fakes).values()) - {1} <= {per_scene}
        if per_scene == 2:
            scenes = [{s.scene for s in t.stimuli if s.kind == "fake"} for t in once]
            assert all(len(s) == 1 for s in scenes) and len(set().union(*scenes)) == len(once)
        shown = [s.sha256 for t in once for s in t.stimuli]
        assert len(shown) == len(set(shown))
        # Nor is one seen as a fake here and as a real picture there: who remembers it would know.
        seen = [scene for t in once for scene in {s.scene for s in t.stimuli}]
        assert len(seen) == len(set(seen))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_practice_gives_away_is_never_shown_in_the_test(kind):
    study = study_of(**kind)
    shown = {"practice": set(), "test": set()}
    for arm in range(len(study.arms)):
        for slot in range(12):
            for trial in study.trials(arm, slot):
                shown[trial.phase] |= {s.sha256 for s in trial.stimuli}
                shown[trial.phase] |= {s.scene for s in trial.stimuli}
    assert not shown["practice"] & shown["test"] and shown["test"]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_trials_are_what_they_are_called(kind):
    study = study_of(**kind)
    task, pairing = study.protocol.task, study.protocol.pairing
    for trials in sessions(study, 6):
        for trial in trials:
            kinds = sorted(s.kind for s in trial.stimuli)
            single = trial.right is None
            if trial.kind == "vigilance":
                assert kinds == (["broken"] if single else sorted(["broken", "fake" if task == "pick" else "real"]))
            elif trial.kind == "real_real":
                assert kinds == ["real", "real"] and trial.real_side == "both"
            elif task == "pick":
                assert kinds == ["fake", "fake"] and trial.left.epoch != trial.right.epoch
            elif single:
                assert kinds == ["fake"] if task == "tag" else kinds in (["fake"], ["real"])
                assert trial.real_side is None
            else:
                assert kinds == ["fake", "real"] and getattr(trial, trial.real_side).kind == "real"
                scenes = {s.scene for s in trial.stimuli}
                assert len(scenes) == (1 if pairing == "same" else 2)
                assert trial.epoch in study.epochs
            if trial.kind == "repeat":
                first = trials[trial.repeats]
                assert first.index < trial.index - 1 and (trial.left, trial.right) in (
                    (first.right, first.left), (first.left, None),
                )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_sides_are_even_within_a_session_and_over_sessions(kind):
    study = study_of(**kind)
    if study.protocol.presentation == "single":
        tested = [t for trials in sessions(study) for t in trials if (t.phase, t.kind) == ("test", "comparison")]
        counts = Counter(t.left.kind for t in tested)
        assert study.protocol.task == "tag" or abs(counts["real"] - counts["fake"]) <= len(study.arms)
        return
    total = Counter()
    for trials in sessions(study):
        for phase in plan.PHASES:
            for name in ("comparison", "vigilance"):
                mine = [t for t in trials if t.phase == phase and t.kind == name]
                # Of picking, the earlier epoch.
                first = ["left" if _goes_first(t) else "right" for t in mine]
                assert abs(first.count("left") - first.count("right")) <= 1
                total[phase, name] += first.count("left") - first.count("right")
    assert all(abs(difference) <= len(study.arms) for difference in total.values())


def _goes_first(trial):
    if trial.real_side in ("left", "right"):
        return trial.real_side == "left"
    if trial.left.epoch is None or trial.right.epoch is None:
        return trial.right.kind == "broken"
    return trial.left.epoch < trial.right.epoch


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_over_an_arm_stimuli_and_epochs_are_used_evenly(kind):
    study = study_of(**kind)
    for arm, epochs in enumerate(study.arms):
        trials = [t for slot in range(24) for t in study.trials(arm, slot)]
        compared = [t for t in trials if t.phase == "test" and t.kind == "comparison"]
        fakes = [s for t in compared for s in t.stimuli if s.kind == "fake"]
        by_scene = Counter(s.scene for s in fakes)
        assert even(by_scene.values(), 2 if study.protocol.task == "pick" else 1)
        assert len(by_scene) == min(len(study._sequences.test_scenes), len(fakes))
        by_epoch = Counter(s.epoch for s in fakes)
        assert by_epoch.keys() == set(epochs)
        if len(epochs) > 1:
            assert even(by_epoch.values(), 24)
        reals = Counter(s.sha256 for t in compared for s in t.stimuli if s.kind == "real")
        scenes = study._sequences.fakes
        own = {s.sha256 for s in study.stimuli if s.kind == "real" and s.scene in scenes}
        if reals and study.protocol.pairing != "same":
            assert even(reals.values(), 1 if reals.keys().isdisjoint(own) else 2)
        if study.protocol.presentation != "single":
            # Each fake as often at the left as at the right.
            lefts = Counter(t.left.scene for t in compared if t.left.kind == "fake")
            if study.protocol.task == "realness" and len(epochs) == 1:
                assert all(abs(2 * lefts[scene] - n) <= 3 for scene, n in by_scene.items())


def test_arms_follow_the_protocol():
    assert study_of().arms == ((1,), (2,), (3,))
    assert study_of(epochs_per_session="mixed").arms == study_of("pick").arms == ((1, 2, 3),)
    assert {t.epoch for t in study_of().trials(1, 0)} == {2}


def test_sequences_do_not_depend_on_who_asks_first_and_differ():
    one, two = study_of(), study_of()
    late = one.trials(0, 5)
    assert [two.trials(0, slot) for slot in range(6)][5] == late and one.trials(0, 0) == two.trials(0, 0)
    assert len({one.trials(arm, slot) for arm in range(3) for slot in range(6)}) == 18
    assert study_of(seed=8).trials(0, 0) != one.trials(0, 0)


def test_sequences_stay_what_they_are():
    """A study that is being played must go on as it began, under any later version of this program."""
    text = "".join(
        f"{t.index} {t.phase} {t.kind} {' '.join(s.sha256 for s in t.stimuli)} {t.repeats}\n"
        for kind in KINDS
        for trials in sessions(study_of(**kind), 3)
        for t in trials
    )
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "f252d4ffda417992"


def test_every_session_has_its_repeats_whatever_the_draw():
    study = study_of(test_trials=20, vigilance_share=0.2, real_real_share=0.2, repeat_share=0.2, broken=10)
    for trials in sessions(study, 60):
        repeats = [t for t in trials if t.repeats is not None]
        assert len(repeats) == 4 and all(t.index - t.repeats > 1 for t in repeats)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ({"scenes": 40, "reals": 60, "paired": False}, "needs 40 pictures to translate and the study has 30"),
        ({"scenes": 60, "reals": 45, "paired": False}, "needs 40 real pictures of other scenes.*the study has 35"),
        ({"scenes": 90}, "needs 40 real pictures of other scenes than its 40 fakes, and the study has 70"),
        ({"vigilance_share": 0.1, "broken": 3}, "needs 4 broken pictures and the study has 3"),
        ({"pairing": "same", "paired": False}, "does not say which real picture shows the same scene"),
        ({"real_real_share": 0.5, "scenes": 60, "paired": False}, "more real pictures for real_real trials"),
    ],
)
def test_too_few_pictures_are_told(kind, sentence):
    with pytest.raises(StudyError, match=sentence):
        study_of(**kind).check_enough()


# --- the study ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "../up"}, "can't be a study's name"),
        ({"name": "x" * 65}, "can't be a study's name"),
        ({"name": "static"}, "can't be a study's name"),  # Its page would never be found.
        ({"direction": "up"}, "choose ab or ba"),
        ({"checkpoints": ()}, "at least one checkpoint"),
        ({"checkpoints": (PlannedCheckpoint(1, "a", "r"), PlannedCheckpoint(1, "b", "r"))}, "named twice"),
        ({"completion_url": "javascript:alert(1)"}, "has to begin with https://"),
        ({"protocol": protocol("pick"), "checkpoints": (PlannedCheckpoint(1, "a", "r"),)}, "name at least two"),
    ],
)
def test_studies_that_make_no_sense(changes, sentence):
    with pytest.raises(StudyError, match=sentence):
        dataclasses.replace(study_of(), **changes)


def test_a_study_is_read_as_it_was_written(small_study):
    study = small_study(contact="someone@example.org", vigilance_share=0.2)
    again = plan.read_study(study.folder)
    assert again == study and again.study_id == study.study_id and again.folder == study.folder
    assert again.trials(1, 3) == study.trials(1, 3)
    files = sorted((study.folder / "stimuli").iterdir())
    assert len(files) == len(study.stimuli) and {path.stat().st_mtime for path in files} == {plan.FILE_TIME}
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        assert study.stimulus_path(path.stem) == path
    assert not list(study.folder.parent.glob(".*"))


def test_the_same_study_twice_is_the_same_bytes(small_study, tmp_path):
    one, two = small_study(), small_study(folder=tmp_path / "elsewhere")
    assert one.study_id == two.study_id
    for path in sorted(p for p in one.folder.rglob("*") if p.is_file()):
        assert path.read_bytes() == (two.folder / path.relative_to(one.folder)).read_bytes()
    assert small_study("other").study_id != one.study_id != small_study("third", seed=2).study_id


def test_a_study_is_frozen(small_study):
    study = small_study()
    before = (study.folder / "study.json").read_bytes()
    with pytest.raises(StudyError, match="exists already: a study is frozen"):
        small_study(seed=2)
    assert (study.folder / "study.json").read_bytes() == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        study.seed = 2


def test_a_folder_is_there_whole_or_not_at_all(small_study, tmp_path, monkeypatch):
    study = small_study()
    contents = {s.sha256: study.stimulus_path(s.sha256).read_bytes() for s in study.stimuli}
    target = tmp_path / "new"
    with pytest.raises(StudyError, match="not those of the study's stimuli"):
        plan.write_study(study, dict(list(contents.items())[1:]), target)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudyError, match="No space left on device.*free space"):
        plan.write_study(study, contents, target)
    assert not target.exists() and not list(tmp_path.glob(".*"))


def test_stimulus_paths_are_those_of_the_study_only(small_study):
    study = small_study()
    for name in ("0" * 64, "../study", ""):
        with pytest.raises(StudyError, match="has no stimulus"):
            study.stimulus_path(name)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text[: len(text) // 2], "is damaged"),
        (lambda text: "[]", "is damaged"),
        (lambda text: "[" * 100_000, "is damaged"),
        (lambda text: "\xff", "is damaged"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 2'), "newer version.*update the program"),
        (lambda text: text.replace('"format_version": 1', '"format_version": "one"'), "is damaged"),
        (lambda text: text.replace('"seed"', '"sead"'), "is damaged"),
        (lambda text: text.replace('"mask"', '"musk"'), "is damaged"),
        (lambda text: text.replace('"question": "real"', '"question": "why"'), "question is 'why'"),
        (lambda text: text.replace('"sha256": "', '"sha256": "../'), "is damaged.*is not described rightly"),
    ],
)  # fmt: skip
def test_a_damaged_study_is_told(small_study, change, sentence):
    path = small_study().folder / "study.json"
    text = path.read_text(encoding="utf-8")
    assert change(text) != text
    path.write_text(change(text), encoding="latin-1")
    with pytest.raises(StudyError, match=sentence):
        plan.read_study(path.parent)


def test_finding_studies(small_study, tmp_path):
    one, two = small_study("one"), small_study("two", seed=2)
    assert plan.find_studies([one.folder]) == [one]
    assert plan.find_studies([tmp_path / "studies"]) == [one, two]
    with pytest.raises(StudyError, match="two studies are called one"):
        plan.find_studies([one.folder, tmp_path / "studies"])
    for empty in (tmp_path / "nowhere", one.folder / "stimuli"):
        with pytest.raises(StudyError, match="holds no study"):
            plan.find_studies([empty])
        with pytest.raises(StudyError, match="holds no study"):
            plan.read_study(empty)
