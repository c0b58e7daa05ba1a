"""Reports of studies with made-up votes."""

import csv
import dataclasses
import io
import json
import os
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from cyclegan.errors import StudyError
from cyclegan.study import statistics
from cyclegan.study.judged import people_of
from cyclegan.study.report import FORMATS, csv_of, judge, make_report, to_markdown, to_table, write_report
from cyclegan.study.report.plots import caption, contact_sheet, plots
from cyclegan.study.statistics import pairs, rates
from tests.study.made_up import made_study, made_votes, sessions_of


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rates, "RESAMPLES", 1000)
    monkeypatch.setattr(pairs, "STRENGTH_RESAMPLES", 100)


def reported(study, votes):
    """The report, which must be plain JSON."""
    report = make_report(study, votes, sessions_of(votes))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    return report


def told(report):
    """Its words; no figure may be missing in them without being a dash."""
    text = to_markdown(report)
    assert not re.search(r"\bNone\b|\bnan\b", text)
    return text


# --- what counts --------------------------------------------------------------------------------------------


def test_the_rate_is_that_of_the_test_trials_that_count():
    study = made_study(epochs=(20, 60))
    votes = made_votes(study, 12, {20: 0.15, 60: 0.4})
    report = reported(study, votes)
    for e in report["epochs"]:
        of_epoch = votes[(votes["phase"] == "test") & ((votes["epoch_left"] == e["epoch"])
                                                      | (votes["epoch_right"] == e["epoch"]))]
        fooled = of_epoch["chosen_side"] != of_epoch["real_side"]
        assert e["fooling_rate"] == pytest.approx(fooled.mean()) and e["trials"] == 480 and e["participants"] == 12
        assert e["interval_crossed"][0] < e["interval"][0] < e["fooling_rate"] < e["interval"][1]
        assert e["interval"][1] - e["interval"][0] > e["wilson"][1] - e["wilson"][0]
        assert e["paper"]["rate"] == e["fooling_rate"] and 0.01 < e["paper"]["sd"] < 0.08
        assert e["commit_sha"] == study.commit_sha(e["epoch"]) and e["source"] == "alice/maps"
    assert report["trend"]["p"] < 0.01 and report["trend"]["points_per_step"] > 0.1
    for step, says in ((4e-4, "changed by 0.0"), (-4e-4, "changed by 0.0"), (-4e-3, "fell by 0.4"), (0.1, "rose by 1")):
        trend = report["trend"] | {"points_per_step": step}
        assert f"From one of these epochs to the next (20 → 60), the rate {says}" in told(report | {"trend": trend})
    (contrast,) = report["contrasts"]
    assert not contrast["paired"] and (contrast["participants_a"], contrast["participants_b"]) == (12, 12)
    assert "| 12 + 12 |" in told(report) and "participants per epoch for 80% power at the observed" in told(report)
    assert (contrast["epoch_a"], contrast["epoch_b"]) == (60, 20) and contrast["p"] == contrast["p_holm"] < 0.01
    assert report["participants"] == {"started": 24, "completed": 24, "counted": 24, "forgotten": 0, "left_out": []}
    assert report["study"]["study_id"] == study.study_id and report["protocol"]["name"] == "cyclegan2017"
    assert report["trials"] == 960 and not report["simulated"] and report == reported(study, votes)


def test_a_study_of_an_older_program_with_its_own_numbers_has_not_the_presets_name_alone():
    study = made_study(epochs=(20,), test_trials=8)
    old = dataclasses.replace(study, protocol=dataclasses.replace(study.protocol, name="cyclegan2017"))
    report = reported(old, made_votes(old, 2, {20: 0.3}))
    assert (report["protocol"]["name"], report["study"]["protocol"]) == ("cyclegan2017", "cyclegan2017, changed")
    text = told(report)
    assert "Protocol: cyclegan2017, changed (`test_trials` 40 → 8); study" in text
    assert "| `name` | cyclegan2017, changed |" in text
    assert "Protocol cyclegan2017, changed: 10 + 8 trials" in caption(report)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["cyclegan2017", "hype_infinity", "pick", "tag", "mos", "hype_time"])
def test_a_study_of_several_runs_names_its_methods(preset, tmp_path):
    study = made_study(preset=preset, epochs=(1, 2, 3), labels=("pix2pix", "GAN *alone*", "CycleGAN"), scenes=130)
    votes = made_votes(study, 4, {1: 0.2, 2: 0.1, 3: 0.4})
    report = reported(study, votes)
    assert [(e["label"], e["of_epoch"]) for e in report["epochs"]][0] == ("pix2pix", 8) and report["trend"] is None
    text = told(report).split("## Protocol")[0]
    assert r"GAN \*alone\*" in text and "CycleGAN" in text and "method" in text
    assert "The methods: pix2pix: run-1, epoch 8; GAN " in text
    text = re.sub(r"The methods: .*? Protocol: ", "", text)
    assert "epoch" not in text.lower(), re.findall(".*epoch.*", text.lower())
    for svg, _ in plots(report).values():
        assert b"epoch" not in svg
    table = to_table(votes, study)
    column = "method_left" if preset == "pick" else "method"
    assert set(table[column].dropna()) == set(study.labels.values())
    assert "method" not in to_table(made_votes(made_study(), 1), made_study())


def test_asked_for_the_fake_it_is_the_other_side():
    real, fake = made_study(), made_study(question="fake")
    votes = made_votes(real, 4)
    other = votes["chosen_side"].map({"left": "right", "right": "left"})
    swapped = reported(fake, votes.assign(chosen_side=other))
    assert "Protocol: cyclegan2017, changed (`question` real → fake); study" in told(swapped)
    assert swapped["epochs"][0]["fooling_rate"] == reported(real, votes)["epochs"][0]["fooling_rate"]


def test_who_does_not_count_and_why():
    study = made_study(preset="colorization2016", broken=12, vigilance_pass=0.75, scenes=80)
    votes = made_votes(study, 8)

    def change(participant, **values):
        for column, value in values.items():
            votes.loc[votes["participant"] == participant, column] = value

    change("P000", excluded=True, exclusion_reason="the child's session")
    change("P001", disqualified=True, completed=False)
    careless = (votes["participant"] == "P002") & (votes["kind"] == "vigilance")
    votes.loc[careless, "chosen_side"] = votes.loc[careless, "real_side"]  # Asked for the fake, took the real one.
    change("P003", completed=False)
    left = votes.index[(votes["participant"] == "P003") & (votes["trial_index"] >= 45)]
    votes = votes.drop(left)
    change("P004", completed=False)  # All is there: only the mark of the end is missing.
    simulated = made_votes(study, 9, origin="simulated").query("participant == 'P008'")
    votes = pd.concat([votes, simulated])

    sessions = pd.concat([sessions_of(votes), pd.DataFrame([{
        "session_id": "f" * 32, "participant": "P009", "origin": "people", "completed": False, "disqualified": False,
        "excluded": False}])])  # fmt: skip
    report = make_report(study, votes, sessions)
    assert report["participants"] == {
        "started": 9, "completed": 6, "counted": 4, "forgotten": 0,
        "left_out": [{"reason": "disqualified in practice", "count": 1},
                     {"reason": "excluded: the child's session", "count": 1},
                     {"reason": "failed vigilance", "count": 1}, {"reason": "session not complete", "count": 2}],
    }  # fmt: skip
    assert report["epochs"][0]["participants"] == 4 and report["epochs"][0]["trials"] == 4 * 36
    assert report["vigilance"]["failed"] == 1 and report["vigilance"]["needed"] == 3
    assert report["vigilance"]["trials"] == 5 * 4 and 0.7 < report["vigilance"]["rate"] < 0.9
    text = told(report)
    assert "Left out: disqualified in practice: 1; excluded: the child's session: 1" in text
    assert "a session needs 3 of 4 to count, and 1 failed" in text

    table = to_table(votes, study)
    assert len(table) == len(votes) and table["counted"].sum() == 4 * 36
    reasons = dict(zip(table["participant"], table["why_not"].where(table["phase"] == "test"), strict=True))
    assert reasons["P008"] == "simulated" and reasons["P003"] == "session not complete"
    own = table[table["participant"] == "P005"]
    assert own["why_not"].value_counts().to_dict() == {"": 36, "practice": 10, "vigilance trial": 4}


def test_simulated_votes_count_only_where_there_are_no_others():
    study = made_study()
    votes = made_votes(study, 3, origin="simulated")
    report = reported(study, votes)
    assert report["simulated"] and report["participants"]["counted"] == 3
    opening = told(report).split("## Method")[0]
    assert "These votes are simulated" in opening and "\n3 simulated participants judged 120 pairs" in opening
    both = pd.concat([votes, made_votes(study, 5, seed=1).query("participant > 'P002'")])
    report = reported(study, both)
    assert not report["simulated"] and report["participants"]["counted"] == 2 and "simulated" not in told(report)


@pytest.mark.parametrize(
    "preset", ["cyclegan2017", "colorization2016", "hype_infinity", "pick", "tag", "mos", "hype_time"]
)
def test_before_the_first_vote(preset):
    study = made_study(preset=preset, epochs=(20, 60), scenes=140, broken=10)
    nobody = made_votes(study, 1, {20: 0.1, 60: 0.4}).iloc[:0]
    for votes in (nobody, pd.DataFrame()):
        report = make_report(study, votes, sessions_of(nobody))
        json.dumps(report, allow_nan=False)
        assert report["participants"]["started"] == 0 and not report["simulated"]
        assert [e["fooling_rate"] for e in report["epochs"]] == [None, None]
        assert "No trial counts yet" in told(report) and not plots(report)
        assert len(to_table(votes, study)) == 0


def test_one_participant_and_never_fooled():
    study = made_study()
    votes = made_votes(study, 1)
    (e,) = reported(study, votes)["epochs"]
    assert e["interval_assumed"] and e["interval"][0] < e["fooling_rate"] < e["interval"][1]
    assert e["interval_crossed"] is None and e["participants_needed"]["assumed"]
    votes = made_votes(study, 3)
    report = reported(study, votes.assign(chosen_side=votes["real_side"]))
    (e,) = report["epochs"]
    assert e["fooling_rate"] == 0 and e["interval"][0] == 0 and e["interval"][1] > 0.03
    assert e["interval_crossed"][1] >= e["interval"][1] and e["participants_needed"]["for_5_points"] >= 2
    assert any("all alike or from one participant" in note for note in report["notes"])
    assert "every figure is provisional" in told(report)
    needed = e["participants_needed"]
    assert needed["rate"] == 0.05 and needed["for_5_points"] == 3 + needed["still_for_5_points"] > 3
    assert "below 5% or above 95% counts" in told(report)


def test_participants_and_pictures_needed():
    study = made_study()
    few, many = (reported(study, made_votes(study, people))["epochs"][0] for people in (4, 40))
    for e in (few, many):
        needed, now = e["participants_needed"], e["participants"]
        assert needed["pictures"] == 50 and needed["crossed_for_5_points"] is None
        assert needed["pictures_for_5_points"] > 60 and 0.05 < needed["crossed_least"] < 0.12
        reached = np.ptp(e["interval"]) / 2 <= 0.05
        assert (needed["still_for_5_points"] == 0) == reached and (reached or needed["for_5_points"] > now)
    assert few["participants_needed"]["assumed"] and not many["participants_needed"]["assumed"]
    assert few["participants_needed"]["still_for_3_points"] > 40
    text = told(reported(study, made_votes(study, 4)))
    assert "so that at least 80% of such studies reach it" in text
    assert "| epoch, other pictures | pictures | at best |" in text


def test_a_handful_of_pictures_says_nothing_about_how_pictures_differ():
    """Four that happen to be alike would promise that two are enough."""
    study = made_study(scenes=6, practice_trials=2, test_trials=4)
    needed = reported(study, made_votes(study, 30, stimulus_sd=0.0))["epochs"][0]["participants_needed"]
    assert needed["pictures"] < 8 and needed["pictures_correlation"] == pytest.approx(0.15)
    assert needed["crossed_least"] > 0.2 and needed["pictures_for_5_points"] > 60


@pytest.mark.slow
@pytest.mark.parametrize("results", ["closed", "always_valid"])
def test_before_the_planned_participants_nobody_stops_at_a_lucky_moment(results):
    study = made_study(epochs=(20, 60), results=results, planned_participants=8)
    early, late = (reported(study, made_votes(study, people, {20: 0.1, 60: 0.5})) for people in (7, 8))
    assert early["plan"] == {"results": results, "participants": 8, "least": 7, "state": results}
    assert early["participants"]["counted"] == 14 and early["trend"] is None
    if results == "closed":
        assert not early["trials"] and not early["contrasts"] and not early["stimuli"]["most"]
        assert all(e["fooling_rate"] is None for e in early["epochs"])
        assert "closed until 8 participants per epoch count; now it is 7 at least" in told(early)
    else:
        for e in early["epochs"]:
            low, high = e["interval_always_valid"]
            assert low < e["fooling_rate"] < high
            # What holds at the end alone isn't there to stop at, in no form of the report.
            ordinary = ("interval", "interval_crossed", "paper", "wilson", "detection", "mixed_model")
            assert [e[name] for name in ordinary] == [None] * len(ordinary)
        (contrast,) = early["contrasts"]
        assert contrast["p"] is None and contrast["interval"][0] < 0.4 < contrast["interval"][1]
        text = told(early)
        assert "95%, always valid |" in text and "only the always-valid intervals may decide whether to stop" in text
        assert "permutation test" not in text and "95%, participants" not in text and "mixed model has" not in text
        opening = text.split("\n\n")[1]
        assert "This is provisional: the study is planned for 8 participants per epoch, and the one with" in opening
        marked = made_votes(study, 7, {20: 0.1, 60: 0.5}).assign(exposure_left_ms=1016.0, exposure_right_ms=1016.0)
        marked.loc[marked.index[::5], "exposure_left_ms"] = 1051.0
        beside = told(reported(study, marked)).split("## Quality")[1].split("## Notes")[0]
        assert re.search(r"\| without marked trials \|.*\n.*\n\| 20 \| [\d.]+% \| [\d.]+% \| – \|", beside), beside
        for e in early["epochs"]:
            low, high = e["interval_always_valid"]
            valid = f"[{low:.1%}, {high:.1%}]"
            assert f"(always-valid 95% interval {valid})" in opening
            assert f"(always-valid 95% interval {valid}; N = 7 participants" in text
        drawn = plots(early)["fooling-rate"][0].decode()
        assert "95%, always valid" in drawn and "over participants" not in drawn
        assert caption(early).endswith("Provisional: at least 7 of 8 per epoch have judged.")
        assert "Provisional" not in caption(late)
        single = dataclasses.replace(study.protocol, presentation="single")
        single = dataclasses.replace(study, protocol=single)
        one_by_one = reported(single, made_votes(single, 3, {20: 0.1, 60: 0.5}))
        assert re.search(r"\| 20 \| [\d.]+% \| – \| ", told(one_by_one)) and plots(one_by_one)
        alone = told(reported(study, made_votes(study, 1, {20: 0.1, 60: 0.5})))
        assert "(no interval yet)" in alone.split("\n\n")[1] and "95% interval [" not in alone.split("## Quality")[0]
    assert "P(A > B)" not in told(early) and "P(A > B) is the share of bootstrap samples" in told(late)
    assert "without correction, for a difference that holds for other pictures, too" in told(late)
    assert late["plan"]["state"] == "reached" and late["trend"]["p"] < 0.01 and late["contrasts"][0]["p"] < 0.01
    assert late["epochs"][0]["interval_always_valid"] is None and "always valid" not in told(late)
    votes = made_votes(study, 2, origin="simulated")
    whole = reported(study, votes)
    assert whole["plan"] is None and "`study report --interim` shows" in told(whole)  # Nobody would stop for them.
    rehearsed = make_report(study, votes, sessions_of(votes), interim=True)
    assert rehearsed["simulated"] and rehearsed["plan"]["state"] == results and not rehearsed["trend"]
    assert "These votes are simulated" in told(rehearsed) and "--interim" not in told(rehearsed)


def test_a_plain_sentence_opens_the_report():
    study = made_study(epochs=(20, 40, 60, 80), scenes=200, guessing_p=0.0)
    report = reported(study, made_votes(study, 12, {20: 0.1, 40: 0.2, 60: 0.3, 80: 0.6}))
    first, last = (e for e in report["epochs"] if e["epoch"] in (20, 80))
    intervals = ["[{:.1%}, {:.1%}]".format(*each["interval"]) for each in (first, last)]
    assert told(report).split("\n\n")[1] == (
        f"48 participants judged 1,920 pairs of pictures; fakes of epoch 80 were taken for real in "
        f"{last['fooling_rate']:.1%} of trials (95% interval over participants {intervals[1]}), fakes of epoch 20 were "
        f"taken for real in {first['fooling_rate']:.1%} of trials (95% interval over participants {intervals[0]}). 50% "
        "would mean that nobody could tell them from real ones."
    )
    study = made_study()
    said = told(reported(study, made_votes(study, 1)))
    assert re.search(r"\n\n1 participant judged 40 pairs of pictures; fakes were taken for real in [\d.]+% of ", said)
    assert "from real ones. With so few participants, this is provisional.\n" in said


# --- what else is told --------------------------------------------------------------------------------------


def test_controls():
    study = made_study(preset="colorization2016", broken=12, real_real_share=0.1, repeat_share=0.1, scenes=80)
    votes = made_votes(study, 6)
    test = votes["phase"] == "test"
    votes.loc[votes["kind"] == "real_real", "chosen_side"] = "left"
    first = {(row.session_id, frozenset((row.left_stimulus, row.right_stimulus))): row
             for row in votes[test & (votes["kind"] == "comparison")].itertuples()}
    for row in votes[votes["kind"] == "repeat"].itertuples():
        before = first[row.session_id, frozenset((row.left_stimulus, row.right_stimulus))]
        assert before.left_stimulus == row.right_stimulus
        same = row.participant != "P000"  # Whose answers are all changed: the same side is the other picture.
        side = {"left": "right", "right": "left"}[before.chosen_side] if same else before.chosen_side
        votes.loc[row.Index, "chosen_side"] = side
    report = reported(study, votes)
    assert report["side_bias"]["real_real"]["rate"] == 1 and report["side_bias"]["real_real"]["trials"] == 24
    assert 0.4 < report["side_bias"]["rate"] < 0.6
    assert report["repeats"]["rate"] == pytest.approx(5 / 6) and report["repeats"]["trials"] == 24
    assert report["vigilance"]["rate"] > 0.9 and report["vigilance"]["failed"] == 0
    assert -0.3 < report["agreement"]["alpha"] < 0.6
    text = told(report)
    assert "the same answer in 83.3% of 24 trials" in text and "left one was chosen in 100.0% of 24 trials" in text


def test_exposure_outside_the_tolerance_is_marked_and_told_in_a_second_line():
    study = made_study()
    votes = made_votes(study, 4)
    test = votes["phase"] == "test"
    votes[["exposure_left_ms", "exposure_right_ms"]] = 1016.0
    late = votes.index[test & (votes["chosen_side"] != votes["real_side"])][:10]
    votes.loc[late, "exposure_right_ms"] = 1051.0
    votes.loc[votes.index[test & (votes["chosen_side"] == votes["real_side"])][:2], "exposure_left_ms"] = np.nan
    votes.loc[votes.index[test][:3], "focus_lost"] = True
    report = reported(study, votes)
    exposure, (e,) = report["exposure"], report["epochs"]
    assert exposure["marked"] == 12 and exposure["marked_share"] == pytest.approx(12 / 160)
    assert exposure["unmeasured"] == 2 and exposure["error_ms"]["median"] == 16 and exposure["focus_lost"] == 3
    fooled = round(e["fooling_rate"] * 160)
    assert e["without_marked"]["rate"] == pytest.approx((fooled - 10) / 148) and e["without_marked"]["trials"] == 148
    assert "Not measured, or outside ± 50 ms: 12 of 160 trials (7.5%)" in told(report)
    assert "without marked trials" in told(report)
    assert to_table(votes, study)["exposure_marked"].sum() >= 12


def test_how_large_pictures_were_and_whether_the_page_was_busy():
    study = made_study(device_scale=2)
    votes = made_votes(study, 4)
    report = reported(study, votes)
    assert report["size"] is None and report["exposure"]["lagging"] is None and "CSS pixels" not in told(report)
    test = votes.index[votes["phase"] == "test"]
    votes = votes.assign(picture_css_px=300.0, picture_device_px=64.0, stacked=False)
    for side in ("left", "right"):
        votes[f"exposure_{side}_clock_ms"] = votes[f"exposure_{side}_ms"] + 3
    votes.loc[test[:5], ["picture_css_px", "picture_device_px", "stacked"]] = [120.0, 360.0, True]
    votes.loc[test[:7], "exposure_right_clock_ms"] -= 60  # Drawn late: the frames' times don't show it.
    report = reported(study, votes)
    size = report["size"]
    assert (size["trials"], size["too_small"], size["off_scale"], size["stacked"]) == (160, 5, 5, 5)
    assert (size["css_px"]["median"], size["device_px"]["median"]) == (300, 64)
    assert report["exposure"]["lagging"] == report["exposure"]["marked"] == 7
    for said in ("In 7 trials, the clock", "pictures were 300 (5th to 95th percentile 300 to 300) CSS pixels wide",
                 "in 5 trials, the left picture stood above", "Smaller than the protocol's 160 CSS pixels: 5 trials",
                 "it wasn't in 5 trials"):
        assert said in told(report), said
    table = to_table(votes, study)
    assert table["picture_device_px"].eq(360).sum() == 5 and table["exposure_marked"].sum() == 7


def test_response_times():
    study = made_study(epochs=(20, 60))
    votes = made_votes(study, 2, {20: 0.2, 60: 0.4})
    votes["response_ms"] = np.where(votes["chosen_side"] == votes["real_side"], 500.0, 900.0)
    response = reported(study, votes)["response"]
    assert response["correct"]["median_ms"] == 500 and response["wrong"]["median_ms"] == 900
    assert [e["trials"] for e in response["epochs"]] == [80, 80] and response["quartiles_ms"] == [500, 900]


@pytest.mark.slow
def test_single_pictures_give_the_total_error():
    study = made_study(preset="hype_infinity", epochs=(20, 60), scenes=140)
    votes = made_votes(study, 5, {20: 0.2, 60: 0.45})
    report = reported(study, votes)
    kinds = {s.sha256: s.kind for s in study.stimuli}
    test = votes[votes["phase"] == "test"].assign(truth=votes["left_stimulus"].map(kinds))
    for arm, e in enumerate(report["epochs"]):
        own = test[test["arm"] == arm]
        wrong = own["verdict"] != own["truth"]
        fakes, reals = wrong[own["truth"] == "fake"].mean(), wrong[own["truth"] == "real"].mean()
        assert e["fooling_rate"] == pytest.approx(fakes) and e["trials"] == 250
        assert e["total_error"]["error"] == pytest.approx((fakes + reals) / 2)
        assert e["total_error"]["reals_for_fake"]["rate"] == pytest.approx(reals)
        low, high = e["total_error"]["interval"]
        assert low < (fakes + reals) / 2 < high
    assert report["side_bias"]["what"] == "answered real" and report["exposure"]["error_ms"] is None
    assert "Total error (HYPE∞)" in told(report) and "fooling rate alone doesn't show that" in told(report)
    pairs = reported(made_study(), made_votes(made_study(), 3))
    for each, single in ((report, True), (pairs, False)):
        svg = plots(each)["fooling-rate"][0].decode()
        assert ("total error" in svg) is single and ("50%: can't be told from real" in svg) is not single
        assert ">50%" in svg


def test_signal_detection_and_the_mixed_model():
    study = made_study(preset="hype_infinity", epochs=(20,), scenes=140)
    votes = made_votes(study, 6, {20: 0.3})
    report = make_report(study, votes, sessions_of(votes), mixed=True)
    (e,) = report["epochs"]
    found, error = e["detection"], e["total_error"]
    z = [stats.norm.ppf(error[name]["rate"]) for name in ("fakes_for_real", "reals_for_fake")]
    assert found["participants"] == 6 and found["d_prime"] == pytest.approx(-sum(z), abs=0.2)
    low, high = found["d_prime_interval"]
    assert low < found["d_prime"] < high and abs(found["criterion"]) < 0.6
    model = e["mixed_model"]
    assert not model["failed"] and model["rate"] == pytest.approx(e["fooling_rate"], abs=0.04)
    assert len(model["sd"]) == 2
    text = told(report)
    assert "| epoch | d′ | 95%, participants | criterion |" in text
    assert "A second opinion: a logistic mixed model" in text
    report["epochs"][0]["mixed_model"] = {**model, "rate": None, "interval": None, "sd": None, "failed": "all alike"}
    assert "| 20 | – | – | no fit: all alike |" in told(report)


def test_mixed_sessions_compare_people_with_themselves():
    study = made_study(epochs=(20, 60, 100), epochs_per_session="mixed")
    votes = made_votes(study, 12, {20: 0.1, 60: 0.2, 100: 0.5}, person_sd=1.5)
    report = reported(study, votes)
    assert [e["participants"] for e in report["epochs"]] == [12, 12, 12] and report["trend"]["participants"] == 12
    assert report["epochs"][0]["participants_needed"]["trials_each"] == 13
    assert report["contrasts"][1]["p_holm"] < 0.05 and report["contrasts"][1]["participants_a"] == 12
    text = told(report)
    assert "each compared with themselves; interval and p are based on them" in text and "per epoch for 80%" not in text
    assert "isn't corrected for the number of contrasts" in text and "participants, at most, for 80% power" in text
    rows = judge(study, votes).query("counted")
    apart = statistics.contrasts(rows["fooled"], rows["participant"], rows["epoch"], paired=False, seed=study.seed)
    widths = [np.ptp(c["interval"]) for c in report["contrasts"]]
    assert all(own < np.ptp(other.interval) for own, other in zip(widths, apart, strict=True))


def test_preferences():
    study = made_study(preset="pick", epochs=(20, 60, 100))
    votes = made_votes(study, 10, {20: 0.2, 60: 0.3, 100: 0.6})
    report = reported(study, votes)
    strengths = {s["epoch"]: s["strength"] for s in report["pick"]["strengths"]}
    assert strengths[20] < strengths[60] < strengths[100] and sum(strengths.values()) == pytest.approx(0)
    assert report["pick"]["trials"] == 400 == sum(d["wins"] + d["ties"] + d["losses"] for d in report["pick"]["duels"])
    duel = next(d for d in report["pick"]["duels"] if (d["epoch_a"], d["epoch_b"]) == (100, 20))
    won = sum(row.chosen_side != "tie" and {"left": row.epoch_left, "right": row.epoch_right}[row.chosen_side] == 100
              for row in votes.itertuples() if {row.epoch_left, row.epoch_right} == {20, 100})
    assert duel["wins"] == won and duel["a_beats_b"] > 0.6
    assert report["pick"]["tie_share"] == pytest.approx((votes["chosen_side"] == "tie").mean())
    assert report["epochs"][0]["fooling_rate"] is None and report["epochs"][0]["participants"] == 10
    assert report["trend"] is None and "Epoch 100 was preferred most" in told(report)
    assert "10 participants judged 400 pairs of pictures and preferred epoch 100 most.\n" in told(report)
    assert report["stimuli"]["what"] == "preferred" and report["agreement"]["alpha"] is not None


def test_vigilance_in_picking():
    study = made_study(preset="pick", epochs=(20, 60), vigilance_share=0.1, vigilance_pass=1.0, broken=10)
    votes = made_votes(study, 3)
    watched = votes["kind"] == "vigilance"
    kinds = {s.sha256: s.kind for s in study.stimuli}
    good = np.where(votes["left_stimulus"].map(kinds) == "broken", "right", "left")
    votes.loc[watched, "chosen_side"] = good[watched]
    votes.loc[votes.index[watched & (votes["participant"] == "P001")][0], "chosen_side"] = "tie"
    report = reported(study, votes)
    assert report["participants"]["left_out"] == [{"reason": "failed vigilance", "count": 1}]
    assert report["vigilance"]["failed"] == 1


def test_tags():
    study = made_study(preset="tag", epochs=(20, 60))
    votes = made_votes(study, 8, {20: 0.8, 60: 0.3})
    as_text = votes.assign(marks=[json.dumps(marks) for marks in votes["marks"]])
    report = reported(study, votes)
    assert report == reported(study, as_text)
    rates = {(row["epoch"], row["tag"]): row for row in report["tag"]["rates"]}
    marked = votes[votes["epoch_left"] == 20]["marks"].map(bool)
    assert rates[20, "any"]["rate"] == pytest.approx(marked.mean()) and rates[60, "any"]["rate"] < 0.5
    assert rates[20, "any"]["boxes"] > 10 and len(rates[20, "any"]["heat"]) == 8
    assert "Of fakes of epoch 20" in told(report) and report["side_bias"] is None
    assert re.search(r"8 participants judged \d+ pictures; fakes of epoch \d+ were marked", told(report))
    assert report["stimuli"]["what"] == "marked"


def test_mean_opinion_scores():
    study = made_study(preset="mos", epochs=(20, 60), broken=8, vigilance_share=0.1)
    votes = made_votes(study, 24, {20: 0.3, 60: 0.6})
    report = reported(study, votes)
    rated = votes[(votes["phase"] == "test") & (votes["kind"] == "comparison")]
    real = ~rated["left_stimulus"].map(lambda sha: study.by_hash[sha].kind == "fake")
    first, last, reals = report["mos"]["conditions"]
    assert [first["epoch"], last["epoch"], reals["epoch"]] == [20, 60, None]
    assert reals["mean"] == pytest.approx(rated["rating"][real].mean()) and reals["trials"] == real.sum()
    assert sum(reals["counts"]) == real.sum() and first["mean"] < last["mean"] < reals["mean"]
    for each in (first, last, reals):  # Other pictures vary, too.
        (low, high), (wide, wider) = each["interval"], each["interval_crossed"]
        assert 1 < wide < low < each["mean"] < high < wider < 5
    ahead, *of_reals = report["mos"]["differences"]
    assert [(d["a"], d["b"]) for d in report["mos"]["differences"]] == [(20, None), (60, None), (60, 20)]
    assert ahead["difference"] < 0 and of_reals[1]["difference"] > 0 and of_reals[1]["p_holm"] < 0.01
    assert report["vigilance"]["trials"] == 96 and report["agreement"]["level"] == "ordinal"
    assert report["epochs"][0]["fooling_rate"] is None and report["side_bias"] is None
    text = told(report)
    for said in ("fakes of epoch 20 were rated ", "real pictures were rated ", "have a mean opinion score of ", "P.910",
                 "rated good or excellent", "(ordinal)",
                 "5 practice trials, then 40 test trials (36 ratings, 4 vigilance trials"):
        assert said in text, said
    assert "with feedback" not in text and set(plots(report)) == {"opinions", "response-times"}
    votes.loc[votes["session_id"] == votes["session_id"][0], "rating"] = 3
    alike = {"reason": "nearly always the same answer", "count": 1}
    assert reported(study, votes)["participants"]["left_out"] == [alike]
    closed = make_report(dataclasses.replace(study, protocol=dataclasses.replace(study.protocol, results="closed")),
                         votes, sessions_of(votes))  # fmt: skip
    assert closed["plan"]["least"] == 23 and closed["mos"]["conditions"][0]["mean"] is None


def test_the_pictures_that_fooled_most():
    study = made_study(scenes=50)
    votes = made_votes(study, 10)
    fakes = [s for s in study.stimuli if s.kind == "fake"]
    shown = judge(study, votes)
    always = shown[shown["counted"]]["stimulus"].value_counts().index[0]
    is_it = (shown["stimulus"] == always).to_numpy()
    votes.loc[is_it, "chosen_side"] = votes.loc[is_it, "real_side"].map({"left": "right", "right": "left"})
    stimuli = reported(study, votes)["stimuli"]
    assert stimuli["most"][0]["sha256"] == always and stimuli["most"][0]["rate"] == 1
    assert stimuli["most"][0]["scene"] == next(s.scene for s in fakes if s.sha256 == always)
    assert not {s["sha256"] for s in stimuli["most"]} & {s["sha256"] for s in stimuli["least"]}
    report = reported(study, votes)
    assert "domain:number:name" not in told(report)
    report["stimuli"]["most"][0]["scene"] = "a:42:test_a-0042"
    text = told(report)
    assert "named domain:number:name" in text and "a is maps, b is photos" in text
    assert "| a:42:test\\_a-0042 |" in text and text.index("a is maps") < text.index("a:42:")


# --- as files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "names"), [
    ("cyclegan2017", {"fooling-rate", "response-times"}), ("pick", {"preferences", "response-times"}),
    ("tag", {"tags", "response-times"}),
])  # fmt: skip
@pytest.mark.slow
def test_markdown_with_its_pictures(tmp_path, preset, names):
    study = made_study(tmp_path / "made-up", preset=preset, epochs=(20, 60), scenes=52)
    votes = made_votes(study, 10, {20: 0.2, 60: 0.4})
    written = write_report(study, votes, sessions_of(votes), "md", tmp_path / "out" / "all of it.md")
    assert written[0].name == "all of it.md" and sorted(written) == sorted((tmp_path / "out").iterdir())
    text = written[0].read_text()
    links = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert {f"all%20of%20it-{name}.svg" for name in names} <= set(links)
    for link in links:
        content = (tmp_path / "out" / link.replace("%20", " ")).read_bytes()
        assert content.startswith(b"\x89PNG") or b"<svg" in content
    for name in names:
        svg = (tmp_path / "out" / f"all of it-{name}.svg").read_text()
        assert f"Protocol {preset}" in svg.replace("\n", " ") and "N\xa0=\xa0" in svg  # Text is text.
        with Image.open(tmp_path / "out" / f"all of it-{name}.png") as picture:
            assert round(picture.info["dpi"][0]) == 300 and picture.width > 900
    with Image.open(tmp_path / "out" / "all of it-stimuli.png") as sheet:
        assert sheet.width > 300
    if preset == "pick":
        report = make_report(study, votes, sessions_of(votes))
        real, simulated = (contact_sheet(study, {**report, "simulated": each}) for each in (False, True))
        assert real != simulated  # It says so.
        again = write_report(study, votes, sessions_of(votes), "md", tmp_path / "again" / "all of it.md")
        assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]


def test_json_csv_and_parquet(tmp_path):
    study = made_study(epochs=(20, 60))
    votes = made_votes(study, 3)
    for format in ("json", "csv", "parquet"):
        (path,) = write_report(study, votes, sessions_of(votes), format, tmp_path / f"report.{format}")
        assert path.is_file()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report == make_report(study, votes, sessions_of(votes), mixed=True)
    lines = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    table = pd.read_parquet(tmp_path / "report.parquet")
    assert len(lines) == len(table) == len(votes) and list(lines[0]) == list(table.columns)
    assert "token_hash" not in table and table["fooled"].sum() == sum(line["fooled"] == "True" for line in lines)
    counted = table[table["counted"]]
    for e in report["epochs"]:
        assert counted.loc[counted["epoch"] == e["epoch"], "fooled"].mean() == pytest.approx(e["fooling_rate"])


def test_what_cannot_be_written(tmp_path):
    study = made_study()
    votes = made_votes(study, 1)
    with pytest.raises(StudyError, match="unknown report format 'pdf': choose md, json, csv, parquet"):
        write_report(study, votes, sessions_of(votes), "pdf", tmp_path / "report.pdf")
    (tmp_path / "file").touch()
    for format in FORMATS[1:]:
        with pytest.raises(StudyError, match="can't be written"):
            write_report(study, votes, sessions_of(votes), format, tmp_path / "file" / "report")
    assert not list(tmp_path.glob(".*.part"))


def test_free_text_stays_text_in_markdown():
    study = dataclasses.replace(made_study(), title="![x](http://evil/e.png) <img> *a* _b_ `c` #\\ [y](z)")
    votes = made_votes(study, 2)
    votes.loc[votes["participant"] == "P000", ["excluded", "exclusion_reason"]] = [True, "a | b\n<script>"]
    text = told(reported(study, votes))
    assert "excluded: a \\| b &lt;script&gt;: 1" in text
    title = text.splitlines()[0]
    assert title == ("# \\!\\[x\\](http://evil/e.png) &lt;img&gt; \\*a\\* \\_b\\_ \\`c\\` \\#\\\\ \\[y\\](z)")


def test_who_completed_is_counted_by_sessions():
    study = made_study()
    votes = made_votes(study, 6)
    votes.loc[votes["participant"] == "P000", ["excluded", "exclusion_reason"]] = [True, "twice"]
    gone = votes["participant"].isin(["P001", "P002"])
    votes.loc[gone, "completed"] = False
    votes.loc[votes["participant"] == "P002", "disqualified"] = True
    left_early = gone & (votes["trial_index"] > 12)
    votes.loc[votes["participant"] == "P001", ["excluded", "exclusion_reason"]] = [True, "left"]  # And not complete.
    votes = votes[~left_early]
    for sessions in (sessions_of(votes), sessions_of(votes).iloc[:0]):
        people = make_report(study, votes, sessions)["participants"]
        assert (people["started"], people["completed"], people["counted"]) == (6, 4, 3)
    seen = votes[votes["participant"] != "P003"]  # Whose votes are not there, though the session is.
    assert make_report(study, seen, sessions_of(votes))["participants"]["completed"] == 4


def test_a_spreadsheet_finds_no_formula_in_csv(tmp_path):
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a=1\r=2", None, ""]
    frame = pd.DataFrame({"text": texts, "number": [-1.5] * 9, "whole": pd.array([-1] * 8 + [None], "Int64")})
    frame["typed"] = frame["text"].astype("string")
    lines = list(csv.DictReader(io.StringIO(csv_of(frame).decode(), newline="")))
    assert [line["text"] for line in lines] == ["'" + text for text in texts[:5]] + ["'\nx", "a=1\n=2", "", ""]
    assert [line["typed"] for line in lines] == [line["text"] for line in lines]
    assert {line["number"] for line in lines} == {"-1.5"} and {line["whole"] for line in lines} == {"-1", ""}
    study = made_study()
    votes = made_votes(study, 2)
    votes["participant"] = votes["participant"].replace("P000", '=HYPERLINK("http://evil")')
    for format in ("csv", "parquet"):
        write_report(study, votes, sessions_of(votes), format, tmp_path / f"votes.{format}")
    names = set(pd.read_csv(tmp_path / "votes.csv")["participant"])
    assert names == {"P001", "'=HYPERLINK(\"http://evil\")"}
    assert '=HYPERLINK("http://evil")' in set(pd.read_parquet(tmp_path / "votes.parquet")["participant"])


def test_where_a_report_may_be_written(tmp_path, monkeypatch):
    study = made_study(epochs=(20, 60))
    votes = made_votes(study, 3, {20: 0.2, 60: 0.4})
    sessions = sessions_of(votes)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.csv").symlink_to("folder/target.csv")
    for _ in range(2):  # A link to nothing, then to a file.
        write_report(study, votes, sessions, "csv", tmp_path / "link.csv")
        assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "folder" / "target.csv").stat().st_size > 1000
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "null").symlink_to(os.devnull)
    for name, why in (("pipe", "is a device or a pipe"), ("null", "is a device"), ("folder", "is a folder"),
                      ("loop", "can't be written")):
        with pytest.raises(StudyError, match=why):
            write_report(study, votes, sessions, "csv", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for nothing, why in (("", "has no name"), (Path(""), "is a folder")):
        with pytest.raises(StudyError, match=why):
            write_report(study, votes, sessions, "md", nothing)
    os.mkfifo(tmp_path / "a-fooling-rate.png")  # Nothing is written where a picture can't be.
    with pytest.raises(StudyError, match=r"a-fooling-rate\.png is a device"):
        write_report(study, votes, sessions, "md", tmp_path / "a.md")
    assert not (tmp_path / "a.md").exists() and not list(tmp_path.glob("*.svg"))


def test_pictures_come_before_the_text_that_links_to_them(tmp_path, monkeypatch):
    study = made_study(epochs=(20, 60))
    votes = made_votes(study, 3, {20: 0.2, 60: 0.4})
    order, name = [], "a:b (c) #1?.md"
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda part, path: (order.append(Path(path).name), replace(part, path)))
    first, *others = write_report(study, votes, sessions_of(votes), "md", tmp_path / name)
    assert first.name == order[-1] == name and len(order) == len(others) + 1
    links = re.findall(r"!\[[^]]+\]\(([^)]+)\)", first.read_text())
    assert links and all(re.fullmatch(r"[\w%.-]+", link) and (tmp_path / unquote(link)).is_file() for link in links)


def test_a_shortened_protocol_says_from_which_numbers():
    plain = made_study(epochs=(20,), practice_trials=2, test_trials=8)
    rules = dataclasses.replace(plain.protocol, name="cyclegan2017, shortened")
    study = dataclasses.replace(plain, protocol=rules)
    text = told(reported(study, made_votes(study, 3)))
    assert "shortened from 10 practice trials and 40 test trials, for which the data set has too few pictures;" in text
    assert "too few pictures" not in told(reported(plain, made_votes(plain, 3)))


@pytest.mark.parametrize(("rates", "told"), [({20: 0.1, 60: 0.5}, True), ({20: 0.3, 60: 0.32}, False)])
def test_the_page_of_scores_prefers_what_the_report_tells_apart(rates, told):
    for rule, people in (("open", 12), ("always_valid", 40)):
        study = made_study(epochs=(20, 60), results=rule, planned_participants=60)
        votes = made_votes(study, people, rates)
        (contrast,) = reported(study, votes)["contrasts"]
        apart = contrast["p_holm"] < 0.05 if rule == "open" else contrast["interval"][0] > 0
        assert apart == told
        found = people_of(study, votes)
        assert found.provisional == (rule == "always_valid")
        assert found.preferred() == ({(60, 20)} if told else set())
