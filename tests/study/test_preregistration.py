"""The preregistration: what it promises is what the study is and the report does."""

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
    assert ("mixed model" in text) == PROTOCOLS[preset].gives_rate


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
