"""The model card: what a reader of the repository's page sees, and what the Hub's search uses.

Each epoch updates our keys of the front matter and the generated block; see `hub.readme` for what is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from huggingface_hub.repocard import REGEX_YAML_BLOCK

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.evaluation.scores.report import Report
from hub.card.metadata import merged, own_metadata
from hub.card.names import known_repo, start_of
from hub.card.scores import scored_ways
from hub.card.sections import block
from hub.card.widget import widget_examples
from hub.readme import edited_front_matter, front_matter, front_matter_text, with_block


def make_card(
    repo_id: str,
    info: CheckpointInfo,
    epochs: Sequence[Mapping[str, Any]],
    *,
    files: Collection[str],
    pictures: Mapping[str, Any] | None = None,
    started_from: Mapping[str, Any] | None = None,
    imported_from: Any = None,
    license: str | None = None,
    existing: str | None = None,
    studies: Sequence[Mapping[str, Any]] = (),
    scores: Sequence[Report] = (),
) -> str:
    """Return the text of README.md.

    Args:
        repo_id: USER/NAME.
        info: the epoch whose files are at the repository's root, with its config.
        epochs: entries of `hub.layout.index_entry` of all published epochs, in any order.
        files: paths in the repository; only pictures among them are shown.
        pictures: their number by part, as in checkpoint.json: train_a, train_b.
        started_from: the checkpoint that the run started from, as in checkpoint.json; None for random weights.
        imported_from: the repository of imported weights, as in checkpoint.json; None for a folder's files.
        license: of the weights, as the Hub spells it; None keeps that of the card.
        existing: the present README.md, with its own line endings.
        studies: entries of `hub.layout.read_study`: people's judgements of the epochs.
        scores: files of scores, checked; of their epochs, only those in `epochs` count.
    """
    existing = existing if existing and existing.strip() else ""
    newline = "\r\n" if 0 < existing.count("\n") == existing.count("\r\n") else "\n"
    mark = "\ufeff" if existing.startswith("\ufeff") else ""
    text = existing.removeprefix(mark)
    match = REGEX_YAML_BLOCK.match(text)
    front, body = (match[0], text[match.end() :]) if match else ("", text)
    base, scored = start_of(started_from), scored_ways(scores, {info.epoch, *(entry["epoch"] for entry in epochs)})
    examples = widget_examples(repo_id, info, files)
    imported_from = known_repo(imported_from)
    own = own_metadata(repo_id, info, license, studies, base, scored, imported_from, examples)
    front, values = _updated_front(front, own, repo_id, newline)
    made = block(repo_id, info, epochs, files, pictures, license, values, studies, base, scored, imported_from)
    made = made.replace("\n", newline)
    replaced = with_block(body, made)
    return mark + (_below(front + body, made, newline) if replaced is None else front + replaced)


def _updated_front(
    front: str, own: Mapping[str, Any], repo_id: str, newline: str
) -> tuple[str, Mapping[str, Any] | None]:
    """Return the front matter brought up to date, and its values; as it is and None if it isn't valid."""
    if not front:
        return f"---{newline}{front_matter_text(own, newline)}---{newline}{newline}", own
    match = REGEX_YAML_BLOCK.match(front)
    text = match[2] + newline
    values = front_matter(text)
    if values is None:
        return front, None
    wanted = merged(values, own, repo_id)
    if wanted == values:
        return front, values
    text = edited_front_matter(text, wanted, newline)
    return match[1] + text.removesuffix("\n").removesuffix("\r") + match[3], wanted


def _below(above: str, made: str, newline: str) -> str:
    """Return the block below a text, after an empty line."""
    ends = above.replace("\r\n", "\n")
    gap = newline * max(0, 2 - (len(ends) - len(ends.rstrip("\n"))))
    return above + gap + made + newline
