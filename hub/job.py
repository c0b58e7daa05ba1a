"""A training on Hugging Face Jobs, for those who have no machine: `python -m hub job`.

The job installs the trainer's requirements, gets this program's code and the run's settings from the branch `code` of
the run's own repository, and trains there with `--push_to_hub --resume auto`. So the repository alone knows how far
the run is, and the same command continues it.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, __version__, get_token

from cyclegan.cli.config_file import config_text
from cyclegan.cli.flags import config_from_args
from cyclegan.config import TrainConfig
from cyclegan.errors import ConfigError, message, number_of
from hub.client import Repository, as_the_branch_moves
from hub.errors import HubError
from hub.hours import computed_hours
from hub.layout import CODE_BRANCH, STATE_BRANCH, tagged_epochs
from hub.modules import ROOT, zipped
from hub.readme import front_matter

IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"
"""Python and uv, and nothing else: the image that huggingface_hub itself takes for scripts of uv."""
CODE = (".css", ".html", ".js", ".json", ".po", ".py", ".safetensors")
"""The files that pyproject.toml puts into the package."""
START = (
    "set -e; uv pip install --system huggingface_hub; "
    'hf download "$1" code.zip settings.yaml --revision "$2" --local-dir code; '
    "cd code; python -m zipfile -e code.zip .; "
    "uv pip install --system --torch-backend auto -r pyproject.toml --extra train --extra features; "
    '{check}exec timeout "$(($3 - SECONDS))" {launch} train_accelerate.py --config settings.yaml'
)
"""The job: a repository, a commit and seconds are its arguments. One line, because the service has joined lines.

`--torch-backend auto` takes the build of torch that fits the GPU's driver. `timeout` sends SIGTERM in time for the
trainer to save and publish its state, because the service's own limit promises no warning.
"""
SEES_GPU = 'python -c "import sys, torch; torch.cuda.is_available() or sys.exit(\'torch does not see the GPU\')"; '
"""Ends a job that would pay for a GPU and train on the processor."""
ENDED = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
HOUR_S = 3600
LAST_S = 900
"""The trainer gets a signal so many seconds before the job's limit."""
SPARE_S = HOUR_S
"""Time for installing, downloading and the last upload."""
OWN = ("output_dir", "resume", "push_to_hub", "hub_model_id")
"""Flags of the trainer that the job sets."""
LOCAL = ("dataset", "init_from", "semantic_segmenter", "vgg_weights")
"""Flags of the trainer that can name a file or a folder."""
DRAWN = ("streets", "phantoms")


@dataclass(frozen=True)
class Flavor:
    """A machine that can be rented."""

    name: str
    gpu: str
    """Model of its cards; "" for none."""
    gpus: int
    per_hour: float | None
    """US dollars."""

    @classmethod
    def of(cls, info: Any) -> Flavor:
        """Return a flavor from the client's record of it."""
        card, hours = info.accelerator, {"minute": 60, "hour": 1, "second": HOUR_S}.get(info.unit_label)
        cost = hours * info.unit_cost_usd if hours else None
        return cls(info.name, card.model if card else "", int(card.quantity) if card else 0, cost)

    def __str__(self) -> str:
        price = "price unknown" if self.per_hour is None else f"${self.per_hour:.2f} an hour"
        return f"{self.name} ({f'{self.gpus} × {self.gpu}, ' if self.gpu else ''}{price})"


@dataclass(frozen=True)
class Plan:
    """A job that could be started, with everything checked that can be before it costs anything."""

    repository: Repository
    config: TrainConfig
    settings: str
    """YAML for the trainer."""
    flavor: Flavor
    namespace: str
    """The user or the organisation that pays."""
    epochs: int
    """Those that are left."""
    pictures: int | None
    hours: tuple[float, float] | None
    timeout_s: int

    @property
    def lines(self) -> list[str]:
        """The sentences that state what it does and costs."""
        run, per_hour = self.config.run, self.flavor.per_hour
        total = number_of(self.config.optim.total_epochs, "epoch")
        left = total if self.epochs == self.config.optim.total_epochs else f"{self.epochs} more of {total}"
        pictures = f", {number_of(self.pictures, 'picture')}" if self.pictures else ""
        found = [
            f"{self.repository.url}: {left} on {self.config.data.dataset}{pictures}",
            f"on {self.flavor}, which {self.namespace} pays for",
        ]
        if self.hours:
            hours = " to ".join(map(_shown, self.hours))
            cost = " to ".join(f"${_shown(each * per_hour)}" for each in self.hours) if per_hour else ""
            found.append(f"≈ {hours} h{f' × ${per_hour:.2f} = {cost}' if cost else ''} (computed, not measured)")
        else:
            found.append("hours: not known for these networks, pictures or cards")
        limit = self.timeout_s / HOUR_S
        cost = f", at most ${limit * per_hour:.2f}" if per_hour else ""
        found.append(f"ends after {_shown(limit)} h{cost}; the same command then continues from the Hub")
        found.append(
            f"this program's code, as it is here, goes to {self.repository.url}/tree/{CODE_BRANCH} "
            f"({'private' if run.hub_private else 'public, if the repository is'})"
        )
        if self.flavor.gpu == "T4" and run.mixed_precision == "auto":
            found.append("warning: a T4 has no bf16, and the hours are for --mixed_precision fp16: add it")
        return found

    @property
    def command(self) -> list[str]:
        """The job's command up to the commit of the code."""
        several = f"accelerate launch --multi_gpu --num_processes {self.flavor.gpus}"
        launch = several if self.flavor.gpus > 1 else "python"
        start = START.format(check=SEES_GPU if self.flavor.gpu else "", launch=launch)
        return ["bash", "-c", start, "job", self.repository.repo_id]


def _shown(number: float) -> str:
    return f"{number:.1f}" if number < 9.95 else f"{number:.0f}"


# --- the plan -----------------------------------------------------------------------------------------------


def plan_job(args: argparse.Namespace) -> Plan:
    """Return the job that a command line describes; start nothing.

    Args:
        args: of `python -m hub job`: the job's own flags and the trainer's.

    Raises:
        ConfigError: the training's flags can't work, or not on another machine; the time has to be given.
        HubError: the token, the repository, the data set or the flavor won't do; a job of this run is still running.
    """
    if missing := [name for name in ("run_job", "list_jobs", "list_jobs_hardware") if not hasattr(HfApi, name)]:
        raise HubError(
            "huggingface_hub {version} can't start jobs: it has no {missing}",
            version=__version__, missing=", ".join(missing), remedy=message("pip install --upgrade huggingface_hub"),
        )
    repository, config = Repository(args.repo_id), training(args)
    user = repository.writer()
    namespace = args.namespace or user
    if config.run.hub_license:
        repository.check_license(config.run.hub_license)
    flavor = find_flavor(repository, args.flavor, namespace)
    check_nothing_runs(repository, namespace)
    epochs = epochs_left(repository, config)
    pictures = args.pictures or pictures_of(config.data.dataset)
    hours = computed_hours(config, pictures, epochs, flavor.gpu) if pictures and flavor.gpus == 1 else None
    if hours is None and args.timeout is None:
        raise ConfigError(
            "how long this takes isn't known (it is computed for the default networks on one T4, L4, A10G, A100 or "
            "H200, from the number of pictures): say when the job has to end, e.g. --timeout 6h{more}",
            more="" if pictures else message(", or the number of pictures, e.g. --pictures 1000"),
        )
    timeout_s = args.timeout or math.ceil((hours[1] * 1.25 * HOUR_S + SPARE_S) / HOUR_S) * HOUR_S
    settings = _settings(config, args)
    return Plan(repository, config, settings, flavor, namespace, epochs, pictures, hours, timeout_s)


def training(args: argparse.Namespace) -> TrainConfig:
    """Return the training's settings, with those that the job sets.

    Raises:
        ConfigError: they can't work, or not on another machine.
    """
    if given := [f"--{name}" for name in OWN if name in args]:
        raise ConfigError("leave out {flags}: the job sets it itself", flags=", ".join(given))
    for name in LOCAL:
        value = getattr(args, name, None)
        if value and value.split(":")[0] not in DRAWN and os.path.exists(value.rpartition("@")[0] or value):
            raise ConfigError(
                "--{name} {value} is on this machine, where the job can't read it: {remedy}", name=name, value=value,
                remedy=message("upload it with `hf upload USER/DATA {value} --repo-type dataset`, then name USER/DATA",
                               value=value) if name == "dataset"
                else message("publish it with `python -m hub push`, then name USER/NAME") if name == "init_from"
                else message("leave it out"),
            )  # fmt: skip
    if getattr(args, "report_to", "none") != "none":
        raise ConfigError("leave out --report_to: a job publishes its curves with each epoch")
    args.output_dir, args.resume, args.push_to_hub, args.hub_model_id = "run", "auto", True, args.repo_id
    config = config_from_args(args)
    if "hub_training_state" in args:
        return config
    args.hub_training_state = f"every:{max(1, min(10, config.optim.total_epochs // 20))}"
    return config_from_args(args)


def _settings(config: TrainConfig, args: argparse.Namespace) -> str:
    """Return the trainer's settings as YAML."""
    if not config.run.init_from:
        return config_text(config)
    import yaml

    # The networks are those that it starts from, unless a flag says otherwise.
    values = config.to_json()
    values["model"] = {name: value for name, value in values["model"].items() if name in args}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def find_flavor(repository: Repository, name: str, namespace: str) -> Flavor:
    """Return the flavor of this name.

    Raises:
        HubError: there is none, or the Hub has no Jobs.
    """
    with _of_jobs(repository, namespace), repository.calls() as api:
        offered = api.list_jobs_hardware()
    # The trainer doesn't run on TPUs.
    found = [Flavor.of(info) for info in offered if not info.accelerator or info.accelerator.type.lower() == "gpu"]
    for flavor in found:
        if flavor.name == name:
            return flavor
    raise HubError(
        "there is no flavor {name!r}", name=name,
        remedy=message("choose one of {flavors}", flavors=", ".join(map(str, found))),
    )


def check_nothing_runs(repository: Repository, namespace: str) -> None:
    """Make sure that no job of this repository is running or waiting, because two would publish the same epochs.

    Raises:
        HubError: one is.
    """
    with _of_jobs(repository, namespace), repository.calls() as api:
        # Old clients list all jobs.
        asked = {"status": ["RUNNING", "SCHEDULING"]} if "status" in inspect.signature(api.list_jobs).parameters else {}
        found = [job for job in api.list_jobs(namespace=namespace, **asked) if job.status.stage not in ENDED]
    for job in found:
        if repository.repo_id in (job.command or []):
            raise HubError(
                "a job of {repo_id} is still running: {url}", repo_id=repository.repo_id, url=job.url,
                remedy=message("wait for its end, or stop it with `{command}`, then run this again",
                               command=_of_job("cancel", job, namespace)),
            )  # fmt: skip


def epochs_left(repository: Repository, config: TrainConfig) -> int:
    """Return the number of epochs that the repository lacks.

    Raises:
        HubError: it lacks none, or a job couldn't continue from what is there.
    """
    try:
        refs = repository.refs()
    except HubError as error:
        if error.status not in (401, 404):
            raise
        return config.optim.total_epochs  # `make` creates it, or says what is wrong.
    newest = max(tagged_epochs(refs), default=0)
    if newest and STATE_BRANCH not in refs.branches:
        raise HubError(
            "{repo_id} has epochs, but no training state to continue from", repo_id=repository.repo_id,
            remedy=message("choose another USER/NAME"),
        )
    if newest >= config.optim.total_epochs:
        raise HubError(
            "nothing to train: {repo_id} has {epochs} already, and --epochs and --decay_epochs add up to {total}",
            repo_id=repository.repo_id, epochs=number_of(newest, "epoch"), total=config.optim.total_epochs,
        )
    return config.optim.total_epochs - newest


def pictures_of(dataset: str) -> int | None:
    """Return the number of training pictures of a data set's larger domain, or a larger one; None if unknown.

    It is in the card, which has only the sum where one column holds both domains; or the files in trainA and trainB
    are counted.

    Raises:
        HubError: it is not on the Hub, or hidden from the token.
    """
    if dataset.split(":")[0] in DRAWN:
        return None
    repo_id, _, config_name = dataset.partition(":")
    repository = Repository(repo_id, repo_type="dataset")
    head = repository.refs().head
    text = (repository.text(head, "README.md") if head else None) or ""
    match = re.match(r"\ufeff?---\s*\n(.*?)\n---", text, re.DOTALL)
    infos = ((front_matter(match[1]) or {}) if match else {}).get("dataset_info")
    infos = [info for info in (infos if isinstance(infos, list) else [infos]) if isinstance(info, dict)]
    counts = [
        split.get("num_examples")
        for info in infos
        if config_name in ("", info.get("config_name"))
        for split in (info.get("splits") if isinstance(info.get("splits"), list) else [])
        if isinstance(split, dict) and str(split.get("name")).startswith("train")
    ]
    counts = [count for count in counts if type(count) is int and count > 0]
    if head and not counts:
        folders = Counter(Path(name).parent.name for name in repository.files(head))
        counts = [folders[name] for name in ("trainA", "trainB") if folders[name]]
    return max(counts, default=None)


# --- the start ----------------------------------------------------------------------------------------------


def start_job(plan: Plan) -> list[str]:
    """Put the code on the Hub, start the job, and return sentences about it.

    Raises:
        HubError: the Hub refuses, or can't be reached.
    """
    repository, run = plan.repository, plan.config.run
    repository.make(private=run.hub_private)
    files = {"code.zip": code_archive(), "settings.yaml": plan.settings.encode()}
    sha = as_the_branch_moves(lambda: _put(repository, files))
    limit = plan.timeout_s - min(LAST_S, plan.timeout_s // 4)
    label = re.sub(r"[^a-zA-Z0-9_-]", "-", f"cyclegan-{repository.repo_id}")
    with _of_jobs(repository, plan.namespace), repository.calls() as api:
        job = api.run_job(
            image=IMAGE, command=[*plan.command, sha, str(limit)], flavor=plan.flavor.name, timeout=plan.timeout_s,
            secrets={"HF_TOKEN": get_token()}, labels={"name": label}, namespace=plan.namespace,
        )  # fmt: skip
    return [
        f"started: {job.url}",
        f"its log: {_of_job('logs', job, plan.namespace)}",
        f"stop it: {_of_job('cancel', job, plan.namespace)}",
        f"epochs appear at {repository.url}; if the job ends early, the same command continues",
    ]


def code_archive(root: Path = ROOT) -> bytes:
    """Return a zip of this program's library and trainer as they are here, local changes included.

    The same files give the same bytes, so that nothing is sent twice.

    Raises:
        HubError: this isn't a clone of the program.
    """
    own = [root / name for name in ("train_accelerate.py", "pyproject.toml", "LICENSE")]
    if missing := [path.name for path in own if not path.is_file()]:
        raise HubError(
            "{missing} isn't next to the packages", missing=", ".join(missing),
            remedy=message("run python -m hub job in a clone of this program"),
        )
    paths = [path for package in ("cyclegan", "hub") for path in (root / package).rglob("*") if path.suffix in CODE]
    return zipped(sorted(paths) + own, root)


def _put(repository: Repository, files: dict[str, bytes]) -> str:
    """Commit what the job runs, and return the commit's SHA."""
    refs = repository.refs()
    if (head := refs.branches.get(CODE_BRANCH)) is None:
        repository.make_branch(CODE_BRANCH, head := refs.head)
    stale = [name for name in repository.files(head) if name not in files and name != ".gitattributes"]
    return repository.commit(files, "Code of a job", parent=head, branch=CODE_BRANCH, delete=stale)


def _of_job(verb: str, job: Any, namespace: str) -> str:
    """Return the command of huggingface_hub's own program for a job."""
    return f"hf jobs {verb} {job.id} --namespace {namespace}{' --follow' if verb == 'logs' else ''}"


@contextlib.contextmanager
def _of_jobs(repository: Repository, namespace: str) -> Iterator[None]:
    """Explain the refusals that mean something else for jobs than for repositories."""
    try:
        yield
    except HubError as error:
        if error.status == 402:
            problem = message("Hugging Face wants payment before {namespace} can run jobs", namespace=namespace)
            remedy = message("add credit at https://huggingface.co/settings/billing, or name who pays by --namespace")
        elif error.status == 403:
            problem = message("the token may not run jobs for {namespace}", namespace=namespace)
            remedy = message("use a token that may start jobs, or another --namespace")
        elif error.status == 404:
            problem = message("there are no Jobs for {namespace} on this Hub", namespace=namespace)
            remedy = message("check --namespace and HF_ENDPOINT")
        else:
            raise
        raise HubError(problem, remedy=remedy, status=error.status) from error
