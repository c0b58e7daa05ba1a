"""The segmenter of `--lambda_semantic`: found, refused, recorded, compared; and the whole way with both extra terms."""

import dataclasses
import json

import pytest
import torch

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import CUTConfig, CycleGANConfig, DataConfig, RunConfig, TrainConfig
from cyclegan.data import find_data
from cyclegan.data.streets import PALETTE
from cyclegan.errors import CheckpointError, ConfigError
from cyclegan.evaluation.segmenter import Segmenter, load_segmenter, save_segmenter
from cyclegan.networks.segmenter import UNet
from cyclegan.training.run import Run
from cyclegan.training.semantic import SemanticSegmenter, open_segmenter
from tests.blocks import CLASSES, write_blocks
from tests.data.test_next_frames import recordings
from tests.training.test_run_folder import ALONE, add_state

STREETS = "streets:size=32,count=1,test_count=1"


def judge(folder, *, seed=0, **about):
    torch.manual_seed(seed)
    segmenter = Segmenter(CLASSES, 32, UNet(CLASSES.count).eval(), {"network": "unet", **about})
    save_segmenter(segmenter, folder)
    return segmenter


def settings(dataset, **loss):
    loss = CycleGANConfig(**{"lambda_semantic": 1.0, **loss})
    return TrainConfig(data=DataConfig(dataset=str(dataset)), loss=loss, run=RunConfig(output_dir="none"))


def opened(dataset, **loss):
    config = settings(dataset, **loss)
    return open_segmenter(config, find_data(config.data))


def test_without_the_term_nothing_is_opened(tmp_path):
    config = settings(STREETS, lambda_semantic=0.0)
    assert open_segmenter(config, None) == (config, None)
    pix2pix = TrainConfig(run=RunConfig(method="pix2pix"))
    assert open_segmenter(pix2pix, None) == (pix2pix, None)


def test_the_embedded_one_reads_streets_and_has_a_fingerprint():
    config, found = opened(STREETS)
    assert config.loss.semantic_domain == "ab" and found.reader.side == 128
    assert found.record == {"name": "", "weights": load_segmenter(None, PALETTE).fingerprint}
    assert not any(p.requires_grad for p in found.reader.parameters()) and not found.reader.training


@pytest.mark.parametrize(
    ("about", "asked", "domain"),
    [({"domains": "b"}, "auto", "b"), ({"domains": "ab"}, "auto", "ab"), ({}, "auto", "ab"),
     ({"domains": "b"}, "a", "a"), ({"domains": "b"}, "ab", "ab"), ({"domains": 7}, "auto", "ab")],
)  # fmt: skip
def test_the_domains_are_those_that_it_was_trained_on_unless_others_are_asked_for(tmp_path, about, asked, domain):
    made = judge(tmp_path / "judge", **about)
    config, found = opened(write_blocks(tmp_path / "blocks"), semantic_segmenter=str(tmp_path / "judge"),
                           semantic_domain=asked)  # fmt: skip
    assert config.loss.semantic_domain == config.loss.read == domain
    assert found.record == {"name": "judge", "weights": made.fingerprint} and len(made.fingerprint) == 16


def test_cut_reads_its_source_alone(tmp_path):
    judge(tmp_path / "judge", domains="b")
    loss = CUTConfig(lambda_semantic=1.0, semantic_segmenter=str(tmp_path / "judge"))
    config = TrainConfig(loss=loss, run=RunConfig(method="cut"))
    after, found = open_segmenter(config, find_data(DataConfig(dataset=str(write_blocks(tmp_path / "blocks")))))
    assert after == config and after.loss.read == "a" and found is not None


def test_pictures_without_labels_need_a_folder_whose_classes_count_then(tmp_path):
    root = recordings(tmp_path / "drive")
    with pytest.raises(ConfigError, match="drive has no labels to choose one by: give its folder with --semantic_seg"):
        opened(root)
    judge(tmp_path / "judge")
    assert opened(root, semantic_segmenter=str(tmp_path / "judge"))[1] is not None


@pytest.mark.parametrize(
    ("dataset", "loss", "says"),
    [
        ("streets:a=labels,b=day", {}, r"it can't read the pictures of domain a in streets:a=labels,b=day"),
        ("streets", {"semantic_segmenter": "nowhere"}, "nowhere holds no segmenter"),
        ("blocks", {}, "no segmenter for the classes ground, red, blue comes with this package: train one"),
        ("streets", {"semantic_segmenter": "judge"}, "judge was trained for other classes"),
    ],
)
def test_what_cannot_work_is_one_sentence(tmp_path, monkeypatch, dataset, loss, says):
    monkeypatch.chdir(tmp_path)
    write_blocks(tmp_path / "blocks")
    judge(tmp_path / "judge")
    with pytest.raises((ConfigError, CheckpointError), match=says):
        opened(dataset, **loss)


def test_other_weights_are_noted_at_a_resume(tmp_path):
    def start(weights):
        config = settings(STREETS)
        config = dataclasses.replace(
            config, run=dataclasses.replace(config.run, output_dir=str(tmp_path), resume="auto")
        )
        found = SemanticSegmenter(None, {"name": "judge", "weights": weights}) if weights else None
        with Run(config, ALONE, segmenter=found) as run:
            return [str(note) for note in run.notes]

    assert start("1111") == []
    assert json.loads((tmp_path / "run.json").read_text())["semantic_segmenter"] == {"name": "judge", "weights": "1111"}
    add_state(tmp_path, 5)
    assert start("1111") == []
    (note,) = start("2222")
    assert "has other weights (2222) than at the run's last start (1111)" in note
    assert start(None) == [] and "semantic_segmenter" not in json.loads((tmp_path / "run.json").read_text())


@pytest.mark.slow
def test_it_goes_the_whole_way_with_both_terms(tmp_path, run_script):
    root, run, place = recordings(tmp_path / "drive"), tmp_path / "run", tmp_path / "judge"
    made = judge(place, domains="a")
    flags = (
        "train_accelerate.py", "--dataset", root, "--load_size", "36", "--crop_size", "32", "--generator", "resnet_6",
        "--ngf", "4", "--ndf", "4", "--n_layers_d", "2", "--sample_count", "2", "--decay_epochs", "0",
        "--lambda_semantic", "1", "--semantic_segmenter", place, "--lambda_temporal", "10", "--output_dir", run,
        "--resume", "auto", "--epochs",
    )  # fmt: skip
    said = run_script(*flags, "1").stderr
    assert "identity × 0.5 of the cycle's weight, semantic × 1 (A), temporal × 10\n" in said
    assert "trainA: 4 of 6 pictures have a next frame" in said
    record = json.loads((run / "epoch-0001/checkpoint.json").read_text())
    extra = {name for name in record["losses"] if name.startswith(("semantic", "temporal"))}
    assert extra == {"semantic_ab", "temporal_ab", "temporal_ba"}
    assert record["semantic_segmenter"] == {"name": "judge", "weights": made.fingerprint}
    assert str(tmp_path) not in (run / "epoch-0001/config.json").read_text()
    assert LocalSource(run).load(1).info.losses["temporal_ab"] >= 0
    assert judge(place, seed=1, domains="a").fingerprint != made.fingerprint
    said = run_script(*flags, "2").stderr
    assert f"than at the run's last start ({made.fingerprint})" in said and (run / "epoch-0002").exists()
