"""The preregistration: what it promises is what the study is and the report does."""

import dataclasses
import hashlib
from datetime import datetime, timezone

import pytest

from cyclegan.__main__ import main
from cyclegan.study.preregistration import preregistration, votes_so_far
from cyclegan.study.protocol import PROTOCOLS
from cyclegan.study.session import StudySessions
from cyclegan.study.store import Store, database_url
from tests.study.asked import CONSENT, QUESTIONS

NOW = datetime(2026, 11, 29, 12, 30, tzinfo=timezone.utc)


def written(study, hypotheses=""):
    with Store(database_url(study.folder)) as store:
        return preregistration(study, votes_so_far(study, store), hypotheses=hypotheses, now=NOW)


def test_it_names_the_plan_the_rules_and_the_hash(small_study):
    asks = {"consent": CONSENT, "questions": QUESTIONS}
    study = small_study(asks=asks, secret="ab" * 32, planned_participants=30, vigilance_share=0.2, vigilance_pass=0.5)
    text = written(study, "# Mine\n\n**H1**: epoch 2 fools more people than epoch 1.")
    assert "before the first vote" in text and "No vote has been given." in text
    assert "### Mine\n\n**H1**: epoch 2 fools more people than epoch 1." in text
    assert hashlib.sha256((study.folder / "study.json").read_bytes()).hexdigest() in text and study.study_id in text
    assert study.secret_sha256 in text and study.draw_key not in text  # Whoever reads it can't compute what is real.
    assert "30 participants who count for each epoch, 60 in all" in text and "confidence sequences" in text
    assert "vigilance trials right: fewer than 1 of 1" in text and "answered sooner than 100 ms" in text
    assert all(checkpoint.commit_sha in text for checkpoint in study.checkpoints)
    assert "corrected by Holm" in text and "ethics approval EK-2026-07" in text and CONSENT.sha256 in text
    assert "before, `edits`: Do you edit pictures? (Never; Sometimes; Often)" in text
    assert all(f"| `{name}` |" in text for name in ("planned_participants", "guessing_p", "results", "exposure_ms"))
    assert not (study.folder / "votes.sqlite3").exists()  # Asking about votes makes no database.


@pytest.mark.parametrize("preset", PROTOCOLS)
def test_every_protocol_can_be_registered(small_study, preset):
    text = written(small_study(preset=preset, results="open" if preset in ("pick", "tag") else "closed", scenes=60))
    assert "None were written down" in text and "{" not in text and "## 10. The frozen study" in text
    p = PROTOCOLS[preset]
    assert ("mixed model" in text) == ("with and without" in text) == p.gives_rate
    assert ("practice trials with feedback, which never count" in text) == (p.task == "realness")
    assert ("practice trials, which never count" in text) == (preset == "mos") and "0 practice" not in text
    assert ("answers as coins give them" in text) == (p.task == "realness")  # Elsewhere that rule can't apply.
    assert ("on one side" in text or "alike, in a" in text or "one rating in" in text) == (p.task != "tag")
    tests = {"mos": "Differences of mean opinion scores, each", "hype_time": "Differences of thresholds between epochs"}
    assert all((said in text) == (name == preset) for name, said in tests.items())
    assert ("permutation tests" in text and "corrected by Holm" in text) == (preset not in ("pick", "tag"))


def test_after_the_first_vote_it_is_marked(small_study, participant, tmp_path, capsys):
    study, output = small_study(), tmp_path / "plan.md"
    (tmp_path / "hypotheses.md").write_text("We expect nothing.")
    command = ["study", "preregister", str(study.folder), "--hypotheses", str(tmp_path / "hypotheses.md"), "--output",
               str(output)]  # fmt: skip
    assert main(command) == 0
    said = capsys.readouterr()
    assert f"preregistration of tiny written to {output}" in said.out and said.err == ""
    assert "before the first vote" in output.read_text() and "We expect nothing." in output.read_text()
    with Store(database_url(study.folder)) as store:
        robot = StudySessions(study, store, origin="simulated")
        participant(robot, "robot").finish()
        assert votes_so_far(study, store).votes == 0  # They aren't people.
        participant(StudySessions(study, store)).finish()
    assert main(command) == 0
    assert "people have given 8 votes already" in capsys.readouterr().err
    assert "not a registration before the data" in output.read_text() and "had given 8 votes" in output.read_text()


def test_after_participants_were_forgotten_it_is_no_longer_clean(small_study, participant, capsys):
    """Erasing everybody who has voted doesn't bring back the time before the first vote."""
    study = small_study()
    with Store(database_url(study.folder)) as store:
        for name in ("ada", "bob", "cleo"):
            participant(StudySessions(study, store), name).finish()
        store.exclude(study, "cleo", "a test")
        for name in ("ada", "bob"):
            store.forget(study, name)
        so_far = votes_so_far(study, store)
        assert (so_far.votes, so_far.participants, so_far.forgotten) == (8, 1, 2)
        assert "Under way: 8 votes of 1 participant. 2 participants and whatever they had answered" in written(study)
        store.forget(study, "cleo")
    assert main(["study", "preregister", str(study.folder)]) == 0
    said = capsys.readouterr()
    assert "3 participants were erased by `study forget`, and the document says so" in said.err
    assert "before the first vote" not in said.out and "No vote has been given" not in said.out
    assert "> **Nothing shows that this is a registration before the data.**" in said.out
    assert "when no vote was stored, but 3 participants had been erased by `study forget`" in said.out
    assert "No vote is stored. 3 participants and whatever they had answered were erased." in said.out


def test_pictures_of_another_program_are_named_as_such(small_study):
    study = small_study()
    ours, other = study.checkpoints
    other = dataclasses.replace(other, label="CoGAN", source="fakes/cogan", foreign=True)
    text = written(dataclasses.replace(study, checkpoints=(dataclasses.replace(ours, label="CycleGAN"), other)))
    assert f"| CoGAN | fakes/cogan | – | files `{other.commit_sha}` |" in text
    assert f"| CycleGAN | {ours.source} | 1 | `{ours.commit_sha}` |" in text
    assert "Other programs made the pictures of CoGAN;" in text and "Other programs" not in written(study)


def test_its_promises_about_people_and_votes_are_those_that_the_program_keeps(small_study):
    text = written(small_study(login="none", planned_participants=30, results="closed"))
    assert "doesn't rule out that somebody takes part twice" in text
    assert "compute no results" in text and "the votes themselves can be exported" in text
    assert "by single-use links, one session each." in written(small_study("invited", login="invitation"))


def test_headings_of_the_hypotheses_are_below_those_of_the_document(small_study):
    code, rest = "```sh\n# a comment\n```\n\n    # code", "#none\n\n- - -"
    text = written(small_study(), f"My\nplan\n=====\n\nH1\n--\n\n{code}\n\n> # quoted\n\n##### deep\n\n{rest}")
    kept = f"{code}\n\n> ### quoted\n\n###### deep\n\n{rest}"
    assert f"## 2. Hypotheses\n\n### My plan\n\n#### H1\n\n{kept}\n\n## 3." in text


def test_hypotheses_that_cannot_be_read(small_study, tmp_path, capsys):
    study = small_study()
    for content, said in ((None, "can't be read"), (b"", "is empty"), (b"\xff", "isn't UTF-8")):
        path = tmp_path / "h.md"
        if content is not None:
            path.write_bytes(content)
        assert main(["study", "preregister", str(study.folder), "--hypotheses", str(path)]) == 1
        assert said in capsys.readouterr().err
    assert main(["study", "preregister", str(study.folder)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("# Preregistration: A tiny study") and "add them with --hypotheses" in said.err
