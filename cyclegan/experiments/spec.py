"""Experiments as rows of the trainer's settings: the given ones, and a person's own from YAML."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cyclegan.cli.config_file import checked_settings, load_mapping
from cyclegan.cli.flags import config_from_args, options_but
from cyclegan.config import DIRECTIONS, METHOD_CONFIGS, Direction, TrainConfig
from cyclegan.errors import ConfigError, message
from cyclegan.experiments.paper import PIX2PIX_LOSSES, TABLES_2_3, TABLES_4_5, TO_LABELS, TO_PHOTO, Accuracy
from cyclegan.files import shortened

Settings = Mapping[str, Any]

GIVEN = ("output_dir", "resume", "seed", "dataset", "push_to_hub", "hub_model_id")
"""Settings that the command decides, so that no row may have them."""


@dataclass(frozen=True)
class Scale:
    """The size and length of an experiment.

    Attributes:
        about: a phrase for --help.
        settings: defaults of all rows.
        seeds: runs per row.
        dataset: the built-in data set that is used unless one is given; "" for none.
    """

    about: str
    settings: Settings
    seeds: int
    dataset: str


SOURCE_SEGMENTER = "source-only"
"""In an adaptation, `semantic_segmenter`: the one that learned from the source as it is, with the row's seed."""

_QUIET = {"samples_every": 0, "num_workers": 0, "keep_training_state": 1}
SCALES: Mapping[str, Scale] = {
    "tiny": Scale(
        "32² pixels, 8 epochs: minutes on a CPU",
        {"crop_size": 32, "load_size": 36, "ngf": 8, "ndf": 8, "generator": "resnet_6", "epochs": 5, "decay_epochs": 3,
         "batch_size": 4, "lr": 1e-3, **_QUIET}, 1, "count=100,test_count=20,size=36",
    ),
    "small": Scale(
        "64² pixels, 20 epochs of at most 400 pictures: hours on a CPU",
        {"crop_size": 64, "load_size": 72, "ngf": 16, "ndf": 16, "generator": "resnet_6", "epochs": 10,
         "decay_epochs": 10, "max_images": 400, **_QUIET}, 3, "count=400,test_count=60,size=72",
    ),
    "paper": Scale(
        "128² pixels, 200 epochs, full networks as in the paper's tables: days on a GPU",
        {"crop_size": 128, "load_size": 143, "generator": "resnet_6", "epochs": 100, "decay_epochs": 100,
         "samples_every": 0}, 3, "",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of an experiment's table.

    Attributes:
        name: shown to people.
        settings: the trainer's, by the names of its flags; None leaves one to the method, whatever the scale says.
        directions: those that are trained and scored.
        paper: published accuracies, by `paper.TO_PHOTO` and `paper.TO_LABELS`.
        at: further settings by scale.
        from_labels: True if a is the domain of the labels, as in the paper: the two cycles change places where b is.
    """

    name: str
    settings: Settings
    directions: tuple[Direction, ...] = DIRECTIONS
    paper: Mapping[str, Accuracy] = field(default_factory=dict)
    at: Mapping[str, Settings] = field(default_factory=dict)
    from_labels: bool = False

    @property
    def slug(self) -> str:
        """The name for folders."""
        return shortened(re.sub(r"\W+", "-", self.name.casefold()).strip("-"), 100) or "row"


@dataclass(frozen=True)
class Experiment:
    """Rows to compare.

    Attributes:
        name: of the experiment, or of its file.
        title: a line for the report.
        rows: what is compared.
        shared: settings of all rows, as far as their methods have them.
        at: further ones by scale.
        streets: the built-in data set's further words, such as a=labels,b=day.
        every_epoch: True where all epochs are scored, not the last alone.
        adapts: True where segmenters are trained on the translations, and tested on the target's pictures.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    shared: Settings = field(default_factory=dict)
    at: Mapping[str, Settings] = field(default_factory=dict)
    streets: str = ""
    every_epoch: bool = False
    adapts: bool = False

    def dataset(self, scale: str) -> str:
        """Return the built-in data set for a scale. Raises ConfigError where there is none."""
        words = SCALES[scale].dataset
        if not words:
            raise ConfigError("--scale {scale} needs --dataset: the folder of real pictures", scale=scale)
        size = self.at.get(scale, {}).get("load_size")
        if size is not None:
            words = re.sub(r"size=\d+", f"size={size}", words)
        return "streets:" + ",".join(filter(None, (self.streets, words)))

    def settings(self, row: Row, scale: str, *, turned: bool = False) -> dict[str, Any]:
        """Return a row's settings at a scale.

        Args:
            turned: True if domain b has the label maps.
        """
        foreign = options_but(str(row.settings.get("method", "cyclegan")))
        common = {**SCALES[scale].settings, **self.shared, **self.at.get(scale, {})}
        found = {name: value for name, value in common.items() if name not in foreign}
        found |= {**row.settings, **row.at.get(scale, {})}
        found = {name: value for name, value in found.items() if value is not None}
        turns = turned and row.from_labels
        return {_other_domain(name): value for name, value in found.items()} if turns else found


def _other_domain(name: str) -> str:
    return {"lambda_cycle_a": "lambda_cycle_b", "lambda_cycle_b": "lambda_cycle_a"}.get(name, name)


def config_of(settings: Settings, row: str) -> TrainConfig:
    """Return a row's settings in full. Raises ConfigError where they can't work, with the row's name."""
    try:
        return config_from_args(argparse.Namespace(**{"output_dir": "-", **settings}))
    except ConfigError as error:
        raise ConfigError("row {row!r}: {reason}", row=row, reason=error) from error


def flags(settings: Settings) -> list[str]:
    """Return settings as words of a command line."""
    words = []
    for name, value in settings.items():
        words += [f"--{'' if value else 'no-'}{name}"] if isinstance(value, bool) else [f"--{name}", str(value)]
    return words


def shown_command(settings: Settings) -> str:
    """Return the command that trains a row, for people."""
    return shlex.join(["python", "train_accelerate.py", *flags(settings)])


def one_way(config: TrainConfig) -> bool:
    """Return True for a method that learns one direction in a run."""
    return hasattr(config.loss, "direction")


# --- given ---------------------------------------------------------------------------------------------------

_METHODS: Mapping[str, Settings] = {
    "CoGAN": {"method": "cogan", "batch_size": 8, "generator": None},
    "BiGAN/ALI": {"method": "bigan"},
    "SimGAN": {"method": "simgan"},
    "Feature loss + GAN": {"method": "simgan", "content_loss": "features"},
    "CycleGAN": {"method": "cyclegan"},
    "pix2pix": {"method": "pix2pix", "like_cyclegan": True},
}
_PARTS: Mapping[str, Settings] = {
    "Cycle alone": {"lambda_gan": 0.0},
    "GAN alone": {"lambda_cycle_a": 0.0, "lambda_cycle_b": 0.0},
    "GAN + forward cycle": {"lambda_cycle_b": 0.0},
    "GAN + backward cycle": {"lambda_cycle_a": 0.0},
}
_LESS_SEARCH = {"tiny": {"inversion_starts": 2, "inversion_steps": 15}, "small": {"inversion_starts": 4}}
_BASELINES = tuple(
    Row(name, settings, paper=TABLES_2_3[name], at=_LESS_SEARCH if name == "CoGAN" else {})
    for name, settings in _METHODS.items()
)
_FULL = next(row for row in _BASELINES if row.name == "CycleGAN")
_ABLATIONS = tuple(
    Row(name, {"method": "cyclegan", **settings}, paper=TABLES_4_5[name], from_labels=True)
    for name, settings in _PARTS.items()
)
_LABELS = "a=labels,b=day"
_NO_IDENTITY = {"lambda_identity": 0.0}  # As for the paper's tables: the term is of its paintings.


def _gta() -> tuple[Row, ...]:
    """Return the grid slope × weights × preparation, which holds the four runs of the GTA experiment."""
    weights = {"10/5": (10.0, 0.5), "1/1": (1.0, 1.0), "5/5": (5.0, 1.0)}
    runs = {("10/5", 0.0, "crop"): 0, ("10/5", 0.2, "crop"): 1, ("1/1", 0.2, "crop"): 2, ("5/5", 0.2, "whole"): 3}
    rows = []
    for slope in (0.0, 0.2):
        for name, (cycle, identity) in weights.items():
            for view, preprocess in (("crop", "resize_crop"), ("whole", "resize")):
                run = runs.get((name, slope, view))
                note = "" if run is None else f" (run {run})"
                rows.append(Row(
                    f"slope {slope:g}, {name}, {view}{note}",
                    {"leaky_slope": slope, "lambda_cycle_a": cycle, "lambda_cycle_b": cycle,
                     "lambda_identity": identity, "preprocess": preprocess},
                ))  # fmt: skip
    return tuple(rows)


EXPERIMENTS: Mapping[str, Experiment] = {e.name: e for e in (
    Experiment("tables", "Tables 2 to 5: methods, and parts of the objective", (*_BASELINES, *_ABLATIONS),
               _NO_IDENTITY, streets=_LABELS),
    Experiment("baselines", "Tables 2 and 3: methods", _BASELINES, _NO_IDENTITY, streets=_LABELS),
    Experiment("ablations", "Tables 4 and 5: parts of the objective", (*_ABLATIONS, _FULL), _NO_IDENTITY,
               streets=_LABELS),
    Experiment("pix2pix_losses", "pix2pix: L1, the adversarial term, and both", tuple(
        Row(name, {"method": "pix2pix", **settings}, paper=PIX2PIX_LOSSES[name]) for name, settings in {
            "L1": {"lambda_gan": 0.0}, "cGAN": {"lambda_l1": 0.0}, "L1 + cGAN": {},
        }.items()), at={
            "small": {"generator": "unet_128", "crop_size": 128, "load_size": 143},
            "paper": {"generator": "unet_256", "crop_size": 256, "load_size": 286},
        }, streets=_LABELS),
    Experiment("generators", "Generators: ResNets, U-Net, encoder and decoder", tuple(
        Row(name, {"generator": name}) for name in ("resnet_6", "resnet_9", "unet_128", "encoder_decoder")
    ), at={scale: {"crop_size": 128, "load_size": 143} for scale in SCALES}),
    Experiment("identity", "The identity term (Figure 9)", tuple(
        Row(f"identity × {weight:g}", {"lambda_identity": weight}) for weight in (0.0, 0.5))),
    Experiment("pool", "The pool of earlier fakes (section 4)", tuple(
        Row(f"pool of {size}" if size else "no pool", {"pool_size": size}) for size in (50, 0))),
    Experiment("gta", "The GTA experiment: slope × weights (cycle/identity) × preparation", _gta(),
               at={"paper": {"crop_size": 196, "load_size": 224}}, every_epoch=True),
    Experiment("adaptation", "Does translation help a segmenter?", (
        Row("CycleGAN", {}),
        Row("CycleGAN, labels kept", {
            "lambda_semantic": 1.0, "semantic_segmenter": SOURCE_SEGMENTER, "semantic_domain": "a",
        }),
    ), adapts=True),
)}  # fmt: skip
"""The given experiments by name. On GTA's load_size the source is silent."""


# --- a person's own ------------------------------------------------------------------------------------------


def find_experiment(name: str) -> Experiment:
    """Return a given experiment, or the one in a YAML file::

        title: Does the pool matter?
        from: baselines            # take these rows, and add those below
        shared: {lambda_identity: 0}
        rows:
          pool of 50: {pool_size: 50}
          no pool: {pool_size: 0, directions: [ab], paper: {labels → photo: [0.5, 0.1, 0.1]}}

    Raises:
        ConfigError: there is none, or the file can't be used; it names the file, the row and the remedy.
    """
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]
    path = Path(name).expanduser()
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        near = difflib.get_close_matches(name, EXPERIMENTS, 1)
        hint = message("; do you mean {near}?", near=near[0]) if near else ""
        raise ConfigError(
            "there is no experiment {name}: choose {known}, or give a .yaml file{hint}", name=name[:80],
            known=", ".join(EXPERIMENTS), hint=hint,
        )
    return _read(path)


def _read(path: Path) -> Experiment:
    content = load_mapping(path, shown=str(path))
    _check_keys(content, ("title", "from", "shared", "rows"), path)
    base = content.get("from")
    if base is not None and not (isinstance(base, str) and base in EXPERIMENTS):
        raise ConfigError("{path}: from {base!r} isn't a given experiment: choose {known}", path=path,
                          base=str(base)[:80], known=", ".join(EXPERIMENTS))  # fmt: skip
    start = EXPERIMENTS[base] if base else Experiment(path.stem, path.stem, ())
    rows = content.get("rows", {})
    if not isinstance(rows, Mapping) or not (rows or base):
        raise ConfigError("{path}: rows must hold settings by the row's name, such as `no pool: {{pool_size: 0}}`",
                          path=path)  # fmt: skip
    own = tuple(_row(" ".join(str(name).split()), settings, path) for name, settings in rows.items())
    kept = tuple(row for row in start.rows if row.name not in {row.name for row in own})
    shared = _settings(content.get("shared", {}), message("{path}, shared", path=path))
    found = replace(
        start, name=path.stem, title=" ".join(str(content.get("title") or start.title).split()), rows=kept + own,
        shared={**start.shared, **shared},
        at={scale: {**settings, **shared} for scale, settings in start.at.items()},
    )  # fmt: skip
    slugs = [row.slug for row in found.rows]
    for row in found.rows:
        if slugs.count(row.slug) > 1:
            raise ConfigError("{path}: two rows have names as like as {name!r}: choose another", path=path,
                              name=row.name)  # fmt: skip
    return found


def _check_keys(content: Mapping[str, Any], known: Sequence[str], path: Any) -> None:
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = message("; do you mean {near}?", near=near[0]) if near else ""
            raise ConfigError("{path}: there is no {key}, only {known}{hint}", path=path, key=str(key)[:80],
                              known=", ".join(known), hint=hint)  # fmt: skip


def _settings(content: Any, where: Any) -> dict[str, Any]:
    """Return settings of the trainer's types, None for those that are left to the method."""
    if not isinstance(content, Mapping):
        raise ConfigError("{where} must hold settings by name, such as `pool_size: 0`", where=where)
    left = {str(name): None for name, value in content.items() if value is None}
    found = checked_settings({name: value for name, value in content.items() if value is not None}, where)
    for name in (*found, *left):
        if name in GIVEN:
            raise ConfigError("{where}: {name} isn't for rows, because the command decides it: leave it out",
                              where=where, name=name)  # fmt: skip
    return {**found, **left}


def _row(name: str, content: Any, path: Path) -> Row:
    where = message("{path}, row {name!r}", path=path, name=name)
    content = {} if content is None else content
    if not isinstance(content, Mapping):
        raise ConfigError("{where} must hold settings by name, such as `pool_size: 0`", where=where)
    ways = content.get("directions", list(DIRECTIONS))
    ways = [ways] if isinstance(ways, str) else ways
    if not isinstance(ways, Sequence) or not ways or any(way not in DIRECTIONS for way in ways):
        raise ConfigError("{where}: directions are ab, ba, or [ab, ba]", where=where)
    settings = _settings(
        {key: value for key, value in content.items() if key not in ("directions", "paper")}, where
    )
    method = settings.get("method", "cyclegan")
    if method in METHOD_CONFIGS and (wrong := sorted(options_but(method) & settings.keys())):
        raise ConfigError("{where}: --{name} isn't an option of --method {method}: leave it out, or choose another "
                          "method", where=where, name=wrong[0], method=method)  # fmt: skip
    if (only := settings.get("direction")) is not None:  # Of a method that learns one in a run.
        if list(content.get("directions", [only])) not in ([only], list(only)):
            raise ConfigError("{where}: direction and directions differ: leave one of them out", where=where)
        ways = [only]
    return Row(name, settings, tuple(way for way in DIRECTIONS if way in ways), _paper(content.get("paper"), where))


def _paper(content: Any, where: Any) -> dict[str, Accuracy]:
    if content is None:
        return {}
    fits = isinstance(content, Mapping) and all(
        key in (TO_PHOTO, TO_LABELS) and isinstance(value, Sequence) and len(value) == 3
        and all(isinstance(part, int | float) and 0 <= part <= 1 for part in value) for key, value in content.items()
    )  # fmt: skip
    if not fits:
        raise ConfigError("{where}: paper holds pixel accuracy, class accuracy and class IoU by way, such as "
                          "`{way}: [0.5, 0.1, 0.1]`", where=where, way=TO_PHOTO)  # fmt: skip
    return {str(key): tuple(float(part) for part in value) for key, value in content.items()}  # type: ignore[misc]
