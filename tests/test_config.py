"""Settings: validated, into JSON and back, and on the command line under their own names."""

import argparse
import dataclasses

import pytest

from cyclegan.cli.flags import add_config_flags, config_from_args, make_parser, parse_train_config
from cyclegan.config import (
    METHOD_CONFIGS,
    CycleGANConfig,
    DataConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
)
from cyclegan.errors import ConfigError
from cyclegan.networks import build_generator

GROUPS = (DataConfig, ModelConfig, CycleGANConfig, OptimConfig, RunConfig)
ENOUGH = ["--dataset", "x", "--output_dir", "y"]


def test_every_field_is_a_flag_and_no_two_groups_share_a_name():
    names = [f.name for group in GROUPS for f in dataclasses.fields(group)]
    assert len(names) == len(set(names))
    parser = make_parser("x", "y")
    add_config_flags(parser)
    flags = {option for action in parser._actions for option in action.option_strings}
    hidden = {f.name for group in GROUPS for f in dataclasses.fields(group) if not f.metadata["flag"]}
    assert flags >= {f"--{name}" for name in names if name not in hidden} and hidden == {"picture_size"}
    assert all(f.metadata["help"] for group in GROUPS for f in dataclasses.fields(group))


def test_flags_reach_their_fields():
    config = parse_train_config([*ENOUGH, "--lambda_cycle_a", "3", "--no-flip", "--max_images", "7", "--lr", "1e-3",
                                 "--generator", "unet_128", "--crop_size", "128", "--compile"])  # fmt: skip
    assert (config.loss.lambda_cycle_a, config.data.flip, config.data.max_images) == (3.0, False, 7)
    assert (config.optim.lr, config.model.generator, config.run.compile) == (1e-3, "unet_128", True)
    assert config.loss.lambda_cycle_b == 10.0


def test_json_round_trip():
    config = parse_train_config([*ENOUGH, "--ema", "0.9", "--seed", "5"])
    assert TrainConfig.from_json(config.to_json()) == config
    values = config.to_json()
    values["optim"]["lr"] = 1  # JSON writers drop the point.
    assert TrainConfig.from_json(values).optim.lr == 1.0


@pytest.mark.parametrize(
    ("group", "values", "says"),
    [
        (ModelConfig, {"generator": "resnet_7"}, "resnet_7"),
        (ModelConfig, {"ngf": "64"}, "ngf must be int"),
        (ModelConfig, {"ngf": True}, "ngf must be int"),
        (ModelConfig, {"width": 3}, "no setting width"),
        (ModelConfig, [1], "JSON object"),
        (DataConfig, {"load_size": 100}, "--load_size 100 is smaller"),
        (CycleGANConfig, {"lambda_gan": 0.0, "lambda_cycle_a": 0.0, "lambda_cycle_b": 0.0}, "every loss weight is 0"),
        (OptimConfig, {"epochs": 0, "decay_epochs": 0}, "nothing to train"),
        (OptimConfig, {"lr": -1.0}, "--lr"),
        (OptimConfig, {"ema": 1.0}, "--ema"),
        (RunConfig, {"push_to_hub": True}, "--hub_model_id"),
    ],
)
def test_what_cannot_work_is_refused_by_name(group, values, says):
    with pytest.raises(ConfigError, match=says):
        group.from_json(values)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "--dataset is missing"),
        (["--dataset", "x"], "--output_dir is missing"),
        ([*ENOUGH, "--crop_size", "130"], "multiple of 4"),
        ([*ENOUGH, "--generator", "unet_256", "--crop_size", "128"], "multiple of 256"),
        ([*ENOUGH, "--crop", "128"], "unrecognized"),
        ([*ENOUGH, "--lr", "inf"], "--lr must be a finite number, not inf"),
        ([*ENOUGH, "--lambda_cycle_a", "nan"], "--lambda_cycle_a must be a finite number, not nan"),
        ([*ENOUGH, "--crop_size", "20", "--load_size", "20"], "at least 24"),
        ([*ENOUGH, "--reference", "--mixed_precision", "bf16"], "--reference computes as published, and --mixed"),
        ([*ENOUGH, "--reference", "--batch_passes"], "--batch_passes doesn't: leave one out"),
        ([*ENOUGH, "--cuda_graphs"], "add --compile"),
        ([*ENOUGH, "--compile", "--preprocess", "none"], "pictures of one size"),
        *(([*ENOUGH, "--gan_mode", "wgan_gp", "--method", method, "--preprocess", preprocess, *more],
           f"--preprocess {preprocess} keeps their own: use resize_crop, or another --gan_mode")
          for method, preprocess, more in (("cyclegan", "none", ()), ("bigan", "scale_width", ()), ("cut", "none", ()),
                                           ("simgan", "none", ()), ("pix2pix", "none", ("--pool_size", "9")))),
        ([*ENOUGH, "--compile", "--cuda_graphs", "--gradient_accumulation_steps", "2"], "several steps"),
    ],
)
def test_the_command_line_says_what_is_wrong(flags, says, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_train_config(flags)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err


def test_gradient_penalties_work_on_pictures_of_any_size_where_fakes_have_the_same():
    for more in (["--preprocess", "none", "--method", "pix2pix"], ["--method", "bigan"],
                 ["--preprocess", "none", "--lambda_gan", "0"]):  # fmt: skip
        assert parse_train_config([*ENOUGH, "--gan_mode", "wgan_gp", *more]).loss.gan_mode == "wgan_gp"


def test_help_shows_defaults_and_choices(capsys):
    with pytest.raises(SystemExit):
        parse_train_config(["--help"])
    text = capsys.readouterr().out
    assert "default: 0.0002" in text and "lsgan" in text and "%%" not in text and "%(" not in text


def test_size_multiples_are_the_networks_own():
    for name in ("resnet_9", "resnet_6", "unet_256", "unet_128", "encoder_decoder"):
        model = ModelConfig(generator=name, ngf=1)
        network = build_generator(model)
        assert network.size_multiple == model.size_multiple and network.min_size <= max(32, model.size_multiple)


def test_config_from_args_takes_a_namespace():
    parser = argparse.ArgumentParser()
    add_config_flags(parser)
    assert config_from_args(parser.parse_args(ENOUGH)).data.dataset == "x"


def test_pages_know_which_methods_learn_from_pairs():
    """They load options only, so the method's own mark has a twin there."""
    from cyclegan.methods import METHODS

    assert {name: METHOD_CONFIGS[name].paired for name in METHODS} == {name: m.paired for name, m in METHODS.items()}
