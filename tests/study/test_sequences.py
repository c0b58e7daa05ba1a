"""The sequences of trials: balanced, without repeats, and the same for ever."""

import hashlib
from collections import Counter

import pytest

from cyclegan.errors import StudyError
from cyclegan.study.attack import attack_sequences
from cyclegan.study.sequences import PHASES
from tests.study.made_up import sessions_by_slot, unseen_study


def even(numbers, slack=1):
    return max(numbers) - min(numbers) <= slack


SECRET = "a" * 64
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
    study = unseen_study(**kind)
    for trials in sessions_by_slot(study):
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
    study = unseen_study(**kind)
    shown = {"practice": set(), "test": set()}
    for arm in range(len(study.arms)):
        for slot in range(12):
            for trial in study.trials(arm, slot):
                shown[trial.phase] |= {s.sha256 for s in trial.stimuli}
                shown[trial.phase] |= {s.scene for s in trial.stimuli}
    assert not shown["practice"] & shown["test"] and shown["test"]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_trials_are_what_they_are_called(kind):
    study = unseen_study(**kind)
    task, pairing = study.protocol.task, study.protocol.pairing
    for trials in sessions_by_slot(study, 6):
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
def test_sides_are_even_within_a_session_and_over_sessions_by_slot(kind):
    study = unseen_study(**kind)
    if study.protocol.presentation == "single":
        shown = [t for trials in sessions_by_slot(study) for t in trials]
        tested = [t for t in shown if (t.phase, t.kind) == ("test", "comparison")]
        counts = Counter(t.left.kind for t in tested)
        assert study.protocol.task == "tag" or abs(counts["real"] - counts["fake"]) <= len(study.arms)
        return
    total = Counter()
    for trials in sessions_by_slot(study):
        for phase in PHASES:
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
    study = unseen_study(**kind)
    for arm, epochs in enumerate(study.arms):
        trials = [t for slot in range(24) for t in study.trials(arm, slot)]
        compared = [t for t in trials if t.phase == "test" and t.kind == "comparison"]
        fakes = [s for t in compared for s in t.stimuli if s.kind == "fake"]
        by_scene = Counter(s.scene for s in fakes)
        assert even(by_scene.values(), 2 if study.protocol.task == "pick" else 1)
        assert len(by_scene) == min(len(study.sequences.test_scenes), len(fakes))
        by_epoch = Counter(s.epoch for s in fakes)
        assert by_epoch.keys() == set(epochs)
        if len(epochs) > 1:
            assert even(by_epoch.values(), 24)
        reals = Counter(s.sha256 for t in compared for s in t.stimuli if s.kind == "real")
        scenes = study.sequences.fakes
        own = {s.sha256 for s in study.stimuli if s.kind == "real" and s.scene in scenes}
        if reals and study.protocol.pairing != "same":
            assert even(reals.values(), 1 if reals.keys().isdisjoint(own) else 2)
        if study.protocol.presentation != "single":
            # Each fake as often at the left as at the right.
            lefts = Counter(t.left.scene for t in compared if t.left.kind == "fake")
            if study.protocol.task == "realness" and len(epochs) == 1:
                assert all(abs(2 * lefts[scene] - n) <= 3 for scene, n in by_scene.items())


def test_arms_follow_the_protocol():
    assert unseen_study().arms == ((1,), (2,), (3,))
    assert unseen_study(epochs_per_session="mixed").arms == unseen_study("pick").arms == ((1, 2, 3),)
    assert {t.epoch for t in unseen_study().trials(1, 0)} == {2}


def test_sequences_do_not_depend_on_who_asks_first_and_differ():
    one, two = unseen_study(), unseen_study()
    late = one.trials(0, 5)
    assert [two.trials(0, slot) for slot in range(6)][5] == late and one.trials(0, 0) == two.trials(0, 0)
    assert len({one.trials(arm, slot) for arm in range(3) for slot in range(6)}) == 18
    assert unseen_study(seed=8).trials(0, 0) != one.trials(0, 0)


def test_sequences_stay_what_they_are():
    """A study that is being played must go on as it began, under any later version of this program."""
    text = "".join(
        f"{t.index} {t.phase} {t.kind} {' '.join(s.sha256 for s in t.stimuli)} {t.repeats}\n"
        for kind in KINDS
        for trials in sessions_by_slot(unseen_study(**kind), 3)
        for t in trials
    )
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "f252d4ffda417992"


def test_sequences_of_a_secret_stay_what_they_are_and_depend_on_nothing_else():
    one, other = (unseen_study(secret=SECRET, seed=seed) for seed in (7, 8))
    assert one.trials(1, 2) == other.trials(1, 2) != unseen_study().trials(1, 2)
    assert unseen_study(secret="b" * 64).trials(1, 2) != one.trials(1, 2)
    text = "".join(" ".join(s.sha256 for s in t.stimuli) for slot in range(3) for t in one.trials(0, slot))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "c130de2db7f9a7c2"


def test_a_fair_practice_needs_enough_pictures_for_any_draw():
    enough = {"preset": "hype_infinity", "paired": False, "practice_trials": 20, "test_trials": 2, "secret": SECRET}
    unseen_study(scenes=21, **enough).check_enough()
    for short in ({"scenes": 19, "reals": 60}, {"scenes": 60, "reals": 19}):
        with pytest.raises(StudyError, match="needs 20 .* and the study has 19"):
            unseen_study(**short, **enough).check_enough()


def test_a_participant_computes_the_sequences_of_a_study_without_a_secret_only():
    without, with_secret = (attack_sequences(unseen_study(secret=secret, seed=0)) for secret in ("", SECRET))
    assert without.found == without.sessions and without.right > 0.65 * without.trials
    assert not with_secret.found and with_secret.trials == 320
    assert 0.42 < with_secret.right / with_secret.trials < 0.58


@pytest.mark.parametrize("kind", [{"preset": "hype_infinity", "paired": False}, {"practice_trials": 0}], ids=str)
def test_the_attack_finds_the_seed_of_other_protocols_too(kind):
    found = attack_sequences(unseen_study(seed=3, **kind), sessions=3)
    assert found.found == 3 and found.right > 0.55 * found.trials


def test_every_session_has_its_repeats_whatever_the_draw():
    study = unseen_study(test_trials=20, vigilance_share=0.2, real_real_share=0.2, repeat_share=0.2, broken=10)
    for trials in sessions_by_slot(study, 60):
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
        ({"real_real_share": 0.5, "scenes": 60, "paired": False}, "more real pictures for trials with two real ones"),
    ],
)
def test_too_few_pictures_are_told(kind, sentence):
    with pytest.raises(StudyError, match=sentence):
        unseen_study(**kind).check_enough()
