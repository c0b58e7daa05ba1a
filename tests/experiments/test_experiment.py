"""A real experiment of two rows: trained by the real trainer, scored, reported; then started again."""

import json
from types import SimpleNamespace

import pytest

from cyclegan.__main__ import main
from cyclegan.commands import experiment

OWN = """
title: Two rows
shared: {epochs: 1, decay_epochs: 0, ngf: 4, ndf: 4, lambda_identity: 0}
rows:
  CycleGAN: {paper: {labels → photo: [0.52, 0.17, 0.11]}}
  SimGAN: {method: simgan, directions: [ab], paper: {labels → photo: [0.20, 0.10, 0.04]}}
"""


def test_two_rows_become_a_report_and_a_second_start_trains_nothing(tmp_path, run_script):
    (tmp_path / "two.yaml").write_text(OWN)
    words = ("-m", "cyclegan", "experiment", str(tmp_path / "two.yaml"), "--output", str(tmp_path / "out"),
             "--dataset", "streets:a=labels,b=day,count=4,test_count=4,size=36",
             "--scores", "segmentation,labels,collapse", "--jobs", "2")  # fmt: skip
    done = run_script(*words)
    assert "Two rows: 2 rows, 2 trainings of 8 pictures per domain in all, 2 at a time" in done.stdout
    assert "2 trainings done, 0 failed" in done.stdout
    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_text())
    assert [list(run["figures"]) for row in report["rows"] for run in row["runs"]] == [["ab", "ba"], ["ab"]]
    assert set(report["references"]["ab"]["baselines"]) >= {"untranslated", "one_colour", "blind"}
    text = (out / "README.md").read_text()
    assert "## labels → day" in text and "## day → labels" in text
    assert "*ceiling: real pictures*" in text and "0.52 / 0.17 / 0.11" in text
    assert (out / "pictures-ab.png").is_file() and (out / "pictures-ba.png").is_file()
    again = run_script(*words)
    assert "CycleGAN, seed 0: was trained before" in again.stdout
    assert json.loads((out / "report.json").read_text())["rows"] == report["rows"]


@pytest.mark.parametrize(("words", "said"), [
    (("pol",), "there is no experiment pol: choose tables, "),
    ((), "which experiment?"),
    (("--render",), "holds no experiment yet"),
    (("pool", "--dataset", "streets:cunt=3"), "cunt=3"),
])  # fmt: skip
def test_the_command_refuses_in_a_sentence(tmp_path, capsys, words, said):
    assert main(["experiment", *words, "--output", str(tmp_path / "out")]) == 1
    assert said in capsys.readouterr().err


def test_ctrl_c_amid_the_videos_links_those_that_are_whole_and_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    written = []

    def write(minutes):
        written.append(minutes)
        return {"rows": []}

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cyclegan.experiments.run.Runner", lambda *_, **__: SimpleNamespace(run=lambda: None))
    monkeypatch.setattr(experiment, "_write_videos", interrupted)
    kind = SimpleNamespace(title="Mine", rows=[], adapts=False, every_epoch=True)
    plan = SimpleNamespace(experiment=kind, dataset="d", trainings=lambda: [])
    args = SimpleNamespace(jobs=1, minutes=None, output=tmp_path, video=None, study=None)
    assert experiment._run(plan, args, object(), write, 0.0) == 130
    assert len(written) == 2 and "the same command continues" in capsys.readouterr().err
