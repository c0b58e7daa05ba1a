"""`python -m hub job` against the loopback Hub and its Jobs: what is started or refused, and a job that runs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import yaml

from hub.job import IMAGE, SEES_GPU
from tests.hub.loopback import TOKEN, Repo

ROOT = Path(__file__).parents[2]
NAME, DATA = "alice/day-night", "alice/pictures"
CARD = """---
dataset_info:
  features: []
  splits:
  - {name: trainA, num_examples: 900}
  - {name: trainB, num_examples: 1000}
  - {name: testA, num_examples: 5000}
---
"""


@pytest.fixture
def job(run_script, loopback, hub_env):
    """Run the command; the data set is there, with a card that counts its pictures."""
    loopback.repos[f"datasets/{DATA}"] = data = Repo()
    data.commit("initial commit", {"README.md": CARD.encode()})

    def run(*words, name=NAME, flavor="l4x1", dataset=DATA, env=None, ok=True):
        own = ["-m", "hub", "job", name, "--flavor", flavor, "--dataset", dataset]
        return run_script(*own, *words, env={**hub_env, **(env or {})}, ok=ok)

    return run


@pytest.fixture
def refused(job, loopback):
    """The sentence with which the command refuses; nothing is started or made."""

    def run(*words, **options):
        before = set(loopback.repos)
        done = job("--yes", *words, **options, ok=False)
        assert done.returncode in (1, 2) and not loopback.jobs.all and set(loopback.repos) == before
        return done.stderr.strip().splitlines()[-1]

    return run


def test_a_job_is_started_with_the_code_the_settings_and_the_token_as_a_secret(job, loopback):
    done = job("--yes", "--seed", "7", "--hub_license", "mit", "--hub_private")
    (started,) = loopback.jobs.all
    spec, repo = started.spec, loopback.repos[NAME]
    assert (spec["dockerImage"], spec["flavor"], spec["secrets"]) == (IMAGE, "l4x1", {"HF_TOKEN": TOKEN})
    assert TOKEN not in json.dumps({**spec, "secrets": None}) + done.stdout + done.stderr
    bash, option, script, _, *arguments = spec["command"]
    assert (bash, option, "\n" in script, SEES_GPU in script) == ("bash", "-c", False, True)
    assert arguments == [NAME, repo.branches["code"], str(spec["timeoutSeconds"] - 900)]
    files = repo.resolve("code")["files"]
    assert files.keys() == {".gitattributes", "code.zip", "settings.yaml"} and repo.private
    with zipfile.ZipFile(BytesIO(files["code.zip"])) as archive:
        names = archive.namelist()
        assert archive.read("hub/job.py") == (ROOT / "hub" / "job.py").read_bytes()
    assert {"train_accelerate.py", "pyproject.toml", "cyclegan/locale/ko/LC_MESSAGES/cyclegan.po"} < {*names}
    assert not [name for name in names if "__pycache__" in name or name.startswith(("demo/", "tests/"))]
    settings = yaml.safe_load(files["settings.yaml"])
    assert settings["run"]["seed"] == 7 and settings["data"]["dataset"] == DATA
    run = {"output_dir": "run", "resume": "auto", "push_to_hub": True, "hub_model_id": NAME, "hub_private": True,
           "hub_training_state": "every:10"}  # fmt: skip
    assert run.items() <= settings["run"].items()
    # 1,000 pictures × 200 epochs at 256², as in benchmarks/reports/training_hours.md: 7.9 to 16 h.
    assert "≈ 7.9 to 16 h × $0.80 = $6.3 to $13 (computed, not measured)" in done.stdout
    assert "200 epochs on alice/pictures, 1,000 pictures" in done.stdout and spec["timeoutSeconds"] == 21 * 3600
    assert "ends after 21 h, at most $16.80" in done.stdout
    assert f"started: {loopback.url}/jobs/alice/{started.shown()['id']}" in done.stdout


def test_the_commands_that_are_printed_show_the_log_and_stop_the_job(job, loopback, hub_env):
    lines = job("--yes").stdout.splitlines()
    (started,) = loopback.jobs.all
    started.log = ["training on NVIDIA L4"]
    shown, stop = (next(line.split(": ")[1] for line in lines if line.startswith(start))
                   for start in ("its log", "stop it"))  # fmt: skip
    started.stage = "COMPLETED"  # The log ends.
    hf = str(Path(sys.executable).parent / "hf")
    for command, expected in ((shown, "training on NVIDIA L4"), (stop, "")):
        done = subprocess.run([hf, *command.split()[1:]], env={**os.environ, **hub_env}, capture_output=True, text=True)
        assert done.returncode == 0 and expected in done.stdout, done.stderr
    assert started.stage == "CANCELED"


def test_while_a_job_runs_its_address_is_the_answer(job, refused, loopback):
    job("--yes")
    started = loopback.jobs.all.pop()
    loopback.jobs.all.append(started)
    done = job("--yes", ok=False)
    assert done.returncode == 1 and len(loopback.jobs.all) == 1
    assert f"a job of {NAME} is still running: {loopback.url}/jobs/alice/{started.shown()['id']}" in done.stderr
    job("--yes", name="alice/other")  # Another run's job is no obstacle.
    started.stage = "ERROR"
    job("--yes")
    assert len(loopback.jobs.all) == 3
    # The code is the same, so the branch has no second commit of it.
    assert [commit["title"] for commit in loopback.repos[NAME].history("code")][0] == "Code of a job"
    assert len(loopback.repos[NAME].history("code")) == 2


def test_a_dry_run_prints_all_and_starts_nothing(job, loopback):
    done = job("--dry_run", "--timeout", "90m", flavor="l4x4")
    assert "4 × L4, $3.80 an hour" in done.stdout and "ends after 1.5 h, at most $5.70" in done.stdout
    assert "hours: not known" in done.stdout
    assert not loopback.jobs.all and NAME not in loopback.repos


def test_the_pictures_of_an_uploaded_folder_are_counted(job, loopback):
    files = {f"{folder}/{n}.jpg": b"" for folder, count in (("trainA", 2), ("trainB", 3), ("testA", 9))
             for n in range(count)}  # fmt: skip
    loopback.repos[f"datasets/{DATA}"].commit("Upload", files)
    assert f"200 epochs on {DATA}, 3 pictures" in job("--dry_run").stdout


def test_without_a_terminal_nothing_is_started_by_accident(job, loopback):
    done = job(ok=False)
    assert done.returncode == 1 and "add --yes" in done.stderr and not loopback.jobs.all


@pytest.mark.parametrize("typed, count", [("y\n", 1), ("n\n", 0), ("\x04", 0)], ids=["yes", "no", "Ctrl-D"])
def test_on_a_terminal_it_asks(job, loopback, hub_env, typed, count):
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "hub", "job", NAME, "--flavor", "l4x1", "--dataset", DATA]
    with os.fdopen(ours, "wb", buffering=0) as keyboard, os.fdopen(theirs) as terminal:
        keyboard.write(typed.encode())
        done = subprocess.run(words, cwd=ROOT, env={**os.environ, **hub_env}, stdin=terminal, capture_output=True,
                              text=True)  # fmt: skip
    assert done.returncode == 0 and "start it? [y/N]" in done.stdout and not done.stderr
    assert len(loopback.jobs.all) == count and ("nothing was started" in done.stdout) == (not count)


def test_settings_of_a_file_go_along_and_a_start_keeps_its_networks(job, loopback, tmp_path):
    (tmp_path / "mine.yaml").write_text("seed: 5\nngf: 32\n")
    job("--yes", "--timeout", "2h", "--config", tmp_path / "mine.yaml", "--init_from", "alice/base@epoch-0012")
    settings = yaml.safe_load(loopback.repos[NAME].resolve("code")["files"]["settings.yaml"])
    assert settings["model"] == {"ngf": 32}  # The others are those of alice/base, which the job reads.
    assert (settings["run"]["seed"], settings["run"]["init_from"]) == (5, "alice/base@epoch-0012")


def test_several_cards_are_all_used(job, loopback):
    job("--yes", "--timeout", "2h", flavor="l4x4")
    script = loopback.jobs.all[0].spec["command"][2]
    assert "accelerate launch --multi_gpu --num_processes 4 train_accelerate.py" in script


def test_what_can_not_work_is_said_before_it_costs_anything(refused, loopback, tmp_path):
    assert "there is no flavor 'v5e-1x1'" in refused(flavor="v5e-1x1")
    assert "there is no flavor 'l4'; choose one of cpu-basic ($0.01 an hour), t4-small" in refused(flavor="l4")
    assert "doesn't know a licence 'mitt'" in refused("--hub_license", "mitt")
    assert "did you mean --batch_size" in refused("--batch_sise", "2")
    assert "--crop_size" in refused("--crop_size", "8")
    assert "leave out --output_dir, --resume" in refused("--output_dir", "runs/x", "--resume", "auto")
    assert "is on this machine, where the job can't read it" in refused(dataset=str(tmp_path))
    assert "alice/none is not on the Hub" in refused(dataset="alice/none")
    assert "say when the job has to end, e.g. --timeout 6h" in refused("--ngf", "32")
    assert "or the number of pictures" in refused(dataset="streets")
    assert "'6' must be a minute or more" in refused("--timeout", "6")
    assert "the token may not run jobs for bob" in refused("--namespace", "bob")
    assert "does not accept the Hugging Face token" in refused(env={"HF_TOKEN": "hf_no"})
    assert "there is no Hugging Face token" in refused(env={"HF_TOKEN": ""})
    loopback.tokens[TOKEN] = "read"
    assert "can only read" in refused()


@pytest.mark.parametrize("status, sentence", [
    (402, "Hugging Face wants payment before alice can run jobs; add credit"),
    (403, "the token may not run jobs for alice; use a token that may start jobs"),
    (404, "there are no Jobs for alice on this Hub; check --namespace and HF_ENDPOINT"),
    (500, "the Hub is out of order (500); try again later"),
])  # fmt: skip
def test_what_the_service_refuses_is_one_sentence(job, loopback, status, sentence):
    loopback.fail("POST /api/jobs/alice", status, times=9)
    done = job("--yes", ok=False)
    assert done.returncode == 1 and not loopback.jobs.all
    assert done.stderr.startswith(f"error: {sentence}") and len(done.stderr.splitlines()) == 1


def test_an_old_client_is_named(job, tmp_path, hub_env):
    code = ("import sys; from huggingface_hub import HfApi; del HfApi.run_job; from hub.__main__ import main; "
            "sys.exit(main())")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, "job", NAME, "--flavor", "l4x1", "--dataset", DATA],
                          cwd=ROOT, env={**os.environ, **hub_env}, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 1 and "can't start jobs: it has no run_job; pip install --upgrade" in done.stderr


def test_a_run_is_continued_only_where_a_job_could(refused, loopback):
    loopback.repos[NAME] = repo = Repo()
    sha = repo.commit("Epoch 3", {})
    repo.tags["epoch-0003"] = sha
    assert "has epochs, but no training state to continue from; choose another" in refused()
    repo.branches["training-state"] = sha
    sentence = refused("--epochs", "2", "--decay_epochs", "1")
    assert f"nothing to train: {NAME} has 3 epochs already" in sentence


TINY = ("--generator", "resnet_6", "--ngf", "4", "--ndf", "4", "--load_size", "36", "--crop_size", "32",
        "--epochs", "6", "--decay_epochs", "0", "--sample_count", "2", "--timeout", "1h")  # fmt: skip


@pytest.fixture
def machine(loopback, hub_env, tmp_path):
    """Lend this machine to the Jobs: each job gets an empty folder, and finds all that `uv` installs there already."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "uv").write_text("#!/bin/sh\n")
    (tools / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    started = []

    def run(spec):
        folder = tmp_path / f"machine-{len(started)}"
        folder.mkdir()
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        env = {**os.environ, **hub_env, **spec["environment"], **spec["secrets"], "PATH": path,
               "HF_HOME": str(folder / "hf_home")}  # fmt: skip
        env.pop("PYTHONPATH", None)  # Or it would run this clone's code.
        with open(folder / "log", "wb") as log:
            started.append(subprocess.Popen(spec["command"], cwd=folder, env=env, stdout=log, stderr=log,
                                            start_new_session=True))  # fmt: skip
        return started[-1]

    loopback.jobs.run = run
    yield started
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_job_whose_time_is_over_is_continued_by_the_same_command(job, loopback, machine, tmp_path):
    words, options = ("--yes", *TINY), {"flavor": "cpu-basic", "dataset": "streets:count=40,test_count=2,size=40"}

    def ended(number):
        machine[number].wait(timeout=400)
        return loopback.jobs.all[number].shown()["status"]["stage"], (tmp_path / f"machine-{number}/log").read_text()

    # The alarm is what `timeout` gets when the time is over.
    loopback.fail("POST .*/tag/", None, action=lambda: machine[0].send_signal(signal.SIGALRM))
    job(*words, **options)
    stage, log = ended(0)
    assert (stage, machine[0].returncode) == ("ERROR", 124) and "stopped after step" in log, log
    repo = loopback.repos[NAME]
    assert 0 < len(repo.tags) < 6
    done = job(*words, **options)
    assert f"{6 - len(repo.tags)} more of 6 epochs on streets" in done.stdout
    stage, log = ended(1)
    assert stage == "COMPLETED" and "fetched the training state step-" in log and "done, with 6 of 6 epochs" in log, log
    assert "Traceback" not in log and TOKEN not in log
    assert [commit["title"] for commit in repo.epoch_commits()] == [f"Epoch {epoch}" for epoch in range(1, 7)]
    assert len({json.loads(c["files"]["checkpoint.json"])["run_id"] for c in repo.epoch_commits()}) == 1
    assert (tmp_path / "machine-1" / "code" / "train_accelerate.py").is_file()
    done = job(*words, **options, ok=False)
    assert f"nothing to train: {NAME} has 6 epochs already" in done.stderr
