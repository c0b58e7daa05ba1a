"""A Space of the Hub that runs the app with some checkpoints.

    space.py             the start: the app, with these checkpoints
    app.py  cyclegan/  hub/     the modules that app.py imports, directly or not; all styles, scripts and catalogues
    requirements.txt     what those modules import; gradio comes by `sdk_version` of the README
    demo/NAME/           local runs: checkpoints, examples and scores, nothing else of their folders
    demo/thumbnail.jpg   a sample of the newest epoch; none with studies, whose pictures it could be one of
    studies/NAME/        studies: study.json, stimuli and secret, no votes; in a private Space only, because it reveals
                         fakes
    LICENSE
    README.md            front matter and text; a person's changes are kept

Epochs of a model repository are not copied: the app loads them from the Hub, and the newest is fetched as the Space is
built (`preload_from_hub`). With `votes`, the studies are put into
that private data set instead, and the Space fetches them as it starts. All other files in a Space are a person's and
are kept.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from huggingface_hub.repocard import REGEX_YAML_BLOCK

from cyclegan import __version__
from cyclegan.checkpoints.sources import CheckpointSource, LocalSource
from cyclegan.errors import CheckpointError, Message, UserError, message
from cyclegan.evaluation.thumbnail import thumbnail
from cyclegan.study.format import SECRET, Study, find_studies
from hub import HubError, open_source
from hub.client import Repository, as_the_branch_moves
from hub.layout import CHECKPOINT_FILES, DISCRIMINATORS, new_scores, scores_in
from hub.modules import PACKAGES, ROOT, data_files, reached_modules, requirements
from hub.readme import BEGIN, END, edited_front_matter, escaped, front_matter, with_block
from hub.source import HubSource, parse_spec
from hub.studies.votes_dataset import put_study

OWN_FOLDERS = (*(f"{name}/" for name in PACKAGES), "demo/", "studies/")
"""These hold nothing of a person's: files that are no longer needed are deleted."""
MCP = ("gradio", "mcp")
"""gradio's extra, which `sdk_version` can't name."""
SHOWN = re.compile(
    r"(config|checkpoint)\.json|gen_(ab|ba)\.safetensors|samples/(ab|ba)\.png|examples/[\w-]{1,100}\.(png|tif)",
    re.ASCII,
)
"""The files of an epoch's commit that the app downloads."""
THUMBNAIL = "demo/thumbnail.jpg"
TAG = "mcp-server"
"""Lists a Space among those that offer tools by MCP, as the app does."""
PYTHON = "3.12"
"""ZeroGPU offers this one and 3.10."""
MAX_BYTES = 1_000_000_000
"""The most that the Hub allows in a Space's repository without a paid plan."""
NOT_IN_SPACES = ("cyclegan.study.make", "cyclegan.evaluation.dataset")
"""Modules that only the owner's own computer needs: a Space plays studies and doesn't build them."""
REQUIREMENTS = "Written by `python -m hub space`, which overwrites it. gradio comes by sdk_version in README.md."
UNTOUCHED = "Check out the configuration reference at https://huggingface.co/docs/hub/spaces-config-reference"
"""The text of a README.md that the Hub makes with a new Space."""
START = '''\
"""Starts the app with this Space's checkpoints. Written by `python -m hub space`, which overwrites it."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKPOINTS = {checkpoints}
{study_names}HOST, PORT = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"), os.environ.get("GRADIO_SERVER_PORT", "7860")

if __name__ == "__main__":
    os.chdir(HERE)  # Folders among the checkpoints are relative to it.
    sys.path.insert(0, str(HERE))  # Python's option -P leaves it out.
    arguments = ["--checkpoints", *CHECKPOINTS, "--host", HOST, "--port", PORT]
{study_lines}    import app

    app.leave(app.main(arguments))
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
    """Make a Space that runs the app with these checkpoints, or bring it up to date; return its address.

    All changes are one commit, which also deletes old files of ours that are no longer needed; without changes there is
    no commit. The README keeps a person's text and front matter.

    Args:
        repo_id: USER/NAME, or ORGANIZATION/NAME.
        checkpoints: as `space_files`.
        studies: folders of studies that people take part in there.
        votes: private data set of the Hub, USER/NAME, for the studies and their votes; created if it is missing.
            Without it, the studies are in the Space, which has to be private, and votes are lost with its disk.
        private: create it as private; refuse an existing public one.
        endpoint: address of the Hub; None for HF_ENDPOINT or huggingface.co.
        token: None for HF_TOKEN or the one that `hf auth login` saved.
        say: gets sentences for the person who watches.

    Raises:
        CheckpointError: a source is missing, or holds no readable checkpoint; nothing was sent.
        StudyError: a folder holds no study.
        HubError: the Hub can't be reached or refuses, or the Space isn't one of this app; or it is public, and would
            reveal which pictures of a study are real.
    """
    repository = Repository(repo_id, repo_type="space", endpoint=endpoint, token=token)
    sources = _open(checkpoints)
    played = find_studies(studies)
    if votes and not played:
        raise HubError("--votes needs a study", remedy=message("name one with --study, or leave out --votes"))
    if played and not votes and not private and _is_open(repository):
        raise HubError(
            "{repo_id} is public, and study.json reveals which pictures are real", repo_id=repo_id,
            remedy=message("name a private data set for it with --votes USER/NAME, or make the Space private"),
        )
    models = _look_at_models(sources, endpoint, token)
    picture = None if played else thumbnail(models.samples or _local_samples(sources))
    files = _files(repo_id, sources, played, votes, picture)
    for sentence in (*models.warnings, *_check_size(files)):
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
    changed = as_the_branch_moves(lambda: _commit(repository, files, sources, played, models.preload))
    if not changed:
        say("nothing to do: the Space is up to date")
    for sentence in _to_set(played, votes):
        say(sentence)
    return repository.url


def _is_open(repository: Repository) -> bool:
    """Return True if everyone can see the Space, or could once it is made."""
    try:
        return not repository.is_private()
    except HubError as error:
        if error.status not in (401, 404):
            raise
        return True


def _to_set(studies: Sequence[Study], votes: str | None) -> Iterator[str]:
    """Yield a sentence for each thing that the Space's owner has to do."""
    if votes:
        yield f"in the Space's settings, add a secret HF_TOKEN that may write to the data set {votes}"
    elif studies:
        yield (
            "warning: without --votes USER/NAME, a private data set, people's answers are lost whenever the Space "
            "restarts"
        )
    if studies:
        yield "to see the results on the Space's page, add a secret STUDY_KEY there: a word that only you know"


def space_files(
    repo_id: str, checkpoints: Sequence[str], *, studies: Sequence[str | Path] = (), votes: str | None = None
) -> dict[str, Path | bytes]:
    """Return the files of a new Space: a file or its content by path.

    Args:
        repo_id: the Space.
        checkpoints: USER/NAME or USER/NAME@REVISION on the Hub, which the Space loads from there; or folders of runs
            or single epochs, which are put into the Space.
        studies: folders of studies, which are put into the Space unless there are `votes`.
        votes: the data set that the Space fetches its studies from, and sends the votes to.

    Raises:
        CheckpointError: a source is missing, or a folder holds no readable checkpoint.
        StudyError: a folder holds no study.
        HubError: gradio is not installed here.
    """
    sources, played = _open(checkpoints), find_studies(studies)
    return _files(repo_id, sources, played, votes, None if played else thumbnail(_local_samples(sources)))


# --- the checkpoints ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """One of the sources that the Space shows."""

    name: str
    """Its name in space.py: demo/NAME, or USER/NAME@REVISION."""
    model: str | None
    """The model repository; None for a local run."""
    files: Mapping[str, Path | bytes]
    """The files of a local run that are put into the Space, by path."""
    epochs: int = 0
    problems: Sequence[Message | UserError] = ()
    """The parts of a local run that are left out."""


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
        raise _unreadable(source)
    plain = re.sub(r"[^\w.-]+", "-", source.name).strip(".-") or "run"
    name, number = f"demo/{plain}", 1
    while name in taken:
        name, number = f"demo/{plain}-{number + 1}", number + 1
    folders = [source.path(info.epoch) for info in infos]
    patterns = [pattern for pattern in CHECKPOINT_FILES if pattern != DISCRIMINATORS]  # The app never loads those.
    paths = [path for folder in folders for pattern in patterns for path in folder.glob(pattern)]
    files: dict[str, Path | bytes] = {
        f"{name}/{path.relative_to(source.folder).as_posix()}": path for path in [*paths, *source.examples()]
    }
    if not (source.folder / "checkpoint.json").is_file():  # A single epoch's would be another folder's.
        scores = scores_in(source.folder / "scores")
        files |= {f"{name}/{path}": content for path, content in new_scores(scores, {}).items()}
    return _Source(name, None, files, len(infos), tuple(source.problems))


def _unreadable(source: CheckpointSource) -> CheckpointError:
    problems = source.problems[0] if source.problems else message("it is empty")
    return CheckpointError(
        "{source} holds no readable checkpoint: {problems}", source=source.name, problems=problems
    )


def _local_samples(sources: Sequence[_Source]) -> list[Path]:
    """Return the sample grids of the first local run's newest epoch."""
    grids = [path for source in sources[:1] for path in source.files.values() if isinstance(path, Path)
             and path.parent.name == "samples"]  # fmt: skip
    newest = max((path.parent for path in grids), default=None)
    return sorted(path for path in grids if path.parent == newest)


@dataclass(frozen=True)
class _Models:
    """The model repositories of a Space, as they are on the Hub."""

    preload: list[str]
    """Entries of `preload_from_hub`."""
    samples: list[Path]
    """The newest epoch's sample grids, if the Space shows a repository first."""
    warnings: list[str]


def _look_at_models(sources: Sequence[_Source], endpoint: str | None, token: str | None) -> _Models:
    """Make sure that each model repository holds a checkpoint, and return what the Space needs of them."""
    found = _Models([], [], [])
    for source in sources:
        if source.model is None:
            continue
        there = HubSource(source.name, endpoint=endpoint, token=token)
        if not (infos := there.list()):
            raise _unreadable(there)
        if there.repository.is_private():
            found.warnings.append(
                f"{source.model} is private: in the Space's settings, add a secret HF_TOKEN that may read it; then all "
                "who see the Space can use it, and the Space's README shows its name"
            )
        if there.repository.is_open():  # A Space is built without its secrets.
            found.preload.append(preload_entry(there.repository, infos[0].commit_sha))
        if source is sources[0]:
            with contextlib.suppress(CheckpointError):  # Too large: the Space only has no thumbnail.
                found.samples.extend(there.samples(infos[0].epoch))
    return found


def preload_entry(repository: Repository, sha: str) -> str:
    """Return the entry of `preload_from_hub` for all that the app shows of an epoch: `USER/NAME FILE,FILE COMMIT`.

    Raises:
        HubError: no answer.
    """
    names = [name for name in repository.files(sha) if SHOWN.fullmatch(name)]
    return f"{repository.repo_id} {','.join(sorted(names))} {sha}"


def _check_size(files: Mapping[str, Path | bytes]) -> Iterator[str]:
    size = sum(content.stat().st_size for content in files.values() if isinstance(content, Path))
    if size > MAX_BYTES:
        yield (
            f"these checkpoints have {size / 1e9:.1f} GB, and the Hub may refuse a Space of more than "
            f"{MAX_BYTES / 1e9:.0f} GB; publish the run with `python -m hub push`, then name USER/NAME here"
        )


# --- the files ----------------------------------------------------------------------------------------------


def _files(
    repo_id: str, sources: Sequence[_Source], studies: Sequence[Study] = (), votes: str | None = None,
    picture: bytes | None = None,
) -> dict[str, Path | bytes]:
    also = ("hub.studies.votes_dataset",) if votes else ()  # space.py imports it.
    modules = reached_modules(("app", *also), NOT_IN_SPACES)
    names = {f"studies/{study.name}": study.study_id for study in studies}
    start = START.format(
        checkpoints=[source.name for source in sources],
        study_names="".join([f"STUDIES = {names}\n" if names else "", f"VOTES = {votes!r}\n" if votes else ""]),
        study_lines=VOTES_LINES if votes else STUDY_LINES if names else "",
    )
    files: dict[str, Path | bytes] = {
        "README.md": _readme(repo_id, sources, studies=studies, has_picture=picture is not None).encode(),
        "LICENSE": ROOT / "LICENSE",
        "requirements.txt": requirements(modules, REQUIREMENTS, MCP).encode(),
        "space.py": start.encode(),
    }
    files |= {path.relative_to(ROOT).as_posix(): path for path in (*modules, *data_files())}
    files |= {} if picture is None else {THUMBNAIL: picture}
    for source in sources:
        files |= source.files
    for study in [] if votes else studies:
        files[f"studies/{study.name}/study.json"] = study.folder / "study.json"
        if secret := study.draw_key:
            files[f"studies/{study.name}/{SECRET}"] = secret.encode()
        files |= {f"studies/{study.name}/stimuli/{sha}.png": study.stimulus_path(sha) for sha in study.by_hash}
    return dict(sorted(files.items()))


# --- the README ---------------------------------------------------------------------------------------------


def _readme(
    repo_id: str, sources: Sequence[_Source], existing: str | None = None, *, studies: Sequence[Study] = (),
    preload: Sequence[str] | None = None, has_picture: bool = False,
) -> str:
    """Return README.md: the existing one brought up to date, or a new one.

    Args:
        existing: its present text.
        preload: entries of `preload_from_hub` for the models; None leaves those that are there.
        has_picture: the Space has a thumbnail of ours.

    Raises:
        HubError: the existing one is of another kind of Space, or its front matter isn't valid.
    """
    models = list(dict.fromkeys(source.model for source in sources if source.model))
    needed: dict[str, Any] = {"sdk": "gradio", "sdk_version": _gradio_version(), "app_file": "space.py"}
    needed |= {"models": models} if models else {}
    needed |= {"hf_oauth": True} if any(study.protocol.login == "huggingface" for study in studies) else {}
    own_picture = f"https://huggingface.co/spaces/{repo_id}/resolve/main/{THUMBNAIL}"
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
    data = front_matter(front)
    if data is None:
        raise HubError(
            "the front matter of README.md in the Space {repo_id} isn't valid YAML", repo_id=repo_id,
            remedy=message("fix it there first"),
        )
    if data.get("sdk", "gradio") != "gradio":
        raise HubError(
            "{repo_id} is a Space of the kind {kind}", repo_id=repo_id, kind=data["sdk"],
            remedy=message("choose another USER/NAME"),
        )
    needed["tags"] = list(dict.fromkeys([*listed(data.get("tags")), TAG]))
    others = [one for one in listed(data.get("preload_from_hub")) if one.split(" ")[0] not in
              {*models, *listed(data.get("models"))}]  # fmt: skip
    needed |= {} if preload is None else {"preload_from_hub": [*preload, *others]}
    needed |= {"thumbnail": own_picture} if has_picture and data.get("thumbnail") is None else {}
    untouched = body.strip() in ("", UNTOUCHED)  # Then its values are the Hub's defaults, nobody's choice.
    wanted = {**suggested, **data, "python_version": PYTHON, **needed} if untouched else {**data, **needed}
    if not models:
        wanted.pop("models", None)
    if not wanted.get("preload_from_hub"):
        wanted.pop("preload_from_hub", None)
    if not has_picture and wanted.get("thumbnail") == own_picture:
        del wanted["thumbnail"]
    block = _block(wanted.get("title"), sources, [(study.title, _address(repo_id, study.name)) for study in studies])
    # If a person has removed the block, their text is kept as it is.
    body = f"\n{block}\n" if untouched else with_block(body, block) or body
    return f"---\n{edited_front_matter(front, wanted)}---\n{body}"


def listed(value: Any) -> list[str]:
    """Return the strings of a front matter's list, or its one string; [] for anything else."""
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _address(repo_id: str, study: str) -> str:
    """Return the address of a study's page without the app around it."""
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
            *(["Studies in which people judge how real its pictures look:", ""] if studies else []),
            *(f"- [{escaped(' '.join(name.split()))}]({address})" for name, address in studies),
            *([""] if studies else []),
            "Made by `python -m hub space` of the CycleGAN workbench. Running that again overwrites the program's",
            "files. It keeps all others, and your changes to this one outside of this block.",
            END,
        ]
    )


def _gradio_version() -> str:
    try:
        return version("gradio")
    except PackageNotFoundError as error:
        raise HubError(
            "gradio is not installed here, so its version for the Space is unknown",
            remedy=message("pip install -r requirements.txt"),
        ) from error


# --- the commit ---------------------------------------------------------------------------------------------


def _commit(
    repository: Repository,
    files: Mapping[str, Path | bytes],
    sources: Sequence[_Source],
    studies: Sequence[Study] = (),
    preload: Sequence[str] = (),
) -> bool:
    """Commit the changes on top of the head; return False if there were none."""
    head = repository.refs().head
    there = set(repository.files(head)) if head else set()
    existing = repository.text(head, "README.md") if head else None
    readme = _readme(
        repository.repo_id, sources, existing, studies=studies, preload=preload, has_picture=THUMBNAIL in files
    )
    if "app.py" in there and "space.py" not in there:
        raise HubError(
            "{repo_id} holds another app", repo_id=repository.repo_id,
            remedy=message("choose another USER/NAME, or delete its app.py first"),
        )
    stale = sorted(path for path in there - files.keys() if path.startswith(OWN_FOLDERS))
    # The client omits files that haven't changed, and makes no commit without any.
    title = f"CycleGAN workbench {__version__}"
    return repository.commit({**files, "README.md": readme.encode()}, title, parent=head, delete=stale) != head
