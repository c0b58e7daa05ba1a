"""`python -m hub endpoint`: the files with which an Inference Endpoint of Hugging Face translates.

    handler.py           the service imports its EndpointHandler
    requirements.txt     what the code imports; the service installs it
    code.zip             the part of this program that translates

They are at the root, because an endpoint downloads one commit and nothing else. Later epochs keep them.
"""

from __future__ import annotations

from collections.abc import Callable

from cyclegan.errors import message
from hub.client import Repository, as_the_branch_moves
from hub.errors import HubError
from hub.modules import reached_modules, requirements, zipped
from hub.renew import published_root

MARK = "Written by `python -m hub endpoint`, which overwrites it."
FILES = ("handler.py", "requirements.txt", "code.zip")
HANDLER = f'''"""Translates pictures for a Hugging Face Inference Endpoint. {MARK}"""

import sys
import tempfile
import zipfile
from pathlib import Path

CODE = tempfile.mkdtemp(prefix="cyclegan-")
with zipfile.ZipFile(Path(__file__).resolve().parent / "code.zip") as archive:
    archive.extractall(CODE)
sys.path.insert(0, CODE)

from cyclegan.translation.endpoint import EndpointHandler  # noqa: E402, F401
'''


def endpoint_files() -> dict[str, bytes]:
    """Return the three files by name; the same program gives the same bytes, so that nothing is sent twice.

    Raises:
        HubError: this isn't a clone of the program.
    """
    modules = reached_modules(("cyclegan.translation.endpoint",))
    return {
        "handler.py": HANDLER.encode(),
        "requirements.txt": requirements(modules, MARK).encode(),
        "code.zip": zipped(sorted(modules)),
    }


def publish_endpoint(repository: Repository, *, say: Callable[[str], None] = print) -> None:
    """Put the files for an endpoint next to a published run's checkpoint: one commit, none without a change.

    Args:
        repository: holds a run.
        say: gets sentences.

    Raises:
        CheckpointError: its root holds no readable checkpoint.
        HubError: its pictures aren't 8-bit RGB, it has such files of a person's, or the Hub can't be reached or
            refuses.
    """
    files = endpoint_files()

    def commit() -> bool:
        refs = repository.refs()
        info, _, names = published_root(repository, refs)
        if not info.config.data.plain:
            raise HubError(
                "the pictures of {repo_id} aren't 8-bit RGB, and an endpoint sends no others",
                repo_id=repository.repo_id, remedy=message("translate with `python -m cyclegan translate`"),
            )
        foreign = [name for name in FILES[:2] if name in names and MARK not in (repository.text(refs.head, name) or "")]
        if foreign:
            raise HubError(
                "{repo_id} has its own {names}", repo_id=repository.repo_id, names=" and ".join(foreign),
                remedy=message("delete that first, if an endpoint shall use this program"),
            )
        return repository.commit(files, "Handler for Inference Endpoints", parent=refs.head) != refs.head

    if as_the_branch_moves(commit):
        say(f"handler.py, requirements.txt and code.zip are at {repository.url}")
    else:
        say(f"nothing to do: {repository.url} has these files")
    say("choose the framework Custom for the endpoint, so that it downloads the weights")
