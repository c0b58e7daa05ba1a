"""The model card: what a reader of the repository's page sees, and what the Hub's search goes by.

A README.md has three parts, and with every epoch only the last is written anew:

    --- front matter ---    shared: what a person set stays to the letter, our figures are brought up to date
    text                    a person's, above and below the block, kept byte for byte
    BEGIN … END             generated
"""

from __future__ import annotations

import contextlib
import html
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import yaml
from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.utils import yaml_dump

from cyclegan.checkpoints.format import CheckpointConfig, CheckpointInfo, epoch_name
from cyclegan.config import DataConfig, LossConfig, OptimConfig, RunConfig, direction_name
from cyclegan.errors import ConfigError
from hub.layout import index_entry, study_file

BEGIN = "<!-- cyclegan: generated from here; text above and below is yours and is kept -->"
END = "<!-- cyclegan: generated to here -->"
TAGS = ("cyclegan", "gan", "unpaired-image-to-image-translation")
LIBRARY = "cyclegan-workbench"
EPOCHS_SHOWN = 20
"""Rows of the table before the rest is folded in."""
MAX_NAME = 60
FOOLING_RATE = "fooling_rate"
_HUB_ID = re.compile(r"([a-zA-Z0-9][\w.-]*/[\w.-]+)(?::([\w.-]+))?", re.ASCII)
_MARKER_LINE = re.compile(rf"^[ \t]*({re.escape(BEGIN)}|{re.escape(END)})[ \t]*\r?$", re.MULTILINE)
_YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError)
Config = TypeVar("Config", LossConfig, OptimConfig, RunConfig)


class Figure(NamedTuple):
    """A column of the table of epochs."""

    group: str
    """Where an epoch has it: losses or metrics."""
    key: str
    by_domain: bool
    """Whether its name ends in the domain that is put in (a, b) rather than in the direction (ab, ba)."""
    title: str
    digits: int
    meaning: str

    def values(self, entry: Mapping[str, Any], directions: Sequence[str]) -> list[float | None]:
        """What an epoch has of it, for each direction; None where there is nothing to show."""
        figures = entry.get(self.group) or {}
        found = [figures.get(f"{self.key}_{d[0] if self.by_domain else d}") for d in directions]
        return [v if isinstance(v, (int, float)) and math.isfinite(v) else None for v in found]


# The discriminators' accuracy tells whoever trains how the game stands, and nothing of the pictures.
FIGURES = (
    Figure(
        "losses", "cycle", True, "cycle loss", 3,
        "in training, how far pictures brought back are from their originals (0 to 2)",
    ),
    Figure(
        "metrics", "reconstruction_l1", False, "reconstruction L1", 1,
        "how far test pictures brought back are from their originals, in grey levels (0 to 255)",
    ),
    Figure(
        "metrics", "truth_l1", False, "truth L1", 1,
        "how far translations are from the true pictures, in grey levels",
    ),
    Figure(
        "metrics", "change_l1", False, "change L1", 1,
        "how far translations are from their inputs, in grey levels; near 0, nothing is translated",
    ),
    Figure(
        "metrics", "diversity", False, "diversity", 2,
        "how much translations differ from each other, over how much their inputs do; near 0, all look alike",
    ),
)  # fmt: skip
_METRICS = tuple(figure for figure in FIGURES if figure.group == "metrics")


def make_card(
    repo_id: str,
    info: CheckpointInfo,
    epochs: Sequence[Mapping[str, Any]],
    *,
    files: Collection[str],
    pictures: Mapping[str, Any] | None = None,
    license: str | None = None,
    existing: str | None = None,
    studies: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The text of README.md.

    Args:
        repo_id: USER/NAME.
        info: the epoch whose files lie at the repository's root, with its config.
        epochs: entries of `hub.layout.index_entry` of all published epochs, in any order.
        files: paths in the repository; only pictures among them are shown.
        pictures: how many there were, as checkpoint.json has it: train_a, train_b.
        license: of the weights, as the Hub spells it; None keeps what the card says.
        existing: the README.md that is there, with the line endings that it has.
        studies: entries of `hub.layout.read_study`: how people judged the epochs.
    """
    existing = existing if existing and existing.strip() else ""
    newline = "\r\n" if 0 < existing.count("\n") == existing.count("\r\n") else "\n"
    mark = "\ufeff" if existing.startswith("\ufeff") else ""
    text = existing.removeprefix(mark)
    match = REGEX_YAML_BLOCK.match(text)
    front, body = (match[0], text[match.end() :]) if match else ("", text)
    front, data = _front_matter(front, _own_data(repo_id, info, license, studies), repo_id, newline)
    block = _block(repo_id, info, epochs, files, _counts(pictures), _license_line(license, data), studies)
    return mark + _with_block(front, body, block.replace("\n", newline), newline)


# --- where the block goes -----------------------------------------------------------------------------------


def _with_block(front: str, body: str, block: str, newline: str) -> str:
    """The card with `block` in place of the one in `body`, or below it if there is none."""
    spans = _blocks(body)
    if spans:
        for start, end in reversed(spans[1:]):  # One is enough: copies are generated text too.
            body = body[:start] + body[end:]
        start, end = spans[0]
        return front + body[:start] + block + body[end:]
    above = front + body
    ends = above.replace("\r\n", "\n")
    gap = newline * max(0, 2 - (len(ends) - len(ends.rstrip("\n"))))
    return above + gap + block + newline


def _blocks(body: str) -> list[tuple[int, int]]:
    """Where generated blocks begin and end. What a single marker bounds may be a person's, so it is none."""
    found, start = [], None
    for match in _MARKER_LINE.finditer(body):
        if match[1] == BEGIN:
            start = match.start(1)
        elif start is not None:
            found.append((start, match.end(1)))
            start = None
    return found


# --- front matter -------------------------------------------------------------------------------------------


def _own_data(
    repo_id: str, info: CheckpointInfo, license: str | None, studies: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the front matter says by itself."""
    data = info.config.data
    dataset, dataset_config = _hub_dataset(data)
    name = _plain(data.dataset, "unknown")
    ways, entry = _ways(data), index_entry(info)
    results = [
        EvalResult(
            task_type="image-to-image",
            task_name="Image-to-Image",
            dataset_type=dataset or "pictures",
            dataset_name=name,
            dataset_config=dataset_config,
            metric_type=f"{figure.key}_{direction}",
            metric_name=f"{figure.title}, {ways[direction]}",
            metric_value=round(value, 4),
        )
        for direction in info.directions
        for figure in _METRICS
        if (value := figure.values(entry, [direction])[0]) is not None
    ]
    own = ModelCardData(
        pipeline_tag="image-to-image",
        library_name=LIBRARY,
        tags=list(TAGS),
        license=license or None,
        datasets=[dataset] if dataset else None,
        model_name=_model_name(repo_id) if results else None,
        eval_results=results or None,
    ).to_dict()
    if judged := [_study_result(repo_id, study) for study in studies]:
        index = own.setdefault("model-index", [{"name": _model_name(repo_id), "results": []}])
        index[0]["results"] += judged
    return own


def _study_result(repo_id: str, study: Mapping[str, Any]) -> dict[str, Any]:
    """A study's part of the model-index. Not by EvalResult, which keeps one source for all of a data set's figures."""
    about, protocol = study["study"], study["protocol"]
    way, name = _way(about), about["name"]
    metrics = [
        {
            "type": FOOLING_RATE,
            "value": round(row["fooling_rate"], 4),
            "name": f"fooling rate (0 to 1), {way}, epoch {row['epoch']}",
            "args": {
                "study": name,
                "epoch": row["epoch"],
                "revision": row["revision"],
                "protocol": _plain(str(protocol.get("name")), "custom"),
                "participants": row["participants"],
                "trials": row["trials"],
                **({"interval_95": [round(bound, 4) for bound in row["interval"]]} if row.get("interval") else {}),
            },
        }
        for row in study["epochs"]
    ]
    dataset = _plain(str(about.get("dataset") or ""), "unknown")
    match = _HUB_ID.fullmatch(dataset)
    return {
        "task": {"type": "image-to-image", "name": "Image-to-Image"},
        "dataset": {"name": dataset, "type": match[1] if match else "pictures"},
        "metrics": metrics,
        "source": {
            "name": f"study {name}: judged by people",
            "url": f"https://huggingface.co/{repo_id}/blob/main/{study_file(name)}",
        },
    }


def _way(study: Mapping[str, Any]) -> str:
    """`day → night`, of a study; not escaped."""
    domains, direction = study.get("domains"), study.get("direction")
    names = [_plain(str(name), "?") for name in domains] if isinstance(domains, list) and len(domains) == 2 else "AB"
    return direction_name(direction, *names)


def _front_matter(
    front: str, own: Mapping[str, Any], repo_id: str, newline: str
) -> tuple[str, Mapping[str, Any] | None]:
    """The front matter brought up to date, and what it says; one that is no YAML mapping stays, and says None."""
    if not front:
        return f"---{newline}{yaml_dump(dict(own), sort_keys=False, line_break=newline)}---{newline}{newline}", own
    match = REGEX_YAML_BLOCK.match(front)
    text = match[2] + newline
    try:
        data = yaml.safe_load(text)
    except _YAML_ERRORS:
        return front, None
    data = {} if data is None else data
    if not isinstance(data, dict):
        return front, None
    merged = _merged(data, own, repo_id)
    if merged == data:
        return front, data
    text = _rewritten(text, data, merged, newline)
    return match[1] + text.removesuffix("\n").removesuffix("\r") + match[3], merged


def _merged(data: Mapping[str, Any], own: Mapping[str, Any], repo_id: str) -> dict[str, Any]:
    """A person's front matter with ours: what a person chose stays, lists are joined, figures are replaced."""
    merged = dict(data)
    for key, value in own.items():
        there = data.get(key)
        if key == "model-index":
            continue
        if there is None or key == "license":  # Ours has a licence only if it was asked for.
            merged[key] = value
        elif isinstance(value, list) and isinstance(there, (str, list)):
            listed = [there] if isinstance(there, str) else there
            if missing := [item for item in value if item not in listed]:
                merged[key] = [*listed, *missing]
    index = _merged_index(data.get("model-index"), own.get("model-index"), _model_name(repo_id))
    if index:
        merged["model-index"] = index
    else:
        merged.pop("model-index", None)
    return merged


def _merged_index(there: Any, own: list[dict[str, Any]] | None, name: str) -> Any:
    """The model-index with our figures replaced. Others' stay, also under our name, where other programs add them."""
    if there is not None and not isinstance(there, list):
        return there
    results = list(own[0]["results"]) if own else []
    index = []
    for entry in there or []:
        if not isinstance(entry, dict) or entry.get("name") != name or not isinstance(entry.get("results"), list):
            index.append(entry)
            continue
        for result in entry["results"]:
            metrics = result.get("metrics") if isinstance(result, dict) else None
            if not isinstance(metrics, list):
                results.append(result)
            elif others := [metric for metric in metrics if not _is_own(metric)]:
                results.append({**result, "metrics": others})
    return [*index, {"name": name, "results": results}] if results else index


def _is_own(metric: Any) -> bool:
    names = {f"{figure.key}_{direction}" for figure in _METRICS for direction in ("ab", "ba")}
    if not isinstance(metric, dict) or not isinstance(metric.get("type"), str):
        return False
    args = metric.get("args")
    judged = metric["type"] == FOOLING_RATE and isinstance(args, dict) and "study" in args and "revision" in args
    return judged or metric["type"] in names


def _rewritten(text: str, data: Mapping[str, Any], merged: Mapping[str, Any], newline: str) -> str:
    """The YAML `text` of `data`, made to say `merged`; what says the same stays to the letter, comments too."""

    def dump(values: Mapping[str, Any]) -> str:
        return yaml_dump(dict(values), sort_keys=False, line_break=newline)

    changed = {key: value for key, value in merged.items() if key not in data or data[key] != value}
    removed = data.keys() - merged.keys()
    with contextlib.suppress(*_YAML_ERRORS):
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        keys = [key for key, _ in root.value] if root else []
        starts = [key.start_mark.index for key in keys] + [len(text)]
        parts = [text[: starts[0]]]
        for key, start, end in zip(keys, starts, starts[1:], strict=False):
            part = text[start:end]
            comments = re.search(r"(?:^[ \t]*(?:#.*)?\r?\n)*\Z", part, re.MULTILINE)[0]
            if key.value in changed:
                parts.append(dump({key.value: changed.pop(key.value)}) + comments)
            else:
                parts.append(comments if key.value in removed else part)
        if changed:
            parts.append(dump(changed))
        result = "".join(parts)
        if yaml.safe_load(result) == merged:
            return result
    return dump(merged)  # Written in a way that can't be patched, such as {license: mit}.


def _license_line(license: str | None, data: Mapping[str, Any] | None) -> str:
    """The licence in a sentence; empty where it can't be told, as in front matter that is no YAML."""
    stated = license or (data or {}).get("license")
    if stated == "other" and data:
        stated = data.get("license_name") or stated
    if stated:
        listed = stated if isinstance(stated, list) else [stated]
        return ", ".join(_escaped(_plain(str(name), "other")) for name in listed)
    return "" if data is None else "No licence was stated; ask the author before you use it."


# --- the block ----------------------------------------------------------------------------------------------


def _block(
    repo_id: str,
    info: CheckpointInfo,
    epochs: Sequence[Mapping[str, Any]],
    files: Collection[str],
    counts: str,
    license: str,
    studies: Sequence[Mapping[str, Any]],
) -> str:
    """The generated part, from marker to marker, with lines that end in LF."""
    sections = [
        _introduction(repo_id, info),
        _samples(info, files),
        _usage(repo_id, info),
        _epochs(repo_id, info, epochs, files),
        _judged(repo_id, studies),
        _training(info.config, counts),
        _limits(info),
        f"## Licence\n\n{license}" if license else "",
    ]
    return "\n\n".join([BEGIN, *filter(None, sections), END])


def _introduction(repo_id: str, info: CheckpointInfo) -> str:
    config, (a, b) = info.config, _names(info.config.data)
    there, back = (a, b) if "ab" in info.directions else (b, a)
    if len(info.directions) == 2:
        title, what = f"{a} ↔ {b}", f"from **{a}** to **{b}**, and from {b} to {a}"
    else:
        title, what = f"{there} → {back}", f"from **{there}** to **{back}**; the way back is not in it"
    if (a, b) == ("A", "B"):  # Nobody gave the domains names.
        title = _escaped(_model_name(repo_id))
    if config.train is None:
        how = "The weights were imported."
    elif config.method == "cyclegan":
        how = "A [CycleGAN](https://arxiv.org/abs/1703.10593): it learnt from two sets of pictures that are not paired."
    else:
        how = f"Trained by the method {_escaped(_plain(config.method, 'unknown'))}."
    return (
        f"# {title}\n\nTranslates pictures {what}. {how}\n"
        f"The files here are those of epoch {info.epoch}; every published epoch has its tag."
    )


def _samples(info: CheckpointInfo, files: Collection[str]) -> str:
    ways = {direction: _escaped(way) for direction, way in _ways(info.config.data).items()}
    shown = [direction for direction in info.directions if f"samples/{direction}.png" in files]
    if not shown:
        return ""
    columns = "as it is (*real*), translated (*fake*), and brought back by the other generator (*rec*)"
    if any(key.startswith("truth_l1_") for key in info.metrics):
        columns += "; then, where it is known, the true picture of the other domain (*truth*)"
    pictures = "\n\n".join(f"**{ways[d]}**\n\n![{ways[d]}](samples/{d}.png)" for d in shown)
    return f"## Samples\n\nA row is one picture: {columns}.\n\n{pictures}"


def _usage(repo_id: str, info: CheckpointInfo) -> str:
    direction = info.directions[0]
    other = '; "ba": B → A' if len(info.directions) == 2 else ""
    return f"""## Use it

In the folder of the CycleGAN workbench, the program that wrote these files: on a page in the browser, with pictures
in a folder, or in Python.

```bash
python app.py --checkpoints {repo_id}
python -m cyclegan translate --checkpoints {repo_id}@{info.tag} --direction {direction} \\
    --input PICTURES --output TRANSLATED
```

```python
from hub import open_source

checkpoint = open_source("{repo_id}@{info.tag}").load()
generator = checkpoint.generators["{direction}"]  # {direction_name(direction)}{other}
fakes = generator(pictures)  # tensors (N, 3, H, W) in [-1, 1], H and W multiples of {info.config.model.size_multiple}
```"""


def _epochs(repo_id: str, info: CheckpointInfo, epochs: Sequence[Mapping[str, Any]], files: Collection[str]) -> str:
    by_epoch = {entry["epoch"]: entry for entry in [*epochs, index_entry(info)]}
    entries = [by_epoch[epoch] for epoch in sorted(by_epoch, reverse=True)]
    figures = [
        figure
        for figure in FIGURES
        if any(value is not None for entry in entries for value in figure.values(entry, info.directions))
    ]
    with_steps = any(entry.get("global_step") for entry in entries)
    titles = ["epoch", "date", *(["step"] if with_steps else []), *(figure.title for figure in figures)]
    head = f"| {' | '.join(titles)} |\n|{'---|' * 2}{'---:|' * (len(titles) - 2)}"

    def row(entry: Mapping[str, Any]) -> str:
        tag, date = epoch_name(entry["epoch"]), re.match(r"\d{4}-\d\d-\d\d", str(entry.get("created")))
        cells = [f"[{tag}](https://huggingface.co/{repo_id}/tree/{tag})", date[0] if date else "–"]
        cells += [str(entry.get("global_step") or "–")] if with_steps else []
        for figure in figures:
            values = figure.values(entry, info.directions)
            shown = [_number(value, figure.digits) for value in values]
            cells.append(" / ".join(shown) if any(value is not None for value in values) else "–")
        return f"| {' | '.join(cells)} |"

    def table(some: Sequence[Mapping[str, Any]]) -> str:
        return "\n".join([head, *map(row, some)])

    parts = ["## Epochs", table(entries[:EPOCHS_SHOWN])]
    if rest := entries[EPOCHS_SHOWN:]:
        parts.append(f"<details>\n<summary>{len(rest)} older epochs</summary>\n\n{table(rest)}\n\n</details>")
    if figures:
        parts.append("\n".join(f"- *{figure.title}*: {figure.meaning}" for figure in figures))
        if len(info.directions) == 2:
            there, back = (_escaped(way) for way in _ways(info.config.data).values())
            parts.append(f"Of two figures, the first is for {there}, the second for {back}.")
    if "curves.png" in files:
        parts.append("![Losses over the epochs](curves.png)")
    return "\n\n".join(parts)


def _judged(repo_id: str, studies: Sequence[Mapping[str, Any]]) -> str:
    """The figures of studies: a table each, with what it was that people were asked to do."""
    if not studies:
        return ""
    single = [study["protocol"].get("presentation") == "single" for study in studies]
    of_pairs = "" if all(single) else "; at 50%, people can't tell them apart"
    parts = [
        "## Judged by people",
        "The *fooling rate* is the share of trials in which a translation was taken for a real picture"
        f"{of_pairs}{' where two pictures are compared' if of_pairs and any(single) else ''}. The interval is of 95%, "
        "over participants.",
    ]
    if any(single):
        parts.append(
            "Where pictures were judged one by one, real ones were judged, too, and it is the *total error* that is "
            "50% if people can't tell them apart: translations taken for real and real pictures taken for fake, each "
            "half of it."
        )
    for study, one_by_one in zip(studies, single, strict=True):
        about, protocol = study["study"], study["protocol"]
        title = _escaped(_plain(str(about.get("title") or ""), about["name"]))
        where = f"https://huggingface.co/{repo_id}/blob/main/{study_file(about['name'])}"
        total = one_by_one and any(_total_error(row) for row in study["epochs"])
        rows = "\n".join(_judged_row(repo_id, row, total) for row in study["epochs"])
        heads = ["epoch", "fooling rate", "95% interval", *(["total error"] if total else []), "participants", "trials"]
        parts += [
            f"**{title}**, {_escaped(_way(about))}: {_protocol_words(protocol)} ([all figures]({where})).",
            f"| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}\n{rows}",
        ]
    if any(row.get("interval_assumed") is True for study in studies for row in study["epochs"]):
        parts.append("\\* These answers can't show how people differ: that is assumed.")
    return "\n\n".join(parts)


def _total_error(row: Mapping[str, Any]) -> str:
    """An epoch's total error, with its interval, of single pictures; empty if the entry has none, or no good one."""

    def share(value: Any) -> bool:
        return type(value) in (int, float) and 0 <= value <= 1

    found = row.get("total_error")
    if not isinstance(found, dict) or not share(found.get("error")):
        return ""
    bounds = found.get("interval")
    if not isinstance(bounds, list) or len(bounds) != 2 or not all(map(share, bounds)):
        return f"{100 * found['error']:.1f}%"
    return f"{100 * found['error']:.1f}% ({100 * bounds[0]:.1f}% – {100 * bounds[1]:.1f}%)"


def _judged_row(repo_id: str, row: Mapping[str, Any], with_total_error: bool) -> str:
    tag, revision = epoch_name(row["epoch"]), row["revision"]
    shown = tag if revision == tag else f"{tag} at {_escaped(_plain(revision[:10], '?'))}"
    # What was judged, if the tag is on something else. Only a tag or a SHA gets into the address.
    if re.fullmatch(r"[\w-]+", revision, re.ASCII):
        shown = f"[{shown}](https://huggingface.co/{repo_id}/tree/{revision})"
    interval = " – ".join(f"{100 * bound:.1f}%" for bound in row["interval"]) if row.get("interval") else "–"
    interval += " \\*" if row.get("interval_assumed") is True else ""
    interval += f" | {_total_error(row) or '–'}" if with_total_error else ""
    return f"| {shown} | {100 * row['fooling_rate']:.1f}% | {interval} | {row['participants']} | {row['trials']} |"


_PRESENTATIONS = {
    "together": "two pictures side by side",
    "sequence": "two pictures in turn",
    "single": "one picture",
}


def _protocol_words(protocol: Mapping[str, Any]) -> str:
    """A study's protocol in a line; what it does not say, or says in another way, is left out."""

    def number(key: str) -> int | None:
        return protocol[key] if type(protocol.get(key)) is int else None

    words = [f"protocol {_escaped(_plain(str(protocol.get('name')), 'custom'))}"]
    presentation = _PRESENTATIONS.get(str(protocol.get("presentation")))
    words += [presentation] if presentation else []
    if (exposure := number("exposure_ms")) is not None:
        words.append(f"shown for {exposure} ms" if exposure else "shown until the answer")
    if protocol.get("presentation") != "single" and protocol.get("question") in ("real", "fake"):
        words.append(f"the {protocol['question']} one asked for")
    practice, test = number("practice_trials"), number("test_trials")
    if practice is not None and test is not None:
        words.append(f"{practice} trials with feedback and {test} without")
    return ", ".join(words)


def _training(config: CheckpointConfig, counts: str) -> str:
    model, data = config.model, config.data
    generator = f"{model.generator}, ngf {model.ngf}" + (", resize upsampling" if model.upsample == "resize" else "")
    if config.train is None:
        return f"## Training\n\nHow the weights were trained, and on what, is not recorded. Generator: {generator}."
    loss, optim = _recorded(LossConfig, config.train, "loss"), _recorded(OptimConfig, config.train, "optim")
    run = _recorded(RunConfig, config.train, "run")
    rows = {
        "method": _escaped(_plain(config.method, "unknown")),
        "data": _data_line(data) + counts,
        "pictures": _PREPROCESS[data.preprocess].format(load=data.load_size, crop=data.crop_size)
        + (", mirrored at random" if data.flip else ""),
        "generators": generator,
        "discriminators": f"{model.discriminator}, ndf {model.ndf}"
        + (f", {model.n_layers_d} layers" if model.discriminator == "patch" else ""),
    }
    if loss and not loss.lambda_gan:
        del rows["discriminators"]  # None was trained.
    if loss:
        terms = [f"adversarial ({loss.gan_mode}) × {loss.lambda_gan:g}"] if loss.lambda_gan else []
        terms.append(f"cycle × {loss.lambda_cycle_a:g} (A) and × {loss.lambda_cycle_b:g} (B)")
        terms += [f"identity × {loss.lambda_identity:g} of the cycle's weight"] if loss.lambda_identity else []
        rows["losses"] = ", ".join(terms)
    if optim:
        rows["schedule"] = f"{optim.epochs} epochs at learning rate {optim.lr:g}"
        rows["schedule"] += f", then {optim.decay_epochs} towards 0" if optim.decay_epochs else ""
        rows["optimiser"] = f"Adam ({optim.beta1:g}, {optim.beta2:g}), batch size {optim.batch_size}"
        if optim.gradient_accumulation_steps > 1:
            rows["optimiser"] += f" × {optim.gradient_accumulation_steps} accumulated"
        if optim.ema:
            rows["optimiser"] += f"; published weights are averages (decay {optim.ema:g})"
    if run:
        arithmetic = "fp32" if run.mixed_precision == "no" else f"{run.mixed_precision} mixed precision"
        trained = "" if run.mixed_precision == "auto" else f"trained in {arithmetic}, "  # Else nobody said which.
        rows["precision"] = f"{trained}stored as {run.save_precision}"
        rows["seed"] = str(run.seed)
    return "## Training\n\n| | |\n|---|---|\n" + "\n".join(f"| {name} | {what} |" for name, what in rows.items())


_PREPROCESS = {
    "resize_crop": "scaled to {load}×{load}, random crops of {crop}×{crop}",
    "resize": "scaled to {crop}×{crop}",
    "crop": "random crops of {crop}×{crop}, at their own scale",
    "scale_width": "scaled to a width of {crop}",
    "scale_width_crop": "scaled to a width of {load}, random crops of {crop}×{crop}",
    "none": "whole, at their own size",
}


def _limits(info: CheckpointInfo) -> str:
    lines = [
        "What the input does not show is invented. Don't take details of a translation for facts.",
        "Colours and textures change more readily than shapes; things at another scale than in training fare worse.",
        "A good way back proves little: a generator can hide the original in noise that nobody sees.",
    ]
    entry = index_entry(info)
    if any(value is not None for figure in _METRICS for value in figure.values(entry, info.directions)):
        lines.append(
            "The figures are of a few fixed pictures of the run's own: test pictures, or training pictures if the data "
            "have no others. They tell this run's epochs apart, and don't compare with other models."
        )
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _counts(pictures: Mapping[str, Any] | None) -> str:
    """How many pictures there were, for the line of the data."""
    found = [(pictures or {}).get(name) for name in ("train_a", "train_b")]
    return f": {found[0]} pictures of A, {found[1]} of B" if all(type(count) is int for count in found) else ""


def _data_line(data: DataConfig) -> str:
    name = _escaped(_plain(data.dataset, "not recorded"))
    repo, config = _hub_dataset(data)
    if repo:
        name = f"[{_escaped(repo)}](https://huggingface.co/datasets/{repo})"
        name += f", configuration {_escaped(config)}" if config else ""
    elif re.match("streets(:|$)", data.dataset):
        name += ", the program's own drawn scenes"
    return name + (f"; at most {data.max_images} pictures per domain" if data.max_images else "")


# --- words --------------------------------------------------------------------------------------------------


def _recorded(kind: type[Config], train: Any, group: str) -> Config | None:
    """Settings that a checkpoint recorded; None where they are missing or of another version of the program."""
    values = train.get(group) if isinstance(train, Mapping) else None
    with contextlib.suppress(ConfigError):
        return kind.from_json(values) if isinstance(values, Mapping) else None
    return None


def _hub_dataset(data: DataConfig) -> tuple[str | None, str | None]:
    """Id and configuration of a data set on the Hub; None, None if it is something else."""
    match = _HUB_ID.fullmatch(data.dataset)
    return (match[1], match[2]) if match else (None, None)


def _model_name(repo_id: str) -> str:
    """What the model-index calls it."""
    return repo_id.rpartition("/")[2]


def _ways(data: DataConfig) -> dict[str, str]:
    """`day → night` by direction; not escaped."""
    a, b = _plain(data.domain_a, "A"), _plain(data.domain_b, "B")
    return {"ab": f"{a} → {b}", "ba": f"{b} → {a}"}


def _names(data: DataConfig) -> tuple[str, str]:
    """The domains' names, escaped."""
    return _escaped(_plain(data.domain_a, "A")), _escaped(_plain(data.domain_b, "B"))


def _plain(text: str, fallback: str) -> str:
    """One line, not too long, without what can't be shown, can't be encoded or turns the reading direction."""
    # The two that are kept join or part letters, in Persian for one.
    shown = "".join(c if c.isprintable() or c in "\u200c\u200d" else " " for c in text)
    shown = " ".join(shown.split())
    return (shown if len(shown) <= MAX_NAME else shown[: MAX_NAME - 1].rstrip() + "…") or fallback


def _escaped(text: str) -> str:
    """Text that Markdown, tables and HTML leave as it is."""
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", html.escape(text, quote=False))


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.2e}"
