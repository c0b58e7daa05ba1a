"""The trainings of an experiment, and the file in its folder that says what they are::

    DIR/
      experiment.json            rows, settings, data set, scale, seeds
      runs/SLUG-SEED/            a run of the trainer; SLUG-ab-SEED and SLUG-ba-SEED for methods of one direction
        train.log, failed.txt, shown-ab.png, scores/experiment.json
      README.md, report.json, pictures-ab.png …
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import Direction, TrainConfig
from cyclegan.data import find_data, name_domains
from cyclegan.data.streets import StreetsSpec
from cyclegan.errors import ConfigError, message
from cyclegan.experiments.paper import TO_LABELS, TO_PHOTO
from cyclegan.experiments.spec import SOURCE_SEGMENTER, Experiment, Row, config_of, one_way
from cyclegan.files import read_json, write_json

VERSION, FILE = 1, "experiment.json"
SCORES_NAME = "experiment"
"""The name of the runs' files of scores."""


@dataclass(frozen=True)
class Training:
    """One run of the trainer.

    Attributes:
        row: the row that it belongs to.
        seed: its seed.
        directions: those that it learns.
        settings: the trainer's, all of them.
        config: the same, checked.
        folder: the run's.
    """

    row: Row
    seed: int
    directions: tuple[Direction, ...]
    settings: Mapping[str, Any]
    config: TrainConfig
    folder: Path

    @property
    def name(self) -> str:
        """The row with the seed, and the direction where there is one run for each."""
        way = f" {self.directions[0]}" if one_way(self.config) else ""
        return f"{self.row.name}{way}, seed {self.seed}"

    @property
    def epoch(self) -> int | None:
        """The newest complete epoch; None before the first."""
        if not self.folder.is_dir():
            return None
        infos = LocalSource(self.folder, awaited=True).list()
        return infos[0].epoch if infos else None

    @property
    def finished(self) -> bool:
        """True if the last epoch is there."""
        if not self.folder.is_dir() or not (infos := LocalSource(self.folder, awaited=True).list()):
            return False
        most = self.config.optim.max_steps
        return infos[0].epoch >= self.config.optim.total_epochs or (most is not None and infos[0].global_step >= most)


@dataclass(frozen=True)
class Plan:
    """An experiment on a data set.

    Attributes:
        experiment: the rows.
        dataset: the data set.
        scale: a name of `spec.SCALES`.
        seeds: one run of each row for each.
        output: the experiment's folder.
        names: the domains' names by `a`, `b`.
        label_domain: the domain whose pictures are label maps; None for neither.
        pictures: training pictures of the larger domain.
    """

    experiment: Experiment
    dataset: str
    scale: str
    seeds: tuple[int, ...]
    output: Path
    names: Mapping[str, str]
    label_domain: str | None
    pictures: int

    @property
    def turned(self) -> bool:
        """True if domain b has the label maps, whereas the paper's X, our a, has them."""
        return self.label_domain == "b"

    def paper_way(self, way: Direction) -> str | None:
        """Return the paper's name for a direction, None where it has no table."""
        if self.label_domain is None:
            return None
        return TO_PHOTO if way[0] == self.label_domain else TO_LABELS

    def settings(self, row: Row) -> dict[str, Any]:
        """Return a row's settings."""
        return {"dataset": self.dataset, **self.experiment.settings(row, self.scale, turned=self.turned)}

    def trainings(self) -> list[Training]:
        """Return all trainings, seed after seed, so that every row has a result early.

        Raises:
            ConfigError: a row's settings can't work.
        """
        found = []
        for seed in self.seeds:
            for row in self.experiment.rows:
                settings = self.settings(row)
                ways = ("direction" in settings and (settings["direction"],)) or row.directions
                each = [(way,) for way in ways] if one_way(config_of(settings, row.name)) else [ways]
                found += [self._training(row, seed, part, settings) for part in each]
        return found

    def _training(self, row: Row, seed: int, ways: Any, settings: Mapping[str, Any]) -> Training:
        single = one_way(config_of(settings, row.name))
        folder = self.output / "runs" / "-".join([row.slug, *(ways if single else ()), str(seed)])
        full = {**settings, **({"direction": ways[0]} if single else {}), "seed": seed}
        full |= {"output_dir": str(folder), "resume": "auto"}
        if full.get("semantic_segmenter") == SOURCE_SEGMENTER:
            full["semantic_segmenter"] = str(segmenter_folder(self.output, SOURCE_SEGMENTER, seed))
        return Training(row, seed, ways, full, config_of(full, row.name), folder)

    def pictures_of(self, training: Training) -> int:
        """Return the training pictures that a run sees in each domain."""
        config = training.config
        epoch = min(self.pictures, config.data.max_images or self.pictures)
        seen = config.optim.total_epochs * epoch
        most = config.optim.max_steps
        return seen if most is None else min(seen, most * config.optim.batch_size)


def segmenter_folder(output: Path, row: str, seed: int) -> Path:
    """Return the folder of a row's segmenter in an adaptation."""
    return output / "segmenters" / f"{row}-{seed}" / "network"


def make_plan(experiment: Experiment, dataset: str | None, scale: str, seeds: Sequence[int], output: Path) -> Plan:
    """Return the plan, with what the data set says of itself.

    Raises:
        UserError: the data set can't be used, or a row's settings can't work.
    """
    data = dataset or experiment.dataset(scale)
    first = config_of({"dataset": data, **experiment.settings(experiment.rows[0], scale)}, experiment.rows[0].name)
    config = name_domains(first.data)
    splits = find_data(config)
    names = {"a": config.domain_a, "b": config.domain_b}
    if data == "streets" or data.startswith("streets:"):
        names = {side: StreetsSpec.parse(data).view(side) for side in "ab"}
    elif splits.label_domain and names == {"a": "A", "b": "B"}:
        names = {side: "labels" if side == splits.label_domain else "photo" for side in "ab"}
    pictures = max(len(splits.train_a), len(splits.train_b))
    plan = Plan(experiment, data, scale, tuple(seeds), output, names, splits.label_domain, pictures)
    folders: dict[Path, str] = {}
    for training in plan.trainings():
        if folders.setdefault(training.folder, training.row.name) != training.row.name:
            raise ConfigError(
                "rows {row!r} and {other!r} would be trained in the same folder, {folder}: rename one of them",
                row=folders[training.folder], other=training.row.name, folder=training.folder.name,
            )  # fmt: skip
    return plan


# --- the file ------------------------------------------------------------------------------------------------


def record(plan: Plan) -> None:
    """Check that a folder's runs are of this experiment, and write the file.

    Rows and seeds may be added, and others be left out; what is there must have the same settings.

    Raises:
        ConfigError: a setting has changed, or the folder holds something else.
    """
    path, known = plan.output / FILE, {}
    if path.exists():
        before = _content(path)
        try:
            known = before["known"]
            _check_unchanged(plan, before)
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError("{path} is damaged: choose another --output", path=path) from error
    elif foreign := [each.name for each in plan.output.iterdir()
                     if not each.name.startswith(".") and str(each) != plan.dataset]:
        raise ConfigError(
            "{folder} isn't the folder of an experiment, but holds {example}: give a new folder as --output",
            folder=plan.output, example=foreign[0],
        )
    experiment = plan.experiment
    write_json(path, {
        "version": VERSION, "name": experiment.name, "title": experiment.title, "dataset": plan.dataset,
        "scale": plan.scale, "seeds": plan.seeds, "names": dict(plan.names), "label_domain": plan.label_domain,
        "pictures": plan.pictures,
        "rows": [dataclasses.asdict(row) for row in experiment.rows],
        "shared": dict(experiment.shared), "at": {key: dict(value) for key, value in experiment.at.items()},
        "every_epoch": experiment.every_epoch, "adapts": experiment.adapts,
        "known": known | {row.name: plan.settings(row) for row in experiment.rows},
    })  # fmt: skip


def _content(path: Path) -> dict[str, Any]:
    content = read_json(path, error=ConfigError)
    if content.get("version") != VERSION:
        raise ConfigError("{path} is of another version of this program: choose another --output", path=path)
    return content


def _check_unchanged(plan: Plan, before: Mapping[str, Any]) -> None:
    changes = [
        message("--{name} was {then}, now {now}", name=name, then=before[name], now=getattr(plan, name))
        for name in ("scale", "dataset") if before[name] != getattr(plan, name)
    ]  # fmt: skip
    for row in plan.experiment.rows:
        if changes or row.name not in before["known"]:
            continue
        old, new = before["known"][row.name], plan.settings(row)
        changes += [
            message("row {row!r} had {name} {then}, now {now}", row=row.name, name=name,
                    then=old.get(name, "unset"), now=new.get(name, "unset"))
            for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)
        ]  # fmt: skip
    if changes:
        raise ConfigError(
            "{folder} holds runs with other settings: {change}{more}. Give the old ones, or another --output",
            folder=plan.output, change=changes[0],
            more=message(" (and {n} more)", n=len(changes) - 1) if len(changes) > 1 else "",
        )  # fmt: skip


def read_plan(output: Path) -> Plan:
    """Return the plan in an experiment's folder.

    Raises:
        ConfigError: there is none.
    """
    path = output / FILE
    if not path.exists():
        raise ConfigError("{folder} holds no experiment yet: leave out --render to begin one", folder=output)
    content = _content(path)
    try:
        rows = tuple(
            Row(row["name"], row["settings"], tuple(row["directions"]),
                {key: tuple(value) for key, value in row["paper"].items()}, row["at"], row["from_labels"])
            for row in content["rows"]
        )  # fmt: skip
        experiment = Experiment(
            content["name"], content["title"], rows, content["shared"], content["at"],
            every_epoch=content.get("every_epoch", False), adapts=content.get("adapts", False),
        )  # fmt: skip
        return Plan(
            experiment, content["dataset"], content["scale"], tuple(content["seeds"]), output, content["names"],
            content["label_domain"], content["pictures"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError("{path} is damaged: give the same command without --render", path=path) from error


def failure(folder: Path) -> str | None:
    """Return why a run failed, None unless it did."""
    path = folder / "failed.txt"
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else None
