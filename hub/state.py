"""The training state on a branch of its own, from which a fresh machine can resume a run. See `hub.layout`.

It is for the owner alone: `fetch_state` is called for `--resume auto --push_to_hub`, after the Hub has confirmed that
this token may write to the repository, and the state is read with `weights_only`.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.training_state import state_folder
from cyclegan.errors import CheckpointError, message
from cyclegan.files import read_json, whole_folder, write_bytes, write_json
from hub.client import Repository, as_the_branch_moves
from hub.errors import HubError
from hub.layout import STATE_BRANCH
from hub.staging import set_aside

_NAMES = re.compile(
    r"training_state/(step-\d{9,})/(state|process-\d+)\.pt|run\.json|metrics\.jsonl|examples/[ab]_\d+\.(png|tif)"
)


def stage_state(run: Path, global_step: int, staged: Path | None = None) -> Path:
    """Return a folder with the files for `push_state`, which don't change while the training continues.

    Args:
        staged: the folder to make; None for one in `run`, which `sweep` removes after a crash.

    Raises:
        OSError: the disk is full, or the state was pruned meanwhile.
        CheckpointError: run.json is damaged.
    """
    staged = staged or run / f".hub-state.{uuid.uuid4().hex[:8]}.part"
    state = state_folder(run, global_step)
    try:
        set_aside([*state.iterdir(), *(run / "examples").glob("*.png")], run, staged)
        if (run / "metrics.jsonl").is_file():
            shutil.copyfile(run / "metrics.jsonl", staged / "metrics.jsonl")  # It grows.
        write_json(staged / "run.json", _without_paths(read_json(run / "run.json", error=CheckpointError)))
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return staged


def _without_paths(values: dict[str, Any]) -> dict[str, Any]:
    """Return run.json without the folders of this machine, because the branch may be public."""
    config = values.get("config")
    for group, name in (("data", "dataset"), ("run", "output_dir"), ("run", "resume")):
        settings = config.get(group) if isinstance(config, dict) else None
        if isinstance(settings, dict) and isinstance(settings.get(name), str):
            path = Path(os.path.expanduser(settings[name]))
            if path.is_absolute() or path.exists() or group == "run":
                settings[name] = path.resolve().name
    return values


def push_state(repository: Repository, staged: Path) -> str:
    """Publish a staged state in place of the present one; return a sentence about it.

    Raises:
        HubError: the Hub can't be reached or refuses, or has another run's state; calling again later is safe.
        CheckpointError: the staged state is incomplete.
    """
    files = {path.relative_to(staged).as_posix(): path for path in sorted(staged.rglob("*")) if path.is_file()}
    steps = [match[1] for name in files if (match := _NAMES.fullmatch(name)) and match[1]]
    step = steps[0] if steps else "none"
    needed = {f"training_state/{step}/state.pt", f"training_state/{step}/process-0.pt", "run.json"}
    if not needed <= files.keys():
        raise CheckpointError("the training state {step} is not whole; it is published after the next epoch", step=step)
    run_id = read_json(staged / "run.json", error=CheckpointError).get("run_id")
    return as_the_branch_moves(lambda: _push(repository, files, step, run_id))


def _push(repository: Repository, files: dict[str, Path], step: str, run_id: Any) -> str:
    where = f"{repository.url}/tree/{STATE_BRANCH}"
    refs = repository.refs()
    if (head := refs.branches.get(STATE_BRANCH)) is None:
        head = refs.head
        if head is None:
            raise HubError(
                "{repo_id} is empty, without even a first commit", repo_id=repository.repo_id,
                remedy=message("delete it, then try again"),
            )
        repository.make_branch(STATE_BRANCH, head)
    elif (repository.json(head, "run.json") or {}).get("run_id") not in (run_id, None):
        raise HubError(
            "{where} holds the training state of another run", where=where, remedy=message("choose another USER/NAME")
        )
    there = repository.files(head)
    newest = max((match[1] for name in there if (match := _NAMES.fullmatch(name)) and match[1]), default="")
    if int(newest[5:] or 0) > int(step[5:]):
        return f"the Hub has a newer training state of this run, {newest}: that one is kept at {where}"
    if not files.keys() <= set(there):  # Otherwise the last commit succeeded, and its answer was lost.
        stale = [name for name in there if name not in files and name != ".gitattributes"]
        repository.commit(files, f"Training state {step}", parent=head, branch=STATE_BRANCH, delete=stale)
    return f"the training state {step} is on the Hub: {where}"


def fetch_state(repository: Repository, run: Path) -> str:
    """Put the repository's training state into a run's folder that has none; return a sentence, "" without a state.

    Raises:
        HubError: the Hub can't be reached, or the disk is full.
    """
    head = repository.refs().branches.get(STATE_BRANCH)
    found = [name for name in repository.files(head) if _NAMES.fullmatch(name)] if head else []
    states = [name for name in found if name.endswith("/state.pt")]
    if not states:
        return ""
    part = run / f".hub-state.{uuid.uuid4().hex[:8]}.part"
    try:
        for name in found:
            repository.fetch(head, name, part)
        # The state last, because without it the next start ignores the other files and fetches all of them again.
        for name in found:
            if not name.startswith("training_state/"):
                write_bytes(run / name, (part / name).read_bytes())
        step = states[0].split("/")[1]
        with whole_folder(run / "training_state" / step) as state:
            for path in (part / "training_state" / step).iterdir():
                path.rename(state / path.name)
    except OSError as error:
        raise HubError(
            "the training state of {repo_id} could not be written to {run} ({reason})",
            repo_id=repository.repo_id, run=run, reason=error,
            remedy=message("free some space, or choose another --output_dir"),
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return f"fetched the training state {step} from {repository.url}/tree/{STATE_BRANCH}"
