"""AMT_Real_vs_Fake's format: what we export is scored by a script of its kind, and theirs is read."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest

from cyclegan.errors import StudyError
from cyclegan.study.amt import export_amt, figures_amt, import_amt, report_amt
from cyclegan.study.report import make_report
from tests.study.made_up import made_study, made_votes, sessions_of


def score(text, practice, images, resamples=4000):
    """Fooling rate and ± of each method, as the papers' script counts: written from its description alone."""
    lines = list(csv.DictReader(io.StringIO(text)))
    table = []  # Session, method, whether the answer was right.
    for session, line in enumerate(lines):
        for n in range(practice, images):
            paths = {side: line[f"Input.images_{side}{n}"] for side in ("left", "right")}
            fake = next(side for side in paths if side != line[f"Input.gt_side{n}"])
            method = "/".join(paths[fake].split("/")[:-1])
            table.append((session, method, line[f"Answer.selection{n}"] == fake))
    session = np.array([row[0] for row in table]).reshape(len(lines), -1)
    method = np.array([row[1] for row in table]).reshape(session.shape)
    right = np.array([row[2] for row in table], float).reshape(session.shape)
    rng, found = np.random.default_rng(0), {}
    for name in np.unique(method):
        rates = []
        for _ in range(resamples):
            people = rng.integers(0, len(lines), len(lines))
            trials = rng.integers(0, right.shape[1], right.shape)
            chosen = method[people[:, None], trials] == name
            rates.append(1 - right[people[:, None], trials][chosen].mean())
        found[str(name)] = 1 - right[method == name].mean(), np.std(rates)
    return found


@pytest.mark.parametrize("settings", [
    {"epochs": (20,)},
    {"epochs": (20, 60)},
    {"epochs": (20, 60), "epochs_per_session": "mixed"},
    {"epochs": (20,), "preset": "colorization2016", "broken": 10, "real_real_share": 0.1, "repeat_share": 0.1,
     "scenes": 80},
])  # fmt: skip
def test_their_scoring_gives_our_figure(settings):
    study = made_study(**settings)
    votes = made_votes(study, 9, {20: 0.15, 60: 0.35}, seed=3)
    votes.loc[votes["participant"] == "P001", ["excluded", "exclusion_reason"]] = [True, "asked to be left out"]
    votes = votes.drop(votes.index[(votes["participant"] == "P002") & (votes["trial_index"] > 30)])
    votes.loc[votes["participant"] == "P002", "completed"] = False

    text, summary = export_amt(study, votes)
    practice, test = study.protocol.practice_trials, study.protocol.counts["comparison"]
    assert f"--N_practice {practice} --N_imgs {practice + test}" in summary and "2 left out" in summary
    scored = score(text, practice, practice + test)
    epochs = make_report(study, votes, sessions_of(votes))["epochs"]
    assert scored.keys() == {f"epoch-{e['epoch']:04d}" for e in epochs}
    for e in epochs:
        rate, sd = scored[f"epoch-{e['epoch']:04d}"]
        assert abs(rate - e["fooling_rate"]) < 0.001
        assert sd == pytest.approx(e["paper"]["sd"], abs=0.004)


def test_the_real_pictures_are_theirs_by_count_or_by_name():
    """Their script takes the most frequent folder for the real one; of two with as many, the first by name."""
    text, _ = export_amt(study := made_study(), made_votes(study, 2))
    folders = {line[f"Input.images_{side}{n}"].split("/")[0] for line in csv.DictReader(io.StringIO(text))
               for side in ("left", "right") for n in range(50)}
    assert sorted(folders) == ["GT", "epoch-0020"]


def test_what_was_exported_is_read_again(tmp_path):
    study = made_study(epochs=(20, 60))
    votes = made_votes(study, 6, {20: 0.1, 60: 0.4})
    path = tmp_path / "results.csv"
    path.write_text(export_amt(study, votes)[0])
    read = import_amt(path, practice=10)
    assert len(read) == 12 * 50 and read["participant"].nunique() == 12
    assert set(read["phase"]) == {"practice", "test"} and (read["phase"] == "practice").sum() == 120
    told = report_amt(figures_amt(read))
    for e in make_report(study, votes, sessions_of(votes))["epochs"]:
        assert f"epoch-{e['epoch']:04d}: fooling rate {100 * e['fooling_rate']:.1f}% ±" in told
        low, high = e["interval"]
        assert f"{100 * low:.1f}% to {100 * high:.1f}%" in told
        rows = read[(read["method"] == f"epoch-{e['epoch']:04d}") & (read["phase"] == "test")]
        assert set(rows[["epoch_left", "epoch_right"]].stack().dropna()) == {e["epoch"]}
    assert "P(epoch-0060 > epoch-0020) = " in told


def test_methods_have_folders_of_their_names(tmp_path):
    study = made_study(epochs=(1, 2), labels=("CycleGAN", "GAN + cycle"))
    votes = made_votes(study, 6, {1: 0.4, 2: 0.1})
    path = tmp_path / "results.csv"
    path.write_text(text := export_amt(study, votes)[0])
    assert "method-01-CycleGAN/scene-" in text and "method-02-GAN_cycle/scene-" in text
    assert "GT" < "method-01-CycleGAN"  # Of equal counts, their script takes the first name for the real pictures.
    rates = {each["method"]: each["fooling_rate"] for each in figures_amt(import_amt(path))["methods"]}
    report = make_report(study, votes, sessions_of(votes))
    assert list(rates.values()) == pytest.approx([e["fooling_rate"] for e in report["epochs"]])


def test_their_file_is_read_with_vigilance_apart(tmp_path):
    """Columns of Mechanical Turk around them, methods of their own, and a byte order mark."""
    heads = ["HITId", "WorkerId"] + [f"{name}{n}" for n in range(4) for name in (
        "Input.gt_side", "Input.images_left", "Input.images_right", "Answer.selection")]
    lines = []
    for worker in ("W1", "W2"):
        cells = ["H", worker]
        for n in range(4):
            fake = "vigilance/3.jpg" if n == 3 else "our/alg/1.jpg"
            # W1 finds each fake but that of trial 2; W2 takes the real one for fake in trials 1 and 2.
            wrong = n == 2 or (worker == "W2" and n == 1)
            cells += ["left", "gt/7.jpg", fake, "left" if wrong else "right"]
        lines.append(",".join(cells))
    path = tmp_path / "theirs.csv"
    path.write_text("\ufeff" + "\n".join([",".join(heads), *lines]))
    read = import_amt(path, practice=1)
    assert list(read.loc[read["participant"] == "W1", "fooled"]) == [False, False, True, False]
    told = report_amt(figures_amt(read))
    assert "our/alg: fooling rate 75.0%" in told and "2 participants, 4 trials" in told and "vigilance" not in told


def test_studies_that_the_format_cannot_hold():
    for preset in ("hype_infinity", "pick", "tag"):
        study = made_study(preset=preset, epochs=(20, 60), scenes=140)
        with pytest.raises(StudyError, match="made-up doesn't compare a real picture with a fake"):
            export_amt(study, made_votes(study, 1, {20: 0.1, 60: 0.4}))
    study = made_study()
    with pytest.raises(StudyError, match="no complete session"):
        export_amt(study, made_votes(study, 1).iloc[:30].assign(completed=False))


@pytest.mark.parametrize(("content", "sentence"), [
    (b"", "has no column Input.gt_side0"),
    (b"Input.gt_side1,Input.images_left1,Input.images_right1,Answer.selection1\n", "numbered from 0"),
    (b"Input.gt_side0,Input.images_left0,Input.images_right0,Answer.selection0\n", "has no session"),
    (b"Input.gt_side0,Input.images_left0,Input.images_right0,Answer.selection0\nleft,gt/1,a/1,unset\n",
     "session 1, trial 0: the sides are 'left' and 'unset'"),
    (b"Input.gt_side0,Input.images_left0,Input.images_right0,Answer.selection0\nleft,gt/1\n", "images_right0 is empty"),
    (b"\xff\xfe\x00P", "isn't a CSV"),
    (b'Input.gt_side0,"a\n', "isn't a CSV|has no column"),
])  # fmt: skip
def test_a_bad_file_gets_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=sentence) as error:
        import_amt(path, practice=0)
    assert "\n" not in str(error.value)


def test_practice_beyond_the_trials_and_a_missing_file(tmp_path):
    path = tmp_path / "results.csv"
    text, _ = export_amt(study := made_study(), made_votes(study, 1))
    path.write_text(text)
    with pytest.raises(StudyError, match="50 trials per session, so practice can't be 50"):
        import_amt(path, practice=50)
    with pytest.raises(StudyError, match="can't be read"):
        import_amt(tmp_path / "none.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", Path("/dev/zero")):
        with pytest.raises(StudyError, match=f"{path} is not a regular file"):
            import_amt(path)
