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

from cyclegan.checkpoint import state_folder
from hub import HubError
from hub.client import Repository
from hub.layout import STATE_BRANCH

_NAMES = re.compile(
    r"training_state/(step-\d{9,})/(state|process-\d+)\.pt|run\.json|metrics\.jsonl|examples/[ab]_\d+\.png"
)


def stage_state(run: Path, global_step: int) -> Path:
    """A folder with what `push_state` sends, which stays as it is while the training goes on.

    Links where the disk can, since a state's files are never written twice.

    Raises:
        OSError: the disk is full.
    """
    staged = run / f".hub-state.{uuid.uuid4().hex[:8]}.part"  # `sweep` clears it away after a crash.
    state = state_folder(run, global_step)
    for path in [*state.iterdir(), run / "run.json", run / "metrics.jsonl", *(run / "examples").glob("*.png")]:
        if not path.is_file():
            continue
        target = staged / path.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if path.name == "metrics.jsonl":
                raise OSError  # It grows.
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)
    return staged


def push_state(repository: Repository, staged: Path) -> str:
    """Publish a staged state in place of the one that is there; the sentence to say.

    Raises:
        HubError: the Hub can't be reached or refuses; calling again later is safe.
    """
    files = {path.relative_to(staged).as_posix(): path for path in sorted(staged.rglob("*")) if path.is_file()}
    step = next(name.split("/")[1] for name in files if name.startswith("training_state/"))
    refs = repository.refs()
    if (head := refs.branches.get(STATE_BRANCH)) is None:
        head = refs.head
        if head is None:
            raise HubError(f"{repository.repo_id} is empty, without even a first commit; make it anew")
        repository.make_branch(STATE_BRANCH, head)
    there = repository.files(head)
    if f"training_state/{step}/state.pt" not in there:  # Else it went through the last time, and the answer was lost.
        stale = [name for name in there if name not in files and name != ".gitattributes"]
        repository.commit(files, f"Training state {step}", parent=head, branch=STATE_BRANCH, delete=stale)
    return f"the training state {step} is on the Hub: {repository.url}/tree/{STATE_BRANCH}"


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
            f"the training state of {repository.repo_id} could not be written to {run} ({error.strerror or error}); "
            "free some space, or choose another --output_dir"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return f"fetched the training state {step} from {repository.url}/tree/{STATE_BRANCH}"
