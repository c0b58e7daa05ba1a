"""Rows of settings: the given experiments at every scale, and a person's own, with errors that name the place."""

import pytest

from cyclegan.errors import ConfigError
from cyclegan.experiments.paper import TABLES_2_3, TABLES_4_5
from cyclegan.experiments.plan import make_plan
from cyclegan.experiments.spec import (
    EXPERIMENTS,
    SCALES,
    Experiment,
    Row,
    config_of,
    find_experiment,
    flags,
    shown_command,
)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_given_experiments_have_settings_that_work(tmp_path, name, scale):
    plan = make_plan(EXPERIMENTS[name], "streets:a=labels,b=day,count=4,test_count=2", scale, [0], tmp_path)
    trainings = plan.trainings()
    assert len({training.folder for training in trainings}) == len(trainings)
    for training in trainings:
        size, multiple = training.config.data.crop_size, training.config.model.size_multiple
        assert size % multiple == 0, f"{training.name}: {size} isn't a multiple of {multiple}"


def test_tables_has_all_rows_of_the_papers_tables_and_trains_cyclegan_once(tmp_path):
    names = [row.name for row in EXPERIMENTS["tables"].rows]
    assert sorted(names) == sorted({*TABLES_2_3, *TABLES_4_5})
    plan = make_plan(EXPERIMENTS["tables"], None, "tiny", [0], tmp_path)
    assert len(plan.trainings()) == 13  # SimGAN, feature loss and pix2pix once per direction.
    assert plan.names == {"a": "labels", "b": "day"} and plan.paper_way("ab") == "labels → photo"


def test_rows_see_equally_many_pictures(tmp_path):
    for scale in SCALES:
        plan = make_plan(EXPERIMENTS["tables"], "streets:a=labels,b=day", scale, [0], tmp_path)
        assert len({plan.pictures_of(training) for training in plan.trainings()}) == 1


def test_the_forward_cycle_is_that_of_the_labels(tmp_path):
    for dataset, weight in (("a=labels,b=day", "lambda_cycle_b"), ("a=day,b=labels", "lambda_cycle_a")):
        plan = make_plan(EXPERIMENTS["ablations"], f"streets:{dataset}", "tiny", [0], tmp_path)
        forward = next(t for t in plan.trainings() if t.row.name == "GAN + forward cycle")
        assert getattr(forward.config.loss, weight) == 0
        own = Experiment("mine", "Mine", (Row("as it says", {"lambda_cycle_a": 3.0}),))
        (training,) = make_plan(own, f"streets:{dataset}", "tiny", [0], tmp_path).trainings()
        assert training.config.loss.lambda_cycle_a == 3
        assert plan.paper_way("ab" if dataset.endswith("day") else "ba") == "labels → photo"


def test_gta_is_the_grid_with_the_four_runs():
    rows = EXPERIMENTS["gta"].rows
    assert len(rows) == 12
    assert [row.settings["leaky_slope"] for row in rows if "(run " in row.name] == [0.0, 0.2, 0.2, 0.2]


def test_own_experiments_come_from_yaml(tmp_path):
    path = tmp_path / "pools.yaml"
    path.write_text("""
title: Does the pool matter?
from: pool
shared: {ngf: 16}
rows:
  no pool: {pool_size: 0, lr: 1e-4, directions: ab, paper: {labels → photo: [0.5, 0.1, 0.1]}}
  U-Net: {generator: null, method: pix2pix, crop_size: 256, load_size: 286}
""")
    found = find_experiment(str(path))
    assert (found.name, found.title) == ("pools", "Does the pool matter?")
    assert [row.name for row in found.rows] == ["pool of 50", "no pool", "U-Net"]
    own = found.rows[1]
    assert own.settings == {"pool_size": 0, "lr": 1e-4} and own.directions == ("ab",)
    assert own.paper == {"labels → photo": (0.5, 0.1, 0.1)}
    assert found.settings(own, "tiny")["ngf"] == 16
    third = config_of({"dataset": "streets", **found.settings(found.rows[2], "tiny")}, "U-Net")
    assert third.model.generator == "unet_256"  # The method's own.


@pytest.mark.parametrize(("text", "said"), [
    ("rows: {a: {pol_size: 3}}", "mine.yaml, row 'a': there is no setting pol_size; do you mean pool_size?"),
    ("rows: {a: {pool_size: many}}", "mine.yaml, row 'a': .*pool_size"),
    ("rows: {a: {method: cut, lambda_cycle_a: 1}}", "row 'a': --lambda_cycle_a isn't an option of --method cut"),
    ("rows: {a: {seed: 3}}", "row 'a': seed isn't for rows, because the command decides it"),
    ("rows: {a: 3}", "row 'a' must hold settings by name"),
    ("rows: {a: {directions: both}}", "row 'a': directions are ab, ba"),
    ("rows: {a: {paper: [1, 2, 3]}}", "row 'a': paper holds pixel accuracy"),
    ("rows: {A b: {}, a-B: {}}", "two rows have names as like as 'A b'"),
    ("rows: []", "rows must hold settings by the row's name"),
    ("{}", "rows must hold settings"),
    ("row: {a: {}}", "there is no row, only title, from, shared, rows; do you mean rows?"),
    ("from: poll", "from 'poll' isn't a given experiment: choose tables"),
    ("from: [pool]", "isn't a given experiment: choose tables"),
    ("rows: {a: {paper: {labels → photo: [.nan, 0.1, 0.1]}}}", "row 'a': paper holds pixel accuracy"),
    ("rows: {a: {method: pix2pix, direction: ba, directions: [ab]}}", "row 'a': direction and directions differ"),
    ("shared: {ngff: 2}\nrows: {a: {}}", "mine.yaml, shared: there is no setting ngff; do you mean ngf?"),
    ("- a", "mine.yaml holds no settings by name"),
    ("rows: {a: {}, a: {}}", "mine.yaml is neither YAML nor JSON .*a is there twice"),
])  # fmt: skip
def test_errors_name_the_file_the_row_and_the_remedy(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        find_experiment(str(path))


def test_values_that_cannot_work_name_their_row(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("rows: {good: {}, bad: {load_size: 8}}")
    with pytest.raises(ConfigError, match="row 'bad': --load_size 8 is smaller"):
        make_plan(find_experiment(str(path)), None, "tiny", [0], tmp_path / "out")


def test_unknown_names_get_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="there is no experiment ablation: .*do you mean ablations?"):
        find_experiment("ablation")
    with pytest.raises(ConfigError, match="missing.yaml can't be read"):
        find_experiment(str(tmp_path / "missing.yaml"))
    with pytest.raises(ConfigError, match="--scale paper needs --dataset"):
        make_plan(EXPERIMENTS["pool"], None, "paper", [0], tmp_path)


def test_settings_become_flags():
    assert flags({"flip": False, "dropout": True, "lr": 0.1}) == ["--no-flip", "--dropout", "--lr", "0.1"]
    assert shown_command({"dataset": "my data"}) == "python train_accelerate.py --dataset 'my data'"


def test_names_of_rows_fit_tables_and_folders(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text('title:\nrows: {"a |\\n b": {}, ' + "x" * 300 + ": {}}")
    found = find_experiment(str(path))
    assert found.title == "mine" and found.rows[0].name == "a | b"
    assert len(found.rows[1].slug) == 100
    path.write_text("rows: {x: {method: pix2pix}, x ab: {pool_size: 0}}")
    with pytest.raises(ConfigError, match="rows 'x' and 'x ab' would be trained in the same folder, x-ab-0: rename"):
        make_plan(find_experiment(str(path)), None, "tiny", [0], tmp_path / "out")


def test_a_direction_among_the_settings_is_the_rows(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("rows: {a: {method: pix2pix, direction: ba}, b: {method: pix2pix, direction: ab, directions: ab}}")
    assert [row.directions for row in find_experiment(str(path)).rows] == [("ba",), ("ab",)]
