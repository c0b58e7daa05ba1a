"""Settings in a file."""

import json

import pytest
import yaml

from cyclegan.cli.flags import parse_train_config
from cyclegan.config import TrainConfig

NEEDED = "dataset: streets\noutput_dir: out\n"


@pytest.fixture
def file(tmp_path):
    def write(text, name="c.yaml"):
        (tmp_path / name).write_text(text if isinstance(text, str) else json.dumps(text))
        return str(tmp_path / name)

    return write


def parse(path, *words):
    return parse_train_config(["--config", path, *map(str, words)])


def refused(capsys, path, *words):
    with pytest.raises(SystemExit) as status:
        parse(path, *words)
    assert status.value.code == 2
    return capsys.readouterr().err


def test_flat_and_grouped_settings_and_flags_that_win(file):
    config = parse(file(NEEDED + "ngf: 32\noptim: {lr: 1e-4, epochs: 7}\nloss:\n  pool_size: 3\n"), "--epochs", 9)
    assert (config.model.ngf, config.optim.lr, config.optim.epochs, config.loss.pool_size) == (32, 1e-4, 9, 3)


def test_what_yaml_reads_differently(file):
    text = "mixed_precision: no\nlr: 2e-3\nema: 0\ndomain_a: 1990\nflip: off\nmax_images: null\nresume: none\n"
    config = parse(file(NEEDED + text))
    assert (config.run.mixed_precision, config.optim.lr, config.optim.ema) == ("no", 2e-3, 0.0)
    assert (config.data.domain_a, config.data.flip, config.data.max_images) == ("1990", False, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ngff: 3", "there is no setting ngff; do you mean ngf?"),
        ("optim: {epoch: 3}", "there is no setting epoch; do you mean epochs?"),
        ("ngf: many", "ngf must be int, not 'many'"), ("ngf: 0", "--ngf 0 is out of range"),
        ("lr: fast", "lr must be float"), ("optim: 3", "optim is a group"), ("- ngf", "holds no settings by name"),
        ("ngf: [", "neither YAML nor JSON"), ("ngf: 3\nmodel: {ngf: 4}", "has ngf twice"),
        ("generator: resnet", "--generator 'resnet' is not one of"), ("method: cutt", "--method 'cutt' is not one of"),
        ("ngf: 3\nngf: 4", "ngf is there twice"), ('ngf: !!int ""', "neither YAML nor JSON"),
        ("ngf: &a [x, x]\nndf: [*a, *a]", "settings take no aliases"), ("ngf: [[x, x], [x, x]]", "ngf must be int"),
    ],
)  # fmt: skip
def test_mistakes_are_named(text, words, file, capsys):
    said = refused(capsys, file(text if text.startswith("-") else NEEDED + text + "\n"))
    assert words in said and "Traceback" not in said and "c.yaml" in said or words.startswith("--")


def test_a_missing_file(tmp_path, capsys):
    assert "can't be read (No such file" in refused(capsys, str(tmp_path / "none.yaml"))
    assert "can't be read" in refused(capsys, str(tmp_path))


def test_another_runs_settings_without_its_place(file, capsys):
    words = ["--dataset", "streets", "--output_dir", "runs/first", "--ngf", "8", "--resume", "auto", "--push_to_hub",
             "--hub_model_id", "ann/maps"]  # fmt: skip
    first = parse_train_config(words)
    run = file({"run_id": "1", "config": first.to_json(), "started_from": {"source": "x"}}, "run.json")
    assert "--output_dir is missing" in refused(capsys, run)
    config = parse(run, "--output_dir", "runs/second")
    said = capsys.readouterr().err
    assert "from it, output_dir, resume, push_to_hub, hub_model_id aren't taken" in said
    assert config.model == first.model and config.data == first.data and config.optim == first.optim
    assert (config.run.output_dir, config.run.resume, config.run.push_to_hub) == ("runs/second", "none", False)


def test_a_checkpoints_config(file):
    from cyclegan.checkpoints.format import CheckpointConfig

    first = parse_train_config(["--dataset", "streets", "--output_dir", "x", "--ngf", "8", "--pool_size", "3"])
    config = parse(file(CheckpointConfig.of(first).to_json(), "config.json"), "--output_dir", "y")
    assert (config.model.ngf, config.loss.pool_size) == (8, 3)


def test_the_printed_config_is_read_back(file, capsys):
    words = ["--dataset", "streets", "--output_dir", "out", "--lr", "1e-5", "--domain_a", "낮", "--epochs", "3"]
    with pytest.raises(SystemExit) as status:
        parse_train_config([*words, "--print_config"])
    printed = capsys.readouterr().out
    assert status.value.code == 0 and parse(file(printed)) == parse_train_config(words)
    assert TrainConfig.from_json(yaml.safe_load(printed)) == parse_train_config(words)


def test_a_preset_that_is_typed_wins_over_the_file_and_a_flag_over_both(file, capsys):
    with pytest.raises(SystemExit):
        parse_train_config(["--dataset", "streets", "--output_dir", "x", "--method", "cut", "--print_config"])
    printed = file(capsys.readouterr().out)
    config = parse(printed, "--fastcut", "--augment", "small", "--zoom", "0.3")
    assert (config.loss.lambda_nce, config.loss.nce_identity, config.optim.epochs) == (10.0, False, 150)
    assert (config.data.rotate, config.data.zoom) == (10.0, 0.3)
    config = parse(file(NEEDED + "augment: small\nrotate: 5\n"))
    assert (config.data.rotate, config.data.zoom) == (5.0, 0.15)


def test_another_method_leaves_the_files_options_of_its_own(file, capsys):
    config = parse(file(NEEDED + "method: pix2pix\nlambda_l1: 50\ngan_mode: hinge\n"), "--method", "cut")
    assert (config.run.method, config.loss.gan_mode) == ("cut", "hinge")
    assert "is of method pix2pix, so its lambda_l1 aren't taken" in capsys.readouterr().err
