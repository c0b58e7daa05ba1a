"""The generated block of a model card: one section after the other."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from cyclegan.checkpoints.format import CheckpointConfig, CheckpointInfo
from cyclegan.config import METHOD_CONFIGS, DataConfig, MethodConfig, OptimConfig, RunConfig
from cyclegan.errors import ConfigError, number_of
from hub.card.names import METRICS, Start, domains, figure_values, hub_dataset, model_name, ways
from hub.card.scores import Scored, scores_section
from hub.card.tables import epochs_section, judged_section
from hub.card.widget import widget_examples
from hub.layout import index_entry
from hub.readme import BEGIN, END, escaped, one_line

Config = TypeVar("Config", MethodConfig, OptimConfig, RunConfig)


def block(
    repo_id: str,
    info: CheckpointInfo,
    epochs: Sequence[Mapping[str, Any]],
    files: Collection[str],
    pictures: Mapping[str, Any] | None,
    license: str | None,
    front: Mapping[str, Any] | None,
    studies: Sequence[Mapping[str, Any]],
    start: Start | None = None,
    scored: Sequence[Scored] = (),
    imported_from: str | None = None,
) -> str:
    """Return the generated part of a card, from marker to marker, with lines that end in LF.

    Args:
        front: the card's front matter; None if it isn't valid.
        scored: the directions of its scores.

    For the other arguments see `make_card`.
    """
    licence = _licence(license, front)
    sections = [
        _introduction(repo_id, info, imported_from),
        _samples(repo_id, info, files),
        _usage(repo_id, info),
        epochs_section(repo_id, info, epochs, files),
        scores_section(repo_id, scored),
        judged_section(repo_id, studies),
        _training(info.config, _counts(pictures), start),
        _limits(info),
        f"## Licence\n\n{licence}" if licence else "",
    ]
    return "\n\n".join([BEGIN, *filter(None, sections), END])


def _introduction(repo_id: str, info: CheckpointInfo, imported_from: str | None) -> str:
    config, (a, b) = info.config, map(escaped, domains(info.config.data))
    there, back = (a, b) if "ab" in info.directions else (b, a)
    if len(info.directions) == 2:
        title, what = f"{a} ↔ {b}", f"from **{a}** to **{b}**, and from {b} to {a}"
    else:
        title, what = f"{there} → {back}", f"from **{there}** to **{back}**; the way back is not in it"
    if (a, b) == ("A", "B"):  # The domains have no names of their own.
        title = escaped(model_name(repo_id))
    if config.train is None:
        source = f" from [{escaped(imported_from)}](https://huggingface.co/{imported_from})" if imported_from else ""
        how = f"The weights were imported{source}."
    elif (options := _options(config)) and options.about:
        how = options.about
    else:
        how = f"Trained by the method {escaped(one_line(config.method, 'unknown'))}."
    return (
        f"# {title}\n\nTranslates pictures {what}. {how}\n"
        f"The files here are those of epoch {info.epoch}; every published epoch has its tag."
    )


def _options(config: CheckpointConfig) -> type[MethodConfig] | None:
    """Return the options of the checkpoint's method, None if it isn't known here."""
    return METHOD_CONFIGS.get(config.method) if isinstance(config.method, str) else None


def _samples(repo_id: str, info: CheckpointInfo, files: Collection[str]) -> str:
    arrows = {direction: escaped(way) for direction, way in ways(info.config.data).items()}
    shown = [direction for direction in info.directions if f"samples/{direction}.png" in files]
    if not shown:
        return ""
    columns = "as it is (*real*), translated (*fake*), and brought back by the other generator (*rec*)"
    if any(key.startswith("truth_l1_") for key in info.metrics):
        columns += "; then, where it is known, the true picture of the other domain (*truth*)"
    if any(key.startswith("inversion_l1_") for key in info.metrics):
        columns += "; and the nearest picture found that its own domain's generator can draw (*redrawn*)"
    pictures = "\n\n".join(f"**{arrows[d]}**\n\n![{arrows[d]}](samples/{d}.png)" for d in shown)
    # The gallery shows the outputs of the front matter's `widget`; whatever else reads Markdown skips it.
    gallery = "<Gallery />\n\n" if any("src" in one for one in widget_examples(repo_id, info, files)) else ""
    return f"## Samples\n\n{gallery}A row is one picture: {columns}.\n\n{pictures}"


def _usage(repo_id: str, info: CheckpointInfo) -> str:
    direction = info.directions[0]
    other = '; "ba": B → A' if len(info.directions) == 2 else ""
    arrow = "A → B" if direction == "ab" else "B → A"
    multiple = info.config.model.size_multiple
    sides = f", H and W multiples of {multiple}" if multiple > 1 else ""
    return f"""## Use it

From the folder of the CycleGAN workbench, the program that wrote these files: on a page in the browser, with pictures
in a folder, or in Python.

```bash
python app.py --checkpoints {repo_id}
python -m cyclegan translate --checkpoints {repo_id}@{info.tag} --direction {direction} \\
    --input PICTURES --output TRANSLATED
```

```python
from hub import open_source

checkpoint = open_source("{repo_id}@{info.tag}").load()
generator = checkpoint.generators["{direction}"]  # {arrow}{other}
fakes = generator(pictures)  # tensors (N, 3, H, W) in [-1, 1]{sides}
```"""


def _training(config: CheckpointConfig, counts: str, start: Start | None) -> str:
    model, data = config.model, config.data
    generator = f"{model.generator}, ngf {model.ngf}" + (", resize upsampling" if model.upsample != "transpose" else "")
    if config.train is None:
        return f"## Training\n\nHow the weights were trained, and on what, is not recorded. Generator: {generator}."
    options = _options(config)
    loss = _recorded(options, config.train, "loss") if options else None
    optim = _recorded(OptimConfig, config.train, "optim")
    run = _recorded(RunConfig, config.train, "run")
    rows = {
        "method": escaped(one_line(config.method, "unknown")),
        "data": _data_line(data) + counts,
        "pictures": _PREPROCESS[data.preprocess].format(load=data.load_size, crop=data.crop_size)
        + (", mirrored at random" if data.flip else ""),
        "generators": generator,
        "discriminators": f"{model.discriminator}, ndf {model.ndf}"
        + (f", {number_of(model.n_layers_d, 'layer')}" if model.discriminator == "patch" else "")
        + (", spectral norm" if model.spectral_norm else ""),
    }
    if loss and not loss.trains_discriminators:
        del rows["discriminators"]
    if loss:
        rows["losses"] = escaped(loss.describe())
    if optim:
        rows["schedule"] = _schedule(optim)
        rows["optimiser"] = f"Adam ({optim.beta1:g}, {optim.beta2:g}), batch size {optim.batch_size}"
        if optim.gradient_accumulation_steps > 1:
            rows["optimiser"] += f" × {optim.gradient_accumulation_steps} accumulated"
        if optim.clip_grad_norm:
            rows["optimiser"] += f"; gradients clipped to {optim.clip_grad_norm:g}"
        if optim.ema:
            rows["optimiser"] += f"; published weights are averages (decay {optim.ema:g})"
    if run:
        arithmetic = "fp32" if run.mixed_precision == "no" else f"{run.mixed_precision} mixed precision"
        # "auto" doesn't record which one it was.
        trained = "" if run.mixed_precision == "auto" else f"trained in {arithmetic}, "
        rows["precision"] = f"{trained}stored as {run.save_precision}"
        rows["seed"] = str(run.seed)
        if run.trackio_space:
            rows["curves"] = f"[{escaped(run.trackio_space)}](https://huggingface.co/spaces/{run.trackio_space})"
    table = "\n".join(f"| {name} | {what} |" for name, what in rows.items())
    return f"## Training\n\n{_start_line(start)}| | |\n|---|---|\n{table}"


def _schedule(optim: OptimConfig) -> str:
    rate = f"learning rate {optim.lr:g}" + (f" ({optim.lr_disc:g} for discriminators)" if optim.lr_disc else "")
    if optim.schedule in ("constant", "plateau"):
        lower = ", lower whenever the results no longer improved" if optim.schedule == "plateau" else ""
        return f"{number_of(optim.total_epochs, 'epoch')} at {rate}{lower}"
    way = " along a cosine" if optim.schedule == "cosine" else ""
    return f"{number_of(optim.epochs, 'epoch')} at {rate}" + (
        f", then {optim.decay_epochs} towards 0{way}" if optim.decay_epochs else ""
    )


def _start_line(start: Start | None) -> str:
    if start is None:
        return ""
    name = f"the run {escaped(start.name)}"
    if start.repo_id:
        name = f"[{escaped(start.name)}](https://huggingface.co/{start.repo_id})"
    return f"It started from the weights of {name}, epoch {start.epoch}.\n\n"


_PREPROCESS = {
    "resize_crop": "scaled to {load}×{load}, random crops of {crop}×{crop}",
    "resize": "scaled to {crop}×{crop}",
    "crop": "random crops of {crop}×{crop}, at their own scale",
    "scale_width": "scaled to a width of {crop}",
    "scale_width_crop": "scaled to a width of {load}, random crops of {crop}×{crop}",
    "none": "whole, at their own size",
}


_MEASURED_ON = {
    "test": "test pictures", "train": "training pictures, because the data have no test pictures",
    "": "test pictures, or training pictures if the data have no others",
}  # fmt: skip


def _limits(info: CheckpointInfo) -> str:
    lines = [
        "Whatever the input does not show is invented. Don't take details of a translation for facts.",
        "Colours and textures change more readily than shapes; objects at other scales than in training look worse.",
        "A good way back proves little: a generator can hide the original in noise that nobody sees.",
    ]
    entry = index_entry(info)
    if any(value is not None for figure in METRICS for value in figure_values(figure, entry, info.directions)):
        lines.append(
            f"The figures are of a few fixed pictures of the run's own: {_MEASURED_ON[info.measured_on]}. They compare "
            "the epochs of this run, not one model with another."
        )
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _counts(pictures: Mapping[str, Any] | None) -> str:
    """Return the numbers of pictures, for the row of the data; empty if they weren't recorded."""
    found = [(pictures or {}).get(name) for name in ("train_a", "train_b")]
    if not all(type(count) is int for count in found):
        return ""
    return f": {number_of(found[0], 'picture')} of A, {found[1]:,} of B"


def _data_line(data: DataConfig) -> str:
    name = escaped(one_line(data.dataset, "not recorded"))
    repo, config = hub_dataset(data.dataset)
    if repo:
        name = f"[{escaped(repo)}](https://huggingface.co/datasets/{repo})"
        name += f", configuration {escaped(config)}" if config else ""
    elif re.match("streets(:|$)", data.dataset):
        name += ", the program's own drawn scenes"
    return name + (f"; at most {number_of(data.max_images, 'picture')} per domain" if data.max_images else "")


def _recorded(kind: type[Config], train: Any, group: str) -> Config | None:
    """Return settings that a checkpoint recorded; None if they are missing or of another version of the program."""
    values = train.get(group) if isinstance(train, Mapping) else None
    with contextlib.suppress(ConfigError):
        return kind.from_json(values) if isinstance(values, Mapping) else None
    return None


def _licence(license: str | None, front: Mapping[str, Any] | None) -> str:
    """Return the licence in a sentence; empty if it is unknown because the front matter isn't valid."""
    stated = license or (front or {}).get("license")
    if stated == "other" and front:
        stated = front.get("license_name") or stated
    if stated:
        listed = stated if isinstance(stated, list) else [stated]
        return ", ".join(escaped(one_line(str(name), "other")) for name in listed)
    return "" if front is None else "No licence was stated; ask the author before you use it."
