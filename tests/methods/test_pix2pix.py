"""pix2pix: its step against an independent one with batch norm, dropout that stays on, resuming, and the whole way."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import nn

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.cli.flags import parse_train_config
from cyclegan.config import DataConfig, ModelConfig, OptimConfig, Pix2PixConfig, RunConfig, TrainConfig
from cyclegan.errors import ConfigError
from cyclegan.training.trainer import Trainer
from cyclegan.translation.translator import Translator
from tests.methods.test_reference_step import copy_weights, plain_discriminator, plain_generator
from tests.ui.conftest import picture

pytestmark = pytest.mark.usefixtures("any_precision")
FLAGS = ("--method", "pix2pix", "--dataset", "streets:count=3,size=36", "--load_size", "36", "--crop_size", "32",
         "--generator", "encoder_decoder", "--ngf", "4", "--ndf", "4", "--n_layers_d", "2", "--sample_count", "2",
         "--log_every", "1", "--epochs", "1", "--decay_epochs", "0")  # fmt: skip


class PlainUnet(nn.Module):
    """The published U-Net at 128²: C64-C128-C256-C512 ×4 and back, with batch norm, dropout and skips (appendix)."""

    def __init__(self, k):
        super().__init__()
        widths = [k, 2 * k, 4 * k, 8 * k, 8 * k, 8 * k, 8 * k]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            layers = [nn.Conv2d(3 if level == 0 else widths[level - 1], width, 4, 2, 1)]
            layers += [nn.BatchNorm2d(width)] if 0 < level < 6 else []
            self.down.append(nn.Sequential(*layers))
        for level in (6, 5, 4, 3, 2, 1):
            into = widths[level] * (1 if level == 6 else 2)
            layers = [nn.ConvTranspose2d(into, widths[level - 1], 4, 2, 1), nn.BatchNorm2d(widths[level - 1])]
            self.up.append(nn.Sequential(*layers, *[nn.Dropout(0.5)] * (level in (4, 5))))
        self.up.append(nn.ConvTranspose2d(2 * k, 3, 4, 2, 1))

    def forward(self, x):
        skips = []
        for level, layers in enumerate(self.down):
            x = layers(x if level == 0 else nn.functional.leaky_relu(x, 0.2))
            skips.append(x)
        x = skips.pop()
        for layers in self.up[:-1]:
            x = torch.cat([skips.pop(), layers(torch.relu(x))], dim=1)
        return torch.tanh(self.up[-1](torch.relu(x)))


def plain_judge(k):
    """C64-C128-C256-C512 on six channels, with batch norm."""
    layers = list(plain_discriminator(k))
    layers[0] = nn.Conv2d(6, k, 4, 2, 1)
    return nn.Sequential(*(nn.BatchNorm2d(x.num_features) if isinstance(x, nn.InstanceNorm2d) else x for x in layers))


class PlainPix2Pix:
    """Sections 3.1 and 3.3, the generator first."""

    def __init__(self, gen, disc, loss, weight):
        self.gen, self.disc, self.loss, self.weight = gen, disc, loss, weight
        self.optim_g, self.optim_d = (torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (gen, disc))

    def step(self, x, y):
        fake = self.gen(x)
        on_fake = self.disc(torch.cat([x, fake], dim=1))
        losses = {"gan": self.loss(on_fake, torch.ones_like(on_fake)), "l1": (y - fake).abs().mean()}
        self.optim_g.zero_grad()
        (losses["gan"] + self.weight * losses["l1"]).backward()
        self.optim_g.step()
        self.optim_d.zero_grad()
        on_real = self.disc(torch.cat([x, y], dim=1))
        on_fake = self.disc(torch.cat([x, fake.detach()], dim=1))
        losses["disc"] = (
            self.loss(on_real, torch.ones_like(on_real)) + self.loss(on_fake, torch.zeros_like(on_fake))
        ) / 2
        losses["disc"].backward()
        self.optim_d.step()
        return losses


def make(model=None, run=None, optim=None, precision="no", **loss):
    published = {"generator": "unet_128", "dropout": True, "test_dropout": True, "norm_affine": True}
    config = TrainConfig(
        data=DataConfig(dataset="none"),
        model=ModelConfig(**({"ngf": 2, "ndf": 2} | published | (model or {}))),
        loss=Pix2PixConfig(**loss),
        optim=OptimConfig(**(optim or {})),
        run=RunConfig(output_dir="none", method="pix2pix", seed=3, **(run or {})),
    )
    return Trainer(config, None, Accelerator(cpu=True, mixed_precision=precision))


ALIKE = {"generator": "resnet_6", "dropout": False, "test_dropout": False, "norm_affine": False}


def compare(trainer, plain, direction, *, count, side):
    """Three steps of both; in float64, as in test_reference_step.py."""
    source, target = direction
    for name, theirs in ((f"gen_{direction}", plain.gen), (f"disc_{target}", plain.disc)):
        copy_weights(trainer.networks[name].double(), theirs.double())
    before = [p.detach().clone() for p in plain.gen.parameters()]
    chance = torch.Generator().manual_seed(0)
    for number in range(3):
        batch = {
            f"real_{d}": torch.rand(count, 3, side, side, dtype=torch.float64, generator=chance) * 2 - 1 for d in "ab"
        }
        torch.manual_seed(number)  # Both draw the same dropout.
        ours = trainer.step(batch)
        torch.manual_seed(number)
        theirs = plain.step(batch[f"real_{source}"], batch[f"real_{target}"])
        assert ours.keys() == {f"gan_{direction}", f"l1_{direction}", f"disc_{target}"}
        for ending, names in ((direction, ("gan", "l1")), (target, ("disc",))):
            for name in names:
                torch.testing.assert_close(ours[f"{name}_{ending}"], theirs[name].detach(), rtol=1e-6, atol=0)
    for name, theirs in ((f"gen_{direction}", plain.gen), (f"disc_{target}", plain.disc)):
        for x, y in zip(trainer.networks[name].parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(x.detach(), y.detach(), rtol=0, atol=1e-7)
    assert max((p.detach() - q).abs().max() for p, q in zip(plain.gen.parameters(), before, strict=True)) > 3e-4


@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_a_step_of_one_pair_equals_the_published_one_with_batch_norm(direction):
    plain = PlainPix2Pix(PlainUnet(2), plain_judge(2), nn.BCEWithLogitsLoss(), 100)
    trainer = make(direction=direction)
    assert set(trainer.networks) == {f"gen_{direction}", f"disc_{direction[1]}"}
    assert trainer.method.published == (f"gen_{direction}",) and trainer.method.paired
    compare(trainer, plain, direction, count=1, side=128)


def test_steps_like_cyclegan_equal_plain_ones_for_two_pairs():
    judge = plain_discriminator(2)
    judge[0] = nn.Conv2d(6, 2, 4, 2, 1)
    plain = PlainPix2Pix(plain_generator(2, 6), judge, nn.MSELoss(), 10)
    trainer = make(ALIKE, gan_mode="lsgan", lambda_l1=10.0, pool_size=50)
    compare(trainer, plain, "ab", count=2, side=32)
    assert len(trainer.method.pool.images) == 6 and trainer.method.pool.images[0].shape == (6, 32, 32)  # Pairs.


def test_the_help_has_its_own_defaults(capsys):
    with pytest.raises(SystemExit):
        parse_train_config(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for flag in ("--generator unet_256", "--dropout, --test_dropout", "--gan_mode vanilla", "--pool_size 0"):
        assert flag in text.split("pix2pix: ")[1].split("simgan: ")[0]


def test_options():
    published = parse_train_config(["--method", "pix2pix", "--dataset", "d", "--output_dir", "o"])
    model, loss = published.model, published.loss
    assert (model.generator, model.dropout, model.test_dropout, model.norm_affine) == ("unet_256", True, True, True)
    assert (loss.gan_mode, loss.lambda_l1, loss.pool_size, loss.direction) == ("vanilla", 100, 0, "ab")
    assert loss.describe() == "adversarial (vanilla) × 1, L1 to the true picture × 100"
    alike = parse_train_config(["--method", "pix2pix", "--dataset", "d", "--output_dir", "o", "--like_cyclegan",
                                "--lambda_l1", "20"])  # fmt: skip
    assert replace(alike.model, dropout=False) == ModelConfig()
    assert (alike.loss.gan_mode, alike.loss.lambda_l1, alike.loss.pool_size) == ("lsgan", 20, 50)
    without = parse_train_config(["--method", "pix2pix", "--dataset", "d", "--output_dir", "o", "--no-dropout"]).model
    assert not without.dropout and not without.test_dropout and without.recorded()[1] == 1
    with pytest.raises(ConfigError, match="raise --lambda_gan or --lambda_l1"):
        Pix2PixConfig(lambda_gan=0.0, lambda_l1=0.0).validate()


def random_batch(seed, n=1, side=32):
    chance = torch.Generator().manual_seed(seed)
    return {name: torch.rand(n, 3, side, side, generator=chance) * 2 - 1 for name in ("real_a", "real_b")}


def test_l1_alone_trains_no_discriminator():
    trainer = make(ALIKE, lambda_gan=0.0)
    disc = [p.detach().clone() for p in trainer.networks["disc_b"].parameters()]
    assert trainer.step(random_batch(0)).keys() == {"l1_ab"}
    assert all(torch.equal(p, q) for p, q in zip(disc, trainer.networks["disc_b"].parameters(), strict=True))
    assert not trainer.config.loss.trains_discriminators


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_resumed_run_takes_the_same_steps(precision):
    model = {"generator": "encoder_decoder", "n_layers_d": 2}
    options = {"pool_size": 2, "optim": {"ema": 0.5}, "precision": precision}
    trainer = make(model, **options)
    for seed in range(3):
        trainer.step(random_batch(seed))
    resumed = make(model, **options)
    resumed.load_state_dict(copy.deepcopy(trainer.state_dict()))
    for seed in range(3, 6):
        torch.manual_seed(seed)  # Of dropout.
        ours = trainer.step(random_batch(seed))
        torch.manual_seed(seed)
        theirs = resumed.step(random_batch(seed))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for name, network in trainer.networks.items():
        assert all(map(torch.equal, network.state_dict().values(), resumed.networks[name].state_dict().values()))
    ours, theirs = (each.published_generators()["gen_ab"].state_dict() for each in (trainer, resumed))
    assert all(map(torch.equal, ours.values(), theirs.values()))


@pytest.mark.slow
def test_it_trains_and_translates(tmp_path, run_script):
    run = tmp_path / "run"
    said = run_script("train_accelerate.py", *FLAGS, "--direction", "ba", "--output_dir", run).stderr
    assert "l1" in said and "disc" in said and "warning" not in said
    record, config = (json.loads((run / f"epoch-0001/{name}.json").read_text()) for name in ("checkpoint", "config"))
    assert record["losses"].keys() == {"gan_ba", "l1_ba", "disc_a"} and "truth_l1_ba" in record["metrics"]
    assert config["format_version"] == 2 and config["train"]["loss"]["lambda_l1"] == 100
    source = LocalSource(run)
    assert source.list()[0].directions == ("ba",)
    checkpoint = source.load(1)
    translator = Translator(checkpoint, "cpu")
    one, two = picture(40, 32), picture(40, 32).transpose(Image.Transpose.ROTATE_180)
    alone = translator.translate(one, "ba").fake
    again, _ = translator.translate_batch([one, two], "ba")
    assert alone.tobytes() == again.tobytes()

    from hub.card.sections import block

    card = block("alice/x", checkpoint.info, [], set(), None, None, None, [])
    assert "[pix2pix](https://arxiv.org/abs/1611.07004)" in card and "L1 to the true picture × 100" in card
