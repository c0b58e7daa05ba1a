"""A Space of the Hub that runs the app with some checkpoints.

    space.py             what the Space starts: the app, with these checkpoints
    app.py  cyclegan/  hub/     the modules that app.py reaches by its imports, and the styles and scripts beside them
    requirements.txt     what those modules import; gradio comes by `sdk_version` of the README
    demo/NAME/           local runs: checkpoints and examples, nothing else of their folders
    studies/NAME/        studies: study.json and stimuli, no votes; in a private Space only: it tells real from fake
    LICENSE
    README.md            front matter and text; what a person changes there is kept

Epochs of a model repository are not copied: the app loads them from the Hub. With `votes`, the studies are put into
that private data set instead, and the Space fetches them as it starts. What else is in a Space is a person's and stays
as it is.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.utils import yaml_dump

from cyclegan import __version__
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import CheckpointError
from cyclegan.study.format import Study, find_studies
from hub import HubError, open_source
from hub.card import BEGIN, END
from hub.client import Repository, as_the_branch_moves
from hub.layout import CHECKPOINT_FILES
from hub.source import HubSource, parse_spec
from hub.studies.votes_dataset import put_study

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cyclegan", "hub")
OWN_FOLDERS = (*(f"{name}/" for name in PACKAGES), "demo/", "studies/")
"""In these nothing is a person's: what is no longer needed is deleted."""
BESIDE = ("*.css", "*.html", "*.js")
DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image", "yaml": "pyyaml"}
"""Names to install by, where they differ from the names to import by."""
COMPANIONS = {"authlib": ("httpx", "itsdangerous")}
"""What a library needs for the use that is made of it here, and does not install by itself."""
PYTHON = "3.12"
"""ZeroGPU has this one and 3.10."""
MAX_BYTES = 1_000_000_000
"""What the Hub lets a Space's repository hold, paid plans aside."""
UNTOUCHED = "Check out the configuration reference at https://huggingface.co/docs/hub/spaces-config-reference"
"""The text of a README.md that the Hub makes with a new Space."""
START = '''\
"""Starts the app with this Space's checkpoints. Written by `python -m hub space`, every time anew."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKPOINTS = {checkpoints}
{study_names}HOST, PORT = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"), os.environ.get("GRADIO_SERVER_PORT", "7860")

if __name__ == "__main__":
    os.chdir(HERE)  # Folders among the checkpoints are named from here.
    sys.path.insert(0, str(HERE))  # Not there by itself where Python is told to be careful (-P).
    arguments = ["--checkpoints", *CHECKPOINTS, "--host", HOST, "--port", PORT]
{study_lines}    import app

    sys.exit(app.main(arguments))
'''

STUDY_LINES = '''\
    arguments += ["--studies", *STUDIES]
'''
VOTES_LINES = '''\
    from hub import HubError
    from hub.studies.votes_dataset import fetch_study

    try:
        for folder, study_id in STUDIES.items():
            fetch_study(VOTES, study_id, folder)
    except HubError as error:
        sys.exit(f"error: {error}")
    arguments += ["--studies", *STUDIES, "--votes", VOTES]
'''


def publish_space(
    repo_id: str,
    checkpoints: Sequence[str],
    *,
    studies: Sequence[str | Path] = (),
    votes: str | None = None,
    private: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
    say: Callable[[str], None] = print,
) -> str:
    """Make a Space that runs the app with these checkpoints, or bring it up to date; its address.

    Files that this wrote before and that are no longer needed are deleted, all in one commit; there is none if
    nothing has changed. The README keeps a person's text and front matter.

    Args:
        repo_id: USER/NAME, or ORGANIZATION/NAME.
        checkpoints: as `space_files`.
        studies: folders of studies that people take part in there.
        votes: private data set of the Hub, USER/NAME, where the studies are put and their votes go; made if there is
            none. Without it, the studies lie in the Space, which has to be private, and votes go with its disk.
        private: make it private if it has to be made; refuse one that is public.
        endpoint: address of the Hub; None for HF_ENDPOINT or huggingface.co.
        token: None for HF_TOKEN or the one that `hf auth login` saved.
        say: is given sentences on what a person should know.

    Raises:
        CheckpointError: a source is not there, or holds no readable checkpoint; nothing was sent.
        StudyError: a folder holds no study.
        HubError: the Hub can't be reached or refuses, or the Space is not one of this app; or it is public, and would
            lay open what is real in a study.
    """
    repository = Repository(repo_id, repo_type="space", endpoint=endpoint, token=token)
    sources = _open(checkpoints)
    played = find_studies(studies)
    if votes and not played:
        raise HubError("votes are taken in a study: name one with --study, or leave out --votes")
    files = _files(repo_id, sources, played, votes)
    if played and not votes and not private and _is_open(repository):
        raise HubError(
            "{repo_id} is public, and study.json tells real from fake: name a private data set with --votes "
            "USER/NAME to keep the study in, or make the Space private",
            repo_id=repo_id,
        )
    for sentence in (*_check_models(sources, endpoint, token), *_check_size(files)):
        say(f"warning: {sentence}")
    for source in sources:
        for problem in source.problems:
            say(f"warning: left out: {problem}")
    if votes:
        data = Repository(votes, repo_type="dataset", endpoint=endpoint, token=token)
        data.make(private=True)
        for study in played:
            put_study(data, study)
    repository.make(private=private, space_sdk="gradio")
    changed = as_the_branch_moves(lambda: _commit(repository, files, sources, played))
    if not changed:
        say("nothing to do: the Space is up to date")
    for sentence in _to_set(played, votes):
        say(sentence)
    return repository.url


def _is_open(repository: Repository) -> bool:
    """Whether everyone can see the Space, or could once it is made."""
    try:
        return not repository.is_private()
    except HubError as error:
        if error.status not in (401, 404):
            raise
        return True


def _to_set(studies: Sequence[Study], votes: str | None) -> Iterator[str]:
    """What the Space's owner has to see to, a sentence each."""
    if votes:
        yield f"in the Space's settings, add a secret HF_TOKEN that may write to the data set {votes}"
    elif studies:
        yield (
            "warning: without --votes, what people answer is lost whenever the Space restarts; name a private data set "
            "USER/NAME with it"
        )
    if studies:
        yield "to see the results on the Space's page, add a secret STUDY_KEY there: a word that only you know"




def space_files(
    repo_id: str, checkpoints: Sequence[str], *, studies: Sequence[str | Path] = (), votes: str | None = None
) -> dict[str, Path | bytes]:
    """What a new Space is made of: by path in it, a file or its content.

    Args:
        repo_id: the Space.
        checkpoints: USER/NAME or USER/NAME@REVISION on the Hub, which are only named; or folders of runs or single
            epochs, which are put into the Space.
        studies: folders of studies, which are put into the Space unless there are `votes`.
        votes: the data set that the Space fetches its studies from, and sends the votes to.

    Raises:
        CheckpointError: a source is not there, or a folder holds no readable checkpoint.
        StudyError: a folder holds no study.
        HubError: gradio is not installed here.
    """
    return _files(repo_id, _open(checkpoints), find_studies(studies), votes)


# --- the checkpoints ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """One of the sources that the Space shows."""

    name: str
    """How space.py names it: demo/NAME, or USER/NAME@REVISION."""
    model: str | None
    """The model repository; None for a local run."""
    files: Mapping[str, Path]
    """What is put into the Space of a local run."""
    epochs: int = 0
    problems: Sequence[str] = ()
    """What is left out of a local run, one sentence each."""


def _open(checkpoints: Sequence[str]) -> list[_Source]:
    found: list[_Source] = []
    for text in dict.fromkeys(map(str, checkpoints)):
        source = open_source(text)
        if isinstance(source, LocalSource):
            found.append(_local(source, {known.name for known in found}))
        else:
            found.append(_Source(text, parse_spec(text).repo_id, {}))
    if not found:
        raise CheckpointError("a Space needs checkpoints to show: name a run's folder, or USER/NAME on the Hub")
    return found


def _local(source: LocalSource, taken: set[str]) -> _Source:
    infos = source.list()
    if not infos:
        raise CheckpointError(
            "{source} holds no readable checkpoint: {problems}",
            source=source.name, problems=' '.join(source.problems),
        )
    plain = re.sub(r"[^\w.-]+", "-", source.name).strip(".-") or "run"
    name, number = f"demo/{plain}", 1
    while name in taken:
        name, number = f"demo/{plain}-{number + 1}", number + 1
    folders = [source.path(info.epoch) for info in infos]
    paths = [path for folder in folders for pattern in CHECKPOINT_FILES for path in folder.glob(pattern)]
    files = {f"{name}/{path.relative_to(source.folder).as_posix()}": path for path in [*paths, *source.examples()]}
    return _Source(name, None, files, len(infos), tuple(source.problems))


def _check_models(sources: Sequence[_Source], endpoint: str | None, token: str | None) -> Iterator[str]:
    """Make sure that each model repository holds a checkpoint; a sentence for each that the Space may not read."""
    for source in sources:
        if source.model is None:
            continue
        there = HubSource(source.name, endpoint=endpoint, token=token)
        if not there.list():
            raise CheckpointError(
                "{source} holds no readable checkpoint: {problems}",
                source=source.name, problems=' '.join(there.problems),
            )
        if there.repository.is_private():
            yield (
                f"{source.model} is private: in the Space's settings, add a secret HF_TOKEN that may read it; then all "
                "who may see the Space can use it, and its name stands in the Space's README"
            )


def _check_size(files: Mapping[str, Path | bytes]) -> Iterator[str]:
    size = sum(content.stat().st_size for content in files.values() if isinstance(content, Path))
    if size > MAX_BYTES:
        yield (
            f"these checkpoints have {size / 1e9:.1f} GB, and the Hub may refuse a Space of more than "
            f"{MAX_BYTES / 1e9:.0f} GB; publish the run with `python -m hub push`, then name USER/NAME here"
        )


# --- the files ----------------------------------------------------------------------------------------------


def _files(
    repo_id: str, sources: Sequence[_Source], studies: Sequence[Study] = (), votes: str | None = None
) -> dict[str, Path | bytes]:
    modules = _modules("hub.studies.votes_dataset" if votes else "app")
    names = {f"studies/{study.name}": study.study_id for study in studies}
    start = START.format(
        checkpoints=[source.name for source in sources],
        study_names="".join([f"STUDIES = {names}\n" if names else "", f"VOTES = {votes!r}\n" if votes else ""]),
        study_lines=VOTES_LINES if votes else STUDY_LINES if names else "",
    )
    files: dict[str, Path | bytes] = {
        "README.md": _readme(repo_id, sources, studies=studies).encode(),
        "LICENSE": ROOT / "LICENSE",
        "requirements.txt": _requirements(modules).encode(),
        "space.py": start.encode(),
    }
    for path in modules:
        beside = [] if path.parent == ROOT else [found for glob in BESIDE for found in path.parent.glob(glob)]
        files |= {found.relative_to(ROOT).as_posix(): found for found in (path, *beside)}
    for source in sources:
        files |= source.files
    for study in [] if votes else studies:
        files[f"studies/{study.name}/study.json"] = study.folder / "study.json"
        files |= {f"studies/{study.name}/stimuli/{sha}.png": study.stimulus_path(sha) for sha in study.by_hash}
    return dict(sorted(files.items()))


@functools.cache
def _modules(also: str = "app") -> dict[Path, set[str]]:
    """app.py and every module of ours that it reaches by imports, those within functions too; what each imports.

    Args:
        also: a module that space.py imports besides.
    """
    reached: dict[Path, set[str]] = {}
    queue = [ROOT / "app.py", ROOT.joinpath(*also.split(".")).with_suffix(".py")]
    while queue:
        path = queue.pop()
        if path in reached:
            continue
        reached[path] = set(_imports(ast.parse(path.read_text(encoding="utf-8"))))
        for name in reached[path]:
            parts = name.split(".")
            if parts[0] not in PACKAGES:
                continue
            for depth in range(1, len(parts) + 1):
                module = ROOT.joinpath(*parts[:depth])
                queue += [p for p in (module.with_suffix(".py"), module / "__init__.py") if p.is_file()]
    return reached


def _imports(node: ast.AST) -> Iterator[str]:
    """Full names of what is imported; under `if TYPE_CHECKING` nothing is."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif not (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from _imports(child)


def _requirements(modules: Mapping[Path, set[str]]) -> str:
    """The lines of requirements.txt that are for what the modules import."""
    imported = {name.split(".")[0] for names in modules.values() for name in names} - {"gradio"}
    imported |= {other for name in imported for other in COMPANIONS.get(name, ())}
    needed = {DISTRIBUTIONS.get(name, name).replace("_", "-").lower() for name in imported}
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if (match := re.match(r"[\w.-]+", line)) and match[0].lower() in needed]
    head = "# Written by `python -m hub space`, every time anew. The Space brings gradio, by sdk_version in README.md."
    return "\n".join([head, *kept, ""])


# --- the README ---------------------------------------------------------------------------------------------


def _readme(
    repo_id: str, sources: Sequence[_Source], existing: str | None = None, *, studies: Sequence[Study] = ()
) -> str:
    """README.md: the one that is there, brought up to date; without one, a new one.

    Raises:
        HubError: the existing one is of another kind of Space, or can't be understood.
    """
    models = list(dict.fromkeys(source.model for source in sources if source.model))
    needed: dict[str, Any] = {"sdk": "gradio", "sdk_version": _gradio_version(), "app_file": "space.py"}
    needed |= {"models": models} if models else {}
    needed |= {"hf_oauth": True} if any(study.protocol.login == "huggingface" for study in studies) else {}
    suggested: dict[str, Any] = {
        "title": re.sub(r"[-_]+", " ", repo_id.split("/")[1]).strip(),
        "emoji": "🔁",
        "colorFrom": "green",
        "colorTo": "gray",
        "short_description": "Translate pictures with CycleGAN, and bring them back",
    }
    text = (existing or "").removeprefix("\ufeff")
    match = REGEX_YAML_BLOCK.match(text)
    front, body = (f"{match[2]}\n", text[match.end() :]) if match else ("", text)
    data = _parsed(front, repo_id)
    if data.get("sdk", "gradio") != "gradio":
        raise HubError(
            "{repo_id} is a Space of the kind {data}; choose another USER/NAME",
            repo_id=repo_id, data=data['sdk'],
        )
    untouched = body.strip() in ("", UNTOUCHED)  # Then what the Hub chose is nobody's choice.
    wanted = {**suggested, **data, "python_version": PYTHON, **needed} if untouched else {**data, **needed}
    if not models:
        wanted.pop("models", None)
    block = _block(wanted.get("title"), sources, [(study.title, _address(repo_id, study.name)) for study in studies])
    body = f"\n{block}\n" if untouched else _with_block(body, block)
    return f"---\n{_patched(front, data, wanted)}---\n{body}"


def _parsed(front: str, repo_id: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(front) or {}
    except (yaml.YAMLError, ValueError):
        data = None
    if not isinstance(data, dict):
        raise HubError(
            "the front matter of README.md in the Space {repo_id} is no YAML; mend it there first",
            repo_id=repo_id,
        )
    return data


def _patched(text: str, data: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The YAML `text` of `data`, made to say `wanted`; keys that say it already stay to the letter."""
    for key in {**data, **wanted}:
        if key in wanted and data.get(key) == wanted[key]:
            continue
        new = yaml_dump({key: wanted[key]}, sort_keys=False) if key in wanted else ""
        if key in data:
            line = re.compile(rf"^{re.escape(str(key))}[ \t]*:.*\n(?:[ \t-].*\n)*", re.MULTILINE)
            if not line.search(text):
                break
            text = line.sub(lambda _, new=new: new, text, count=1)
        else:
            text += new
    with contextlib.suppress(yaml.YAMLError):
        if yaml.safe_load(text) == wanted:
            return text
    return yaml_dump(dict(wanted), sort_keys=False)  # It was written in a way that can't be patched, as {sdk: gradio}.


def _with_block(body: str, block: str) -> str:
    """The text with `block` in place of the one in it; as it is, if a person has taken that out."""
    start, end = body.find(BEGIN), body.find(END)
    if 0 <= start < end:
        return body[:start] + block + body[end + len(END) :]
    return body


def _address(repo_id: str, study: str) -> str:
    """Where a study is played, by itself."""
    host = re.sub(r"[^a-z0-9]+", "-", repo_id.lower()).strip("-")
    return f"https://{host}.hf.space/study/{study}"


def _block(title: Any, sources: Sequence[_Source], studies: Sequence[tuple[str, str]] = ()) -> str:
    def line(source: _Source) -> str:
        if source.model is None:
            return f"- `{source.name}`, {source.epochs} epoch{'s' if source.epochs > 1 else ''}, in this repository"
        revision = parse_spec(source.name).revision
        where = f"{source.model}/tree/{revision}" if revision else source.model
        return f"- [{source.name}](https://huggingface.co/{where}), loaded from the Hub"

    return "\n".join(
        [
            BEGIN,
            f"# {title}",
            "",
            "Translates pictures with [CycleGAN](https://arxiv.org/abs/1703.10593), and brings them back. It shows:",
            "",
            *map(line, sources),
            "",
            *(["Studies, in which people tell how real its pictures look:", ""] if studies else []),
            *(f"- [{_plain(name)}]({address})" for name, address in studies),
            *([""] if studies else []),
            "Made by `python -m hub space` of the CycleGAN workbench. Running that again writes the program's files",
            "anew and leaves all others, and what you change in this one outside of this block.",
            END,
        ]
    )


def _plain(title: str) -> str:
    """A study's title as a link's text."""
    return re.sub(r"([\\`*_\[\]<>|~$])", r"\\\1", " ".join(title.split()))


def _gradio_version() -> str:
    try:
        return version("gradio")
    except PackageNotFoundError as error:
        raise HubError(
            "gradio is not installed here, so there is no version to give the Space; pip install -r requirements.txt"
        ) from error


# --- the commit ---------------------------------------------------------------------------------------------


def _commit(
    repository: Repository,
    files: Mapping[str, Path | bytes],
    sources: Sequence[_Source],
    studies: Sequence[Study] = (),
) -> bool:
    """Commit what has changed on top of the head; whether there was anything."""
    head = repository.refs().head
    there = set(repository.files(head)) if head else set()
    existing = repository.text(head, "README.md") if head else None
    readme = _readme(repository.repo_id, sources, existing, studies=studies)
    if "app.py" in there and "space.py" not in there:
        raise HubError(
            "{repo_id} holds another app; choose another USER/NAME, or delete its app.py first",
            repo_id=repository.repo_id,
        )
    stale = sorted(path for path in there - files.keys() if path.startswith(OWN_FOLDERS))
    # The client leaves out files that are there already; of nothing, it makes no commit.
    title = f"CycleGAN workbench {__version__}"
    return repository.commit({**files, "README.md": readme.encode()}, title, parent=head, delete=stale) != head
