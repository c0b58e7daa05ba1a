"""Protocols: the presets of the papers, overrides, and combinations that are refused."""

import dataclasses
import json
from collections import Counter

import pytest

from cyclegan.errors import StudyError
from cyclegan.study.protocol import PROTOCOLS, Protocol, protocol
from tests.study.made_up import sessions_by_slot, unseen_study


def test_the_presets_are_those_of_the_papers():
    for name in ("cyclegan2017", "pix2pix2017", "colorization2016"):
        p = protocol(name)
        assert (p.practice_trials, p.test_trials, p.exposure_ms, p.presentation) == (10, 40, 1000, "together")
    assert protocol("cyclegan2017").question == "real" and protocol("pix2pix2017").question == "fake"
    colorization = protocol("colorization2016")
    assert colorization.pairing == "same" and colorization.counts["vigilance"] == 4
    hype = protocol("hype_infinity")
    assert (hype.presentation, hype.exposure_ms, hype.test_trials, hype.qualification) == ("single", 0, 100, 0.65)
    timed = protocol("hype_time")
    assert (timed.exposure_ms, timed.least_exposure_ms, timed.most_exposure_ms) == (500, 100, 1000)
    assert (timed.staircase_right, timed.step_down_ms, timed.step_up_ms, timed.test_trials) == (3, 30, 10, 150)
    assert timed.mask and not timed.gives_rate and hype.gives_rate
    mos = protocol("mos")
    assert (mos.task, mos.presentation, mos.exposure_ms, mos.epochs_per_session) == ("rate", "single", 0, "mixed")
    assert (mos.results, mos.planned_participants) == ("closed", 24), "as P.913 asks of a controlled room"
    assert all(p.name == name for name, p in PROTOCOLS.items())


def test_every_field_can_be_overridden_and_explains_itself():
    for field in dataclasses.fields(Protocol):
        assert len(field.metadata["help"]) > 10
    changed = protocol("cyclegan2017", exposure_ms=250, mask=True, blank_ms=None)
    assert (changed.exposure_ms, changed.mask, changed.blank_ms) == (250, True, 600)
    assert Protocol.from_json(json.loads(json.dumps(changed.to_json()))) == changed


def test_a_presets_name_alone_stands_for_its_own_rules():
    assert all(p.label == name for name, p in PROTOCOLS.items())
    changed = protocol("cyclegan2017", practice_trials=2, test_trials=6)
    assert changed.label == "cyclegan2017, changed" and changed.name == "cyclegan2017", "old studies read alike"
    assert protocol("hype_time", step_up_ms=20).label == "hype_time, changed"
    assert protocol("cyclegan2017", device_scale=2).label == "cyclegan2017, changed"
    assert protocol("pick", mask=True).label == "pick, changed"
    assert protocol("pick", login="huggingface", session_hours=48).label == "pick", "the paper's questions all the same"
    shorter = dataclasses.replace(changed, name="cyclegan2017, shortened")
    assert shorter.label == "cyclegan2017, shortened" and Protocol(test_trials=7).label == "custom"


@pytest.mark.parametrize(
    ("preset", "overrides", "sentence"),
    [
        ("cyclegan2018", {}, "no protocol 'cyclegan2018': choose cyclegan2017, "),
        ("cyclegan2017", {"question": "maybe"}, "--question 'maybe' is not one of real, fake"),
        ("cyclegan2017", {"test_trials": 0}, "--test_trials 0 is out of range: 1 to 1000"),
        ("cyclegan2017", {"test_trials": "40"}, "test_trials must be int, not '40'"),
        ("cyclegan2017", {"test_trials": True}, "test_trials must be int, not True"),
        ("cyclegan2017", {"exposure_ms": 1e9}, "exposure_ms must be int, not 1000000000.0"),
        ("cyclegan2017", {"mask": 1}, "mask must be bool, not 1"),
        ("cyclegan2017", {"vigilance_share": 0.6}, "--vigilance_share 0.6 is out of range: 0 to 0.5"),
        ("cyclegan2017", {"vigilance_share": float("nan")}, "--vigilance_share must be a finite number, not nan"),
        ("cyclegan2017", {"vigilance_share": 0.5, "repeat_share": 0.5}, "too few comparisons are left"),
        ("cyclegan2017", {"vigilance_pass": 0.5}, "vigilance_pass without a vigilance trial"),
        ("cyclegan2017", {"qualification": 0.5, "practice_trials": 0}, "practice_trials can't be 0"),
        ("hype_infinity", {"real_real_share": 0.1}, "real_real_share is for pairs"),
        ("pick", {"presentation": "single"}, "picking takes two pictures"),
        ("pick", {"real_real_share": 0.1}, "leave it out of picking"),
        ("pick", {"qualification": 0.5, "practice_trials": 2}, "a preference has no right answer"),
        ("hype_time", {"epochs_per_session": "mixed"}, "with one epoch per session"),
        ("pick", {"staircase_right": 3}, "a staircase is for judging real or fake"),
        ("hype_time", {"repeat_share": 0.1}, "no vigilance trials, controls or repeats"),
        ("cyclegan2017", {"staircase_right": 3, "results": "open"}, "a staircase needs steps"),
        ("hype_time", {"exposure_ms": 50}, "50 isn't within 100 to 1000"),
        ("hype_time", {"exposure_ms": 0}, "0 isn't within 100 to 1000"),
        ("hype_time", {"results": "always_valid"}, "without a staircase: choose closed or open"),
        ("mos", {"presentation": "together"}, "rating shows one picture at a time"),
        ("mos", {"qualification": 0.5}, "qualification is for judging real or fake"),
        ("mos", {"results": "always_valid"}, "for judging real or fake only"),
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
    for trials in sessions_by_slot(unseen_study(vigilance_share=0.1, real_real_share=0.05, repeat_share=0.1), 3):
        assert Counter(t.kind for t in trials if t.phase == "test") == p.counts
        assert [t.phase for t in trials] == ["practice"] * 10 + ["test"] * 40
        assert [t.index for t in trials] == list(range(50)) and {t.kind for t in trials[:10]} == {"comparison"}


def test_when_results_are_seen_is_part_of_the_protocol():
    new = protocol("cyclegan2017")
    assert (new.results, new.planned_participants) == ("always_valid", 25)
    old = {key: v for key, v in new.to_json().items() if key not in ("results", "planned_participants")}
    read = Protocol.from_json(old)
    assert (read.results, read.planned_participants) == ("open", 0) and read.to_json() == old
    assert read.label == new.label == "cyclegan2017" and Protocol.from_json(new.to_json()) == new
    with pytest.raises(StudyError, match="results closed need a plan: set planned_participants to 2 or more"):
        protocol("cyclegan2017", results="closed", planned_participants=0)
    with pytest.raises(StudyError, match="always_valid for judging real or fake only"):
        protocol("pick", results="always_valid")
    assert protocol("pick", results="closed").planned_participants == 25


def test_the_size_on_the_screen_is_part_of_the_protocol_of_new_studies():
    new = protocol("cyclegan2017")
    assert (new.least_px, new.device_scale) == (160, 0) and new.to_json()["least_px"] == 160
    old = {key: v for key, v in new.to_json().items() if key != "least_px"}
    read = Protocol.from_json(old)
    assert read.least_px == 0 and read.to_json() == old and "device_scale" not in old
