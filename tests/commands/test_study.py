"""`python -m cyclegan study …`: what each command does, prints, and says when it can't."""

import dataclasses
import errno
import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image
from tqdm import tqdm

from cyclegan.__main__ import main
from cyclegan.commands import study as commands
from cyclegan.commands import study_build
from cyclegan.study import server, simulate
from cyclegan.study.consent import Consent
from cyclegan.study.format import read_study
from cyclegan.study.invitations import participant_of
from cyclegan.study.protocol import Protocol, protocol
from cyclegan.study.questions import Question
from cyclegan.study.session import StudySessions
from cyclegan.study.store import Store, database_url


@pytest.fixture
def run(capsys):
    """Run a subcommand in this process: (exit status, what it printed, what it complained of)."""

    def call(*arguments):
        status = main(["study", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def refused(run):
    """Run a subcommand that can't; its one sentence."""

    def call(*arguments):
        status, _, err = run(*arguments)
        lines = [line for line in err.splitlines() if line.startswith("error: ")]
        assert status == 1 and len(lines) == 1, err
        return lines[0]

    return call


@pytest.fixture
def unknown(run, capsys):
    """Run a subcommand with flags that make no sense; what the parser says."""

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            run(*arguments)
        assert end.value.code == 2
        return capsys.readouterr().err

    return call


@pytest.fixture
def played(small_study, participant):
    """A study that two people have played to the end, always choosing the left."""
    study = small_study()
    with Store(database_url(study.folder)) as store:
        play = StudySessions(study, store)
        for name in ("alice", "bob"):
            participant(play, name).finish()
    return study


@pytest.fixture
def labels(monkeypatch):
    """The words before each progress bar."""
    seen = []
    for module in (commands, study_build):
        monkeypatch.setattr(module, "progress_bar", lambda **o: seen.append(o["desc"]) or tqdm(disable=True))
    return seen


@pytest.fixture
def building(make_checkpoint, tmp_path):
    """Flags that build a small study of two epochs of untrained networks on built-in scenes."""
    for epoch in (1, 2):
        make_checkpoint(tmp_path / "myrun", epoch)
    return (
        "build", "--checkpoints", tmp_path / "myrun", "--direction", "ab", "--output", tmp_path / "studies" / "mine",
        "--dataset", "streets:count=2,test_count=12,size=40", "--practice_trials", 2, "--test_trials", 6,
    )  # fmt: skip


def test_build_makes_a_study_that_is_checked_and_says_so(run, labels, building, tmp_path):
    (tmp_path / "consent.txt").write_text("I agree.")
    (tmp_path / "questions.yaml").write_text("- {id: age, when: before, kind: number, text: Age in years}")
    status, out, err = run(*building, "--epochs", "1,2", "--protocol", "pix2pix2017", "--title", "Which is real?",
                           "--mask", "--seed", 4, "--limit", 10, "--contact", "me@example.org", "--consent",
                           tmp_path / "consent.txt", "--consent_version", "1.2", "--ethics", "EK 7", "--questions",
                           tmp_path / "questions.yaml", "--code_declined", "NO")  # fmt: skip
    assert status == 0 and labels == ["Rendering"], err
    study = read_study(tmp_path / "studies" / "mine")
    assert study.epochs == (1, 2) and study.size == (32, 32) and study.seed == 4
    assert study.protocol == protocol("pix2pix2017", practice_trials=2, test_trials=6, mask=True)
    assert (study.title, study.domains, study.direction) == ("Which is real?", ("day", "night"), "ab")
    assert study.dataset == "streets:count=2,test_count=12,size=40" and study.contact == "me@example.org"
    assert study.consent == Consent("I agree.", "txt", "1.2", "EK 7") and study.code_declined == "NO"
    assert study.questions == (Question("age", "before", "number", "Age in years"),)
    assert [c.source for c in study.checkpoints] == ["myrun"] * 2
    assert all(re.fullmatch("[0-9a-f]{40}", c.commit_sha) for c in study.checkpoints)
    assert len(study.stimuli) == 10 * 3
    assert "30 pictures of 32×32" in out and "10 translated pictures: that is enough" in out
    tried = r"blind: nothing but the pictures gives away which are real \(\d+ channels tried\)"
    assert re.search(rf"\n{tried}; --verbose and study check list them\n", out)
    assert "FAILED" not in out and "± 5 points with" not in out and "ok  " not in out
    assert out.endswith(f"next: python -m cyclegan study preregister {study.folder}\n"
                        f"then: python -m cyclegan study serve {study.folder}\n")  # fmt: skip
    before = {path: path.read_bytes() for path in study.folder.rglob("*.png")}
    status, _, err = run(*building, "--epochs", "1,2")
    assert status == 1 and "exists already" in err
    assert before == {path: path.read_bytes() for path in study.folder.rglob("*.png")}


def test_build_compares_several_runs(run, refused, building, make_checkpoint, tmp_path):
    make_checkpoint(tmp_path / "other", 5, seed=3)
    flags = list(building)
    flags[2:3] = [f"GAN={tmp_path / 'myrun'}", tmp_path / "other"]
    status, out, err = run(*flags)
    assert status == 0 and "mine: GAN (1), other (2), day → night, 36 pictures of 32×32" in out, err
    assert read_study(tmp_path / "studies" / "mine").labels == {1: "GAN", 2: "other"}
    flags[2:4] = [f"x={tmp_path / 'myrun'}", f"x={tmp_path / 'other'}"]
    assert "two runs are called x: give them names as METHOD=SOURCE" in refused(*flags)


def test_build_takes_epochs_of_each_run_and_other_programs_pictures(
    run, refused, unknown, building, make_checkpoint, tmp_path
):
    make_checkpoint(tmp_path / "other", 5, seed=3)
    (tmp_path / "cogan").mkdir()
    for n in range(12):
        Image.effect_noise((32, 32), 9 + n).convert("RGB").save(tmp_path / "cogan" / f"test-a-{n:04}_fake.png")
    flags = list(building)
    # A flag that is given twice adds to the first.
    flags[2:3] = [f"GAN={tmp_path / 'myrun'}@1,2", "--checkpoints", f"{tmp_path / 'other'}@latest"]
    status, out, err = run(*flags, "--epochs", "7", "--fakes", f"CoGAN={tmp_path / 'cogan'}")
    assert status == 0 and "mine: GAN, epoch 1 (1), GAN, epoch 2 (2), other (3), CoGAN (4), day → night" in out, err
    study = read_study(tmp_path / "studies" / "mine")
    assert [c.foreign for c in study.checkpoints] == [False, False, False, True] and len(study.stimuli) == 60

    alone = ["build", *flags[5:], "--fakes", f"CoGAN={tmp_path / 'cogan'}"]
    alone[alone.index("--output") + 1] = tmp_path / "studies" / "alone"
    assert run(*alone)[0] == 0 and read_study(tmp_path / "studies" / "alone").labels == {1: "CoGAN"}
    assert "without a run, --direction is ab (A → B) or ba" in refused(*alone, "--direction", "day-night")
    assert "called CoGAN: give them different names" in refused(*alone, f"CoGAN={tmp_path}")
    assert "name what is judged: --checkpoints, --fakes or both" in refused(*alone[: alone.index("--fakes")])
    assert "isn't NAME=FOLDER" in unknown(*alone, "cogan")


def test_build_says_what_it_lacks(refused, building, tmp_path):
    assert "has no epoch 7: choose --epochs from 1, 2" in refused(*building, "--epochs", "1,7")
    assert "or take --practice_trials 1 --test_trials 11" in refused(*building, "--test_trials", "60")
    assert "one fake at a time" in refused(*building, "--task", "tag")
    assert "no folder" in refused(*building, "--dataset", tmp_path / "nothing")
    for name in [f"train{side}/{index}.png" for side in "AB" for index in range(12)]:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (len(name), 99, 0)).save(tmp_path / "data" / name)
    (tmp_path / "data" / "trainA" / "0.png").write_bytes(b"PNG")
    data = [*building, "--dataset", tmp_path / "data"]
    assert "try a study of its training pictures, with --split train" in refused(*data)
    broken = refused(*data, "--split", "train")
    assert re.search(r"trainA/0.png .*, remove it, or add --skip_bad_images", broken), broken
    assert "no test pictures" in refused(*building, "--dataset", "streets:count=2,test_count=0,size=40")
    assert "picking compares epochs" in refused(*building, "--protocol", "pick", "--practice_trials", 0)
    assert "choose sides" in refused(*building, "--size", 8)
    assert "are about the text of --consent: name its file" in refused(*building, "--ethics", "EK 7")
    assert "can't be read" in refused(*building, "--questions", tmp_path / "nothing.yaml")
    assert not (tmp_path / "studies" / "mine").exists()


def test_a_study_for_which_no_protocol_is_named_has_as_many_trials_as_there_are_pictures_for(run, refused, building):
    plain = [*building[:-4]]
    plain[plain.index("--dataset") + 1] = "streets:count=2,test_count=25,size=40"
    assert refused(*plain, "--protocol", "cyclegan2017").rstrip().endswith("--practice_trials 5 --test_trials 20")
    status, out, err = run(*plain, "--mask", "--verbose")
    assert status == 0, err
    assert "\nok      headers" in out and "± 5 points with" in out
    study = read_study(plain[plain.index("--output") + 1])
    expected = protocol("cyclegan2017", practice_trials=5, test_trials=20, mask=True)
    assert study.protocol == dataclasses.replace(expected, name="cyclegan2017, shortened")
    assert "a session shows 5 practice trials and 20 test trials" in out
    assert "note: cyclegan2017 has 10 practice trials and 40 test trials" in out and "hardly anything" not in err
    plain[plain.index("--dataset") + 1] = "streets:count=2,test_count=6,size=40"
    plain[plain.index("--output") + 1] = plain[plain.index("--output") + 1].with_name("short")
    status, out, err = run(*plain, "--results", "open", "--login", "invitation")
    assert status == 0 and "that is enough" not in out and "draws on 6 translated pictures\n" in out
    assert re.search(r"note: with \d test trials a session, .* can resolve hardly anything \(± \d\d% with N = ", err)
    first, then = (line.split(" /")[0] for line in out.splitlines()[-2:])
    assert first == "next: python -m cyclegan study invite" and then == "then: python -m cyclegan study serve"


def test_build_on_training_pictures_says_that_this_proves_nothing(run, building):
    status, _, err = run(*building, "--dataset", "streets:count=12,test_count=2,size=40", "--split", "train")
    assert status == 0 and "seen these pictures in training" in err


def test_paired_data_may_be_shown_as_pairs(run, building, tmp_path):
    status, _, err = run(*building, "--pairing", "same", "--size", "40x36")
    assert status == 0, err
    study = read_study(tmp_path / "studies" / "mine")
    assert study.size == (40, 36) and all(t.left.scene == t.right.scene for t in study.trials(0, 0))


@pytest.mark.parametrize("flag, value", [("--epochs", "0"), ("--epochs", "1,x"), ("--size", "ax3"), ("--limit", "0"),
                                         ("--protocol", "mine"), ("--exposure_ms", "soon")])  # fmt: skip
def test_flags_that_make_no_sense_are_refused(unknown, building, flag, value):
    assert flag in unknown(*building, flag, value)


def test_every_protocol_field_is_a_flag_without_a_default_of_its_own():
    from cyclegan.__main__ import build_parser

    given = ["study", "build", "--checkpoints", "r", "--direction", "ab", "--dataset", "d", "--output", "o"]
    parsed = build_parser().parse_args(given)
    for field in dataclasses.fields(Protocol):
        assert field.name not in parsed, "a preset decides"
        if field.name != "name":
            value = str(field.metadata["choices"][0] if field.metadata["choices"] else field.default)
            flag = [f"--{field.name}"] if isinstance(field.default, bool) else [f"--{field.name}", value]
            assert field.name in build_parser().parse_args([*given, *flag])


def test_check_passes_and_fails(run, small_study, building):
    status, out, _ = run(*building)
    folder = building[6]
    status, out, _ = run("check", folder)
    assert status == 0 and "mine is blind" in out and "classifier of files" in out
    status, out, _ = run("check", folder, "--json")
    assert json.loads(out)["passed"] is True
    next((folder / "stimuli").iterdir()).unlink()
    status, out, err = run("check", folder)
    assert status == 1 and "FAILED" in out and err.count("\n") == 1
    assert err.startswith("error: mine is not blind: the stimulus")


def test_serve_hands_the_study_over(run, small_study, monkeypatch):
    calls = []
    monkeypatch.setattr(server, "serve", lambda studies, **options: calls.append((studies, options)))
    study = small_study()
    status, _, err = run("serve", study.folder, "--port", 9001)
    assert status == 0 and "only this computer can open this address; with --host 0.0.0.0" in err
    status, _, err = run("serve", study.folder, "--host", "0.0.0.0", "--trust_proxy")
    assert status == 0 and "everyone who can reach" in err and "link of their own" not in err
    assert "warning: tiny was built before studies had a secret" in err
    assert calls == [([study], {"host": "127.0.0.1", "port": 9001, "trust_proxy": False}),
                     ([study], {"host": "0.0.0.0", "port": 7861, "trust_proxy": True})]  # fmt: skip


def test_serve_needs_the_secret_of_a_study(run, refused, small_study, monkeypatch):
    monkeypatch.setattr(server, "serve", lambda studies, **options: None)
    study = small_study(secret="5" * 64)
    status, _, err = run("serve", study.folder)
    assert status == 0 and "secret" not in err
    (study.folder / "secret").write_text("6" * 64)
    assert "is another study's secret, or was changed: copy it from" in refused("serve", study.folder)
    assert run("report", study.folder)[0] == 0


def test_no_output_holds_the_secret(run, small_study, participant, tmp_path):
    secret = "0123456789abcdef" * 4
    study = small_study(secret=secret)
    with Store(database_url(study.folder)) as store:
        participant(StudySessions(study, store), "alice").finish()
    said = []
    for number, words in enumerate([
        ("report",), ("report", "--format", "json"), ("report", "--format", "csv"), ("check", "--json"),
        ("export", "--output", "{}/{}.csv"), ("export", "--format", "amt", "--output", "{}/{}.csv"),
    ]):  # fmt: skip
        said += run(words[0], study.folder, *(word.format(tmp_path, number) for word in words[1:]))[1:]
    said += [path.read_text() for path in tmp_path.glob("*.csv")]
    assert secret not in "".join(said) and study.secret_sha256 in "".join(said)


def test_invite_makes_links_that_work_once(run, refused, small_study, tmp_path, monkeypatch):
    study, file = small_study(login="invitation"), tmp_path / "links.csv"
    status, out, err = run("invite", study.folder, "2", "--address", "https://example.org/", "--output", file)
    assert status == 0 and "2 invitations to tiny written to" in out and not err
    head, *rows = file.read_text().splitlines()
    assert head == "participant,link" and len(set(rows)) == 2
    name, link = rows[0].split(",")
    address, _, invitation = link.partition("?invitation=")
    assert address == "https://example.org/study/tiny"
    with Store(database_url(study.folder)) as store:
        assert participant_of(study, store, invitation) == name
    monkeypatch.setattr(server, "serve", lambda studies, **options: None)
    assert f"study invite {study.folder} N" in run("serve", study.folder)[2]
    status, out, err = run("invite", study.folder, "3")
    assert len(out.splitlines()) == 3 and "127.0.0.1:7861/study/tiny?invitation=" in out and "name the server" in err
    assert "port 7861" in err and "--address http://127.0.0.1:8000 for serve --port 8000" in err
    assert "it has to begin with https://" in refused("invite", study.folder, "1", "--address", "example.org")
    assert "make 10000 at most" in refused("invite", study.folder, "10001")
    assert "build it with --login invitation" in refused("invite", small_study("open").folder, "1")


def test_simulate_hands_over_what_was_asked_and_prints_what_was_done(run, labels, small_study, monkeypatch):
    study, calls = small_study(), []

    def done(study, **options):
        calls.append(options)
        options["progress"](2)
        kinds = {"look": {"": 1}, "bots": {"impossible times": 1}}
        return simulate.SimulationResult(2, 16, 12, 3, 1.5, {1: 0.25}, 7, kinds)

    monkeypatch.setattr(simulate, "simulate", done)
    status, out, _ = run("simulate", study.folder, "--participants", 2, "--fooling", "1=0.1,0.4", "--icc", 0.1,
                         "--stimulus_sd", 1, "--seed", 9, "--replace", "--bots", 0.2)  # fmt: skip
    del calls[0]["progress"]
    assert status == 0 and "fooled in 25.0% of 12 trials; the report counts 7 trials" in out
    assert "16 votes on tiny" in out and "leaves anyone out: fakes taken for real: epoch 1 25.0%\n" in out
    assert "bots              1      0  impossible times: 1\nlost of those who look: 0 of 1; not left out: 0 of" in out
    assert out.rstrip().endswith(f"study report {study.folder} --simulated") and labels == ["Simulating"]
    assert calls == [{"participants": 2, "fooling": {1: 0.1, None: 0.4}, "icc": 0.1, "stimulus_sd": 1.0, "seed": 9,
                      "replace": True, "resume": False, "behaviours": {"bots": 0.2}}]


def test_flags_of_simulate(unknown, small_study):
    folder = small_study().folder
    for flag, value in (("--fooling", "2"), ("--fooling", "a=0.1"), ("--icc", "x"), ("--participants", "0"),
                        ("--participants", "٣")):  # fmt: skip
        assert flag in unknown("simulate", folder, flag, value)


def test_report_in_every_format(run, refused, played, tmp_path):
    for format in ("md", "json", "csv", "parquet"):
        status, out, err = run("report", played.folder, "--format", format, "--output", tmp_path / f"r.{format}")
        assert status == 0 and "2 sessions and 16 votes on tiny" in out, err
        assert (tmp_path / f"r.{format}").stat().st_size
    epochs = json.loads((tmp_path / "r.json").read_text())["epochs"]
    assert [e["epoch"] for e in epochs] == [1, 2] and all(0 <= e["fooling_rate"] <= 1 for e in epochs)
    status, out, _ = run("report", played.folder)
    assert status == 0 and out.startswith("# ") and "simulated" not in out
    assert json.loads(run("report", played.folder, "--format", "json")[1])["epochs"] == epochs
    assert run("report", played.folder, "--format", "csv")[1].count("\n") == 17
    assert "parquet can't be shown on a screen" in refused("report", played.folder, "--format", "parquet")
    assert "can't be written" in refused("report", played.folder, "--output", played.folder / "study.json" / "r.md")


def test_a_report_of_simulated_participants_alone(run, played, tmp_path):
    with Store(database_url(played.folder)) as store:
        StudySessions(played, store, origin="simulated").begin("robot", language="en", screen={}, address=None)
    report = json.loads(run("report", played.folder, "--format", "json", "--simulated")[1])
    assert report["simulated"] is True and report["participants"]["started"] == 1 and report["plan"] is None
    written = run("report", played.folder, "--simulated", "--output", tmp_path / "r.md")[1]
    assert "1 simulated session and 0 votes" in written
    rehearsed = json.loads(run("report", played.folder, "--format", "json", "--simulated", "--interim")[1])
    assert rehearsed["plan"]["state"] == "always_valid"
    assert json.loads(run("report", played.folder, "--format", "json")[1])["participants"]["started"] == 2


def test_a_report_before_anyone_has_voted(run, small_study):
    study = small_study()
    status, out, _ = run("report", study.folder)
    assert status == 0 and not list(study.folder.glob("votes*"))


def test_export_and_import(run, refused, played, small_study, tmp_path):
    assert run("export", played.folder, "--format", "csv", "--output", tmp_path / "v.csv")[0] == 0
    assert len((tmp_path / "v.csv").read_text().splitlines()) == 17
    status, out, _ = run("export", played.folder, "--format", "amt", "--output", tmp_path / "amt.csv")
    assert status == 0 and "2 sessions" in out and len((tmp_path / "amt.csv").read_text().splitlines()) == 3
    status, out, _ = run("import", tmp_path / "theirs", "--input", tmp_path / "amt.csv", "--practice", 2)
    assert status == 0 and "fooling rate" in out and "16 votes and these figures written" in out
    assert len((tmp_path / "theirs" / "votes.csv").read_text().splitlines()) == 17
    figures = json.loads((tmp_path / "theirs" / "figures.json").read_text())["methods"]
    assert [each["method"] for each in figures] == ["epoch-0001", "epoch-0002"]
    for epoch in json.loads(run("report", played.folder, "--format", "json")[1])["epochs"]:
        assert f"epoch-{epoch['epoch']:04d}: fooling rate {100 * epoch['fooling_rate']:.1f}%" in out
    assert "no complete session" in refused("export", small_study("other").folder, "--format", "amt", "--output",
                                            tmp_path / "x.csv")  # fmt: skip
    assert "exists already" in refused("import", tmp_path / "theirs", "--input", tmp_path / "amt.csv")
    assert "can't be read" in refused("import", tmp_path / "none", "--input", tmp_path / "nothing.csv")


def test_what_is_exported_replaces_a_file_whole_or_not_at_all(refused, run, played, tmp_path, monkeypatch):
    target, export = tmp_path / "amt.csv", ("export", played.folder, "--format", "amt", "--output")
    target.write_text("old")
    with monkeypatch.context() as patch:
        write = Path.write_bytes

        def until_full(path, content):
            write(path, content[:9])
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(Path, "write_bytes", until_full)
        assert "amt.csv can't be written (No space left on device): free space" in refused(*export, target)
    assert target.read_text() == "old" and [*tmp_path.glob("*amt*")] == [target]
    (tmp_path / "link.csv").symlink_to(target)
    assert run(*export, tmp_path / "link.csv")[0] == 0
    assert target.read_text().startswith("WorkerId") and (tmp_path / "link.csv").is_symlink()
    assert "is a folder" in refused(*export, tmp_path)
    assert "can't be written" in refused(*export, target / "x.csv")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "is a folder, a device or the like" in refused(*export, tmp_path / "pipe")


def test_decisions_about_participants(run, refused, played):
    status, out, _ = run("exclude", played.folder, "alice", "--reason", "told us that they guessed")
    assert status == 0 and "votes are kept" in out
    counted = json.loads(run("report", played.folder, "--format", "json")[1])["participants"]
    assert (counted["started"], counted["counted"]) == (2, 1)
    assert run("include", played.folder, "alice")[0] == 0
    assert json.loads(run("report", played.folder, "--format", "json")[1])["participants"]["counted"] == 2
    status, out, _ = run("forget", played.folder, "bob")
    assert status == 0 and "bob and 8 votes are erased" in out
    assert json.loads(run("report", played.folder, "--format", "json")[1])["participants"]["started"] == 1
    for command in (("exclude", "--reason", "why"), ("include",), ("forget",)):
        assert "no participant 'bob'" in refused(command[0], played.folder, "bob", *command[1:])


def test_publish_takes_the_report_to_the_hub(run, refused, played, monkeypatch):
    import hub.studies.figures

    assert "simulated" not in refused("publish", played.folder)  # `run` is a folder's name, and was not given.
    calls = []

    def publish(report, *, runs, say):
        calls.append((report["study"]["name"], [str(run) for run in runs]))
        say("https://hub.example/run")

    monkeypatch.setattr(hub.studies.figures, "publish_study", publish)
    status, out, _ = run("publish", played.folder, "--run", "runs/maps")
    assert status == 0 and "https://hub.example/run" in out and calls == [("tiny", ["runs/maps"])]


def test_votes_come_from_the_hub_first(run, played, monkeypatch):
    import contextlib

    import hub.studies.votes_dataset

    done = []

    class Shipment(contextlib.nullcontext):
        def __init__(self, repo_id):
            super().__init__(self)
            done.append(repo_id)

        def add(self, study, store):
            done.append(study.name)

        def ship(self):
            done.append("shipped")

    monkeypatch.setattr(hub.studies.votes_dataset, "Shipment", Shipment)
    status, out, _ = run("forget", played.folder, "bob", "--votes", "me/votes")
    assert status == 0 and done == ["me/votes", "tiny", "shipped", "shipped"] and "unless you name it" not in out


@pytest.mark.parametrize("command", ["check", "serve", "simulate", "report", "publish"])
def test_a_folder_that_holds_no_study_is_told(refused, tmp_path, command):
    assert "holds no study" in refused(command, tmp_path)


def test_study_alone_lists_its_commands(unknown):
    assert "COMMAND" in unknown()


def test_commands_start_without_torch(run_script):
    script = "import sys; from cyclegan.__main__ import build_parser; build_parser(); print('torch' in sys.modules)"
    assert run_script("-c", script, plain=True).stdout.strip() == "False"
