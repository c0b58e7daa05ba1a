"""`python -m hub check`: the list of what a repository or a Space has for those who find it on the Hub, and lacks."""

from __future__ import annotations

import ast
import contextlib
import os
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.repocard import REGEX_YAML_BLOCK

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.errors import CheckpointError, message, number_of
from hub.card.metadata import LIBRARY, TAGS
from hub.card.names import known_repo, start_of
from hub.card.widget import address_of
from hub.client import Refs, Repository
from hub.endpoint import FILES as ENDPOINT_FILES
from hub.endpoint import MARK
from hub.errors import HubError
from hub.layout import published_epochs
from hub.readme import front_matter
from hub.renew import published_root
from hub.source import HubSource
from hub.space import TAG, THUMBNAIL, listed, preload_entry
from hub.training import run_settings

SPACES = "spaces/"


@dataclass(frozen=True)
class Item:
    """A line of the list."""

    name: str
    has: bool
    remedy: str = ""
    """The command that adds it, or what else does."""
    optional: bool = False
    """Nobody has to have it."""

    def __str__(self) -> str:
        mark = "has" if self.has else "could have" if self.optional else "lacks"
        return f"{mark:10}  {self.name}" + ("" if self.has else f": {self.remedy}")


def check(text: str) -> tuple[str, list[Item]]:
    """Return the address of a repository or a Space, and its items.

    Args:
        text: USER/NAME of a model repository or a Space; spaces/USER/NAME; or the folder of a run, which stands for the
            repository that its training published to.

    Raises:
        CheckpointError: the repository's root holds no readable checkpoint.
        HubError: it isn't on the Hub, isn't of this program, or the Hub doesn't answer.
    """
    if os.path.isdir(text):
        _, repo_id = run_settings(Path(text))
        if repo_id is None:
            raise HubError(
                "{source} wasn't published by its training", source=text,
                remedy=message("name its repository: python -m hub check USER/NAME"),
            )
        text = repo_id
    if text.startswith(SPACES):
        return _space(Repository(text.removeprefix(SPACES), repo_type="space"))
    repository = Repository(text)
    try:
        refs = repository.refs()
    except HubError as error:
        space = Repository(text, repo_type="space")
        if error.status not in (401, 404) or not _exists(space):
            raise
        return _space(space)
    return repository.url, [*_of_model(repository, refs)]


def _exists(repository: Repository) -> bool:
    try:
        return repository.refs().head is not None
    except HubError as error:
        if error.status not in (401, 404):
            raise
        return False


def _card(repository: Repository, head: str | None) -> tuple[str, dict[str, Any] | None]:
    """Return README.md, and its front matter; None if that isn't valid."""
    text = (repository.text(head, "README.md") if head else None) or ""
    match = REGEX_YAML_BLOCK.match(text.removeprefix("\ufeff"))
    return text, front_matter(match[2]) if match else {}


# --- a model ------------------------------------------------------------------------------------------------


def _of_model(repository: Repository, refs: Refs) -> Iterator[Item]:
    """Yield the items of a published run.

    Raises:
        CheckpointError: its root holds no readable checkpoint.
        HubError: no answer.
    """
    repo_id = repository.repo_id
    if refs.head is None or "checkpoint.json" not in repository.files(refs.head):
        raise HubError(
            "{repo_id} holds no run of this program", repo_id=repo_id,
            remedy=message("name a repository that a training or python -m hub push has filled"),
        )
    info, record, names = published_root(repository, refs)
    epochs = published_epochs(repository, refs)
    tagged = f"a tag on each of its {number_of(len(epochs), 'epoch')}"
    yield Item(tagged, all(one.tagged for one in epochs), f"python -m hub tag {repo_id}")
    text, front = _card(repository, refs.head)
    yield from _broken(repository, front)
    again = f"python -m hub card {repo_id}"
    found = front or {}
    tags = {*TAGS} <= {*listed(found.get("tags"))}
    known = found.get("library_name") == LIBRARY and found.get("pipeline_tag") is not None and tags
    yield Item("library, task and tags on the card", known, again)
    yield Item("a licence", bool(found.get("license")), f"{again} --license ID, such as mit")
    start = start_of(record.get("started_from"))
    base = (start.repo_id if start else None) or known_repo(record.get("imported_from"))
    if base:
        yield Item(f"base_model {base}", base in listed(found.get("base_model")), again)
    yield from _examples(repo_id, info, text, found, names, again)
    there = [name for name in ENDPOINT_FILES if name in names]
    own = "handler.py" in there and MARK in (repository.text(refs.head or "", "handler.py") or "")
    yield Item(
        "handler.py for Inference Endpoints", len(there) == len(ENDPOINT_FILES) or ("handler.py" in there and not own),
        f"python -m hub endpoint {repo_id}", optional=not own,
    )  # fmt: skip
    run = info.config.train.get("run") if isinstance(info.config.train, Mapping) else None
    space = run.get("trackio_space") if isinstance(run, Mapping) else None
    yield Item(
        f"a Space of trackio with its curves{f', {space}' if space else ''}", bool(space),
        "train with --report_to trackio --trackio_space USER/NAME", optional=True,
    )  # fmt: skip


def _broken(repository: Repository, front: Mapping[str, Any] | None) -> Iterator[Item]:
    if front is None:
        yield Item("valid YAML at the top of README.md", False, f"fix it at {repository.url}/blob/main/README.md")


def _examples(
    repo_id: str, info: CheckpointInfo, text: str, front: Mapping[str, Any], names: Collection[str], again: str
) -> Iterator[Item]:
    """Yield the examples of the card and their gallery."""
    examples = front.get("widget") if isinstance(front.get("widget"), list) else []
    whole_ones = [one for one in examples if isinstance(one, dict) and _input_exists(one, repo_id, names)]
    outputs = [one["output"] for one in whole_ones if isinstance(one.get("output"), dict)]
    shown = {output["url"] for output in outputs if isinstance(output.get("url"), str)} & {*names}
    missing = [way for way in info.directions if not any(url.split("/")[-1].startswith(way) for url in shown)]
    without = not any(name.startswith("samples/") for name in names)
    yield Item(
        "examples with their translations, in every direction", not missing,
        "its epochs were published without samples" if without else again, optional=without,
    )  # fmt: skip
    # Grids whose pictures differ in width are examples as a whole, and the card shows them anyway.
    whole = bool(shown) and all(url.startswith("samples/") for url in shown)
    yield Item(
        "a gallery of them", "<Gallery />" in text,
        "its samples can't be cut into single pictures" if whole or without else again, optional=whole or without,
    )  # fmt: skip


def _input_exists(example: Mapping[str, Any], repo_id: str, names: Collection[str]) -> bool:
    """Return False for an example whose input is in this repository, but isn't there."""
    source, here = str(example.get("src") or ""), address_of(repo_id)
    return not source.startswith(here) or source.removeprefix(here) in names


# --- a Space ------------------------------------------------------------------------------------------------


def _space(repository: Repository) -> tuple[str, list[Item]]:
    head = repository.refs().head
    names = repository.files(head) if head else []
    start = _constants(repository.text(head, "space.py") or "") if head else {}
    if not listed(start.get("CHECKPOINTS")):
        raise HubError(
            "{repo_id} isn't a Space of this program", repo_id=repository.repo_id,
            remedy=message("make one with python -m hub space"),
        )
    return repository.url, [*_of_space(repository, head or "", names, start)]


def _constants(code: str) -> dict[str, Any]:
    """Return the constants of a space.py; nothing of it runs."""
    found: dict[str, Any] = {}
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        for node in ast.parse(code).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                with contextlib.suppress(ValueError, TypeError):
                    found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def _of_space(
    repository: Repository, head: str, names: Collection[str], start: Mapping[str, Any]
) -> Iterator[Item]:
    """Yield the items of a Space that runs the app.

    Raises:
        HubError: no answer.
    """
    _, front = _card(repository, head)
    yield from _broken(repository, front)
    found, sources = front or {}, listed(start["CHECKPOINTS"])
    models = [source for source in sources if not source.startswith("demo/")]
    again = _command(repository.repo_id, sources, start)
    yield Item(f"the tag {TAG}", TAG in listed(found.get("tags")), again)
    picture = found.get("thumbnail")
    own = isinstance(picture, str) and picture.endswith(THUMBNAIL)
    has_study = bool(start.get("STUDIES"))
    yield Item(
        "a thumbnail", bool(picture) and (not own or THUMBNAIL in names),
        "the program makes none next to a study; name one in README.md" if has_study else again, optional=has_study,
    )  # fmt: skip
    for name in models:
        yield from _of_shown_model(name, found, again)


def _of_shown_model(name: str, front: Mapping[str, Any], again: str) -> Iterator[Item]:
    """Yield the items of a model repository that a Space shows."""
    try:
        source = HubSource(name)
        infos = source.list()
    except CheckpointError as error:
        yield Item(f"the checkpoints of {name}", False, str(error))
        return
    repo_id = source.spec.repo_id
    yield Item(f"{repo_id} among its models", repo_id in listed(front.get("models")), again)
    if not infos:
        yield Item(f"the checkpoints of {name}", False, "none can be read")
    elif source.repository.is_open():
        entry = preload_entry(source.repository, infos[0].commit_sha)
        what = f"preload_from_hub of {repo_id}, {infos[0].tag}"
        yield Item(what, entry in listed(front.get("preload_from_hub")), again)


def _command(repo_id: str, sources: Collection[str], start: Mapping[str, Any]) -> str:
    """Return the command that brings a Space up to date; folders, which it doesn't know, are named RUN and STUDY."""
    words = ["python", "-m", "hub", "space", repo_id, "--checkpoints"]
    words += ["RUN" if source.startswith("demo/") else source for source in sources]
    words += ["--study", "STUDY"] if start.get("STUDIES") else []
    words += ["--votes", start["VOTES"]] if isinstance(start.get("VOTES"), str) else []
    return shlex.join(words)
