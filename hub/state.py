"""The training state on a branch of its own: what lets a fresh machine go on with a run. See `hub.layout`.

It is for the owner alone: `fetch_state` is called for `--resume auto --push_to_hub`, after the Hub has said that this
token may write to the repository, and what it brings is read with `weights_only`.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.training_state import state_folder
from cyclegan.errors import CheckpointError
from cyclegan.files import read_json, write_json
from hub.client import Repository, as_the_branch_moves
from hub.errors import HubError
from hub.layout import STATE_BRANCH
from hub.staging import set_aside

_NAMES = re.compile(
    r"training_state/(step-\d{9,})/(state|process-\d+)\.pt|run\.json|metrics\.jsonl|examples/[ab]_\d+\.png"
)


def stage_state(run: Path, global_step: int, staged: Path | None = None) -> Path:
    """A folder with what `push_state` sends, which stays as it is while the training goes on.

    Args:
        staged: the folder to make; None for one in `run`, which `sweep` clears away after a crash.

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
    """run.json without the folders of this machine: the branch may be public."""
    config = values.get("config")
    for group, name in (("data", "dataset"), ("run", "output_dir"), ("run", "resume")):
        settings = config.get(group) if isinstance(config, dict) else None
        if isinstance(settings, dict) and isinstance(settings.get(name), str):
            path = Path(os.path.expanduser(settings[name]))
            if path.is_absolute() or path.exists() or group == "run":
                settings[name] = path.resolve().name
    return values


def push_state(repository: Repository, staged: Path) -> str:
    """Publish a staged state in place of the one that is there; the sentence to say.

    Raises:
        HubError: the Hub can't be reached or refuses, or has another run's state; calling again later is safe.
        CheckpointError: the staged state is not whole.
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
            raise HubError("{repo_id} is empty, without even a first commit; make it anew", repo_id=repository.repo_id)
        repository.make_branch(STATE_BRANCH, head)
    elif (repository.json(head, "run.json") or {}).get("run_id") not in (run_id, None):
        raise HubError("{where} holds the training state of another run; choose another USER/NAME", where=where)
    there = repository.files(head)
    newest = max((match[1] for name in there if (match := _NAMES.fullmatch(name)) and match[1]), default="")
    if int(newest[5:] or 0) > int(step[5:]):
        return f"the Hub has a newer training state of this run, {newest}: that one stays at {where}"
    if not files.keys() <= set(there):  # Else it went through the last time, and the answer was lost.
        stale = [name for name in there if name not in files and name != ".gitattributes"]
        repository.commit(files, f"Training state {step}", parent=head, branch=STATE_BRANCH, delete=stale)
    return f"the training state {step} is on the Hub: {where}"


def fetch_state(repository: Repository, run: Path) -> str:
    """Put the repository's training state, if it has one, into a run's folder that has none; the sentence to say.

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
        # The state last: without it, what is there counts for nothing, and the next start fetches all of it again.
        for name in sorted(found, key=lambda name: name.startswith("training_state/")):
            if not name.startswith("training_state/"):
                (run / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(part / name, run / name)
        step = states[0].split("/")[1]
        (run / "training_state").mkdir(exist_ok=True)
        os.rename(part / "training_state" / step, run / "training_state" / step)
    except OSError as error:
        raise HubError(
            "the training state of {repo_id} could not be written to {run} ({reason}); free some space, or choose "
            "another --output_dir",
            repo_id=repository.repo_id, run=run, reason=error.strerror or error,
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return f"fetched the training state {step} from {repository.url}/tree/{STATE_BRANCH}"
