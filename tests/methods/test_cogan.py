"""CoGAN's step against an independent one, written from the paper; its resume; a run from training to translation."""

import copy
import json

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from cyclegan.checkpoints.export_onnx import export_onnx
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.cli.flags import parse_train_config
from cyclegan.config import TrainConfig
from cyclegan.errors import Cancelled, CheckpointError, ConfigError
from cyclegan.methods import cogan
from cyclegan.methods.losses import gradient_penalty
from cyclegan.training.initial import StartWeights
from cyclegan.training.trainer import Trainer
from cyclegan.translation.translator import Translator
from tests.ui.conftest import picture

SMALL = ("--method", "cogan", "--dataset", "streets:count=4,size=36", "--load_size", "36", "--crop_size", "32",
         "--ngf", "2", "--ndf", "2", "--latent_size", "4", "--inversion_starts", "2", "--inversion_steps", "4",
         "--sample_count", "2", "--batch_size", "2")  # fmt: skip


class PlainNorm(nn.Module):
    """Zero mean and unit variance over all channels and pixels of a picture, then scale and shift by channel."""

    def __init__(self, channels):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        x = x - x.mean((1, 2, 3), keepdim=True)
        x = x / (x.square().mean((1, 2, 3), keepdim=True) + 1e-5).sqrt()
        return x * self.scale[:, None, None] + self.shift[:, None, None]


class PlainCoGAN:
    """Two GANs at 16², layers near z and near the verdict shared; equation 4 of the paper, one step for each player."""

    def __init__(self, n, d, latent):
        up = lambda i, o: [nn.ConvTranspose2d(i, o, 4, 2, 1), PlainNorm(o), nn.PReLU(o)]  # noqa: E731
        self.shared_g = nn.Sequential(
            nn.ConvTranspose2d(latent, 4 * n, 4), PlainNorm(4 * n), nn.PReLU(4 * n), *up(4 * n, 2 * n)
        )
        self.g_a, self.g_b = (nn.Sequential(*up(2 * n, n), nn.Conv2d(n, 3, 3, 1, 1), nn.Tanh()) for _ in "ab")
        self.d_a, self.d_b = (nn.Sequential(nn.Conv2d(3, d, 5, 2, 2), nn.LeakyReLU(0.2)) for _ in "ab")
        self.shared_d = nn.Sequential(
            nn.Conv2d(d, 2 * d, 5, 2, 2), PlainNorm(2 * d), nn.LeakyReLU(0.2), nn.Conv2d(2 * d, 1, 4)
        )
        self.latent = latent
        self.generators = nn.ModuleList([self.shared_g, self.g_a, self.g_b])
        self.judges = nn.ModuleList([self.d_a, self.d_b, self.shared_d])
        adam = {"lr": 2e-4, "betas": (0.5, 0.999)}
        self.optim_g = torch.optim.Adam(self.generators.parameters(), **adam)
        self.optim_d = torch.optim.Adam(self.judges.parameters(), **adam)

    def step(self, a, b):
        z = 2 * torch.rand(len(a), self.latent, dtype=a.dtype) - 1
        h = self.shared_g(z[:, :, None, None])
        fakes = {"a": self.g_a(h), "b": self.g_b(h)}
        judged = lambda x, domain: torch.sigmoid(self.shared_d({"a": self.d_a, "b": self.d_b}[domain](x)))  # noqa: E731
        losses = {f"gan_{'ba' if d == 'a' else 'ab'}": -judged(x, d).log().mean() for d, x in fakes.items()}
        self.optim_g.zero_grad()
        sum(losses.values()).backward()
        self.optim_g.step()
        self.optim_d.zero_grad()
        for domain, real in (("a", a), ("b", b)):
            wrong = (1 - judged(fakes[domain].detach(), domain)).log().mean()
            losses[f"disc_{domain}"] = -(judged(real, domain).log().mean() + wrong) / 2
            losses[f"disc_{domain}"].backward()
        self.optim_d.step()
        return {name: loss.detach() for name, loss in losses.items()}


def config(*flags):
    return parse_train_config([*SMALL, "--output_dir", "none", *flags])


def make(*flags):
    return Trainer(config(*flags), None, Accelerator(cpu=True))


@pytest.mark.parametrize(("run", "batch"), [((), 2), (("--reference",), 1)])
def test_steps_equal_the_papers_term_by_term(run, batch, any_precision):
    trainer = make("--crop_size", "16", "--mixed_precision", "no", *run)
    plain = PlainCoGAN(2, 2, 4)
    pairs = [(trainer.networks["coupled"], plain.generators), (trainer.networks["disc"], plain.judges)]
    for ours, theirs in pairs:
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert mine.shape == other.shape
            other.data.copy_(mine.data)
        ours.double()
        theirs.double()
    before = copy.deepcopy([p.detach() for ours, _ in pairs for p in ours.parameters()])
    torch.manual_seed(0)
    for number in range(3):
        a, b = (torch.rand(batch, 3, 16, 16, dtype=torch.float64) * 2 - 1 for _ in range(2))
        torch.manual_seed(number)
        ours = trainer.step({"real_a": a, "real_b": b})
        torch.manual_seed(number)
        theirs = plain.step(a, b)
        assert set(ours) == set(theirs) == {"gan_ab", "gan_ba", "disc_a", "disc_b"}
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-7, atol=0, msg=lambda m, n=name: f"{n}: {m}")
    after = [p.detach() for ours, _ in pairs for p in ours.parameters()]
    expected = [p.detach() for _, theirs in pairs for p in theirs.parameters()]
    for start, ours, theirs in zip(before, after, expected, strict=True):
        if ours.ndim == 4:
            assert (theirs - start).abs().mean() > 1e-4  # It moved, so equality means something.
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-8)


@pytest.mark.parametrize("more", [("--gan_mode", "lsgan"), ("--gan_mode", "wgan_gp"), ("--spectral_norm",)])
def test_it_resumes_exactly(more, any_precision):
    flags = ("--crop_size", "16", "--pool_size", "3", "--ema", "0.9", *more)
    batches = [{f"real_{d}": torch.rand(2, 3, 16, 16) * 2 - 1 for d in "ab"} for _ in range(5)]
    whole = make(*flags)
    for batch in batches[:3]:
        whole.step(batch)
    state = copy.deepcopy(whole.state_dict())
    expected = [whole.step(batch) for batch in batches[3:]]
    again = make(*flags)
    again.load_state_dict(state)
    for batch, losses in zip(batches[3:], expected, strict=True):
        assert {name: float(v) for name, v in again.step(batch).items()} == {n: float(v) for n, v in losses.items()}
    ours, theirs = (t.published_generators() for t in (again, whole))
    assert ours.keys() == theirs.keys() == {"gen_ab", "gen_ba"}
    for name in ours:
        values, others = ours[name].state_dict(), theirs[name].state_dict()
        assert values.keys() == others.keys() and all(torch.equal(values[key], others[key]) for key in values)
        # The averages, not the weights of the last step.
        assert not torch.equal(values["trunk.0.conv.weight"], whole.networks["coupled"].trunk[0].conv.weight)


def test_spectral_norm_limits_every_convolution_of_the_discriminators(any_precision):
    trainer = make("--crop_size", "16", "--spectral_norm")
    convolutions = [layer for layer in trainer.networks["disc"].modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 4
    for layer in convolutions:
        for _ in range(20):
            weight = layer.weight  # Each use comes nearer.
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, rel=0.05)


def test_gradients_are_penalised_where_the_discriminators_are_trained(monkeypatch, any_precision):
    """On what --diff_augment makes of the pictures, each domain by its own layers."""
    asked = []
    monkeypatch.setattr(cogan, "gradient_penalty", lambda judge, *pictures: asked.append(judge) or gradient_penalty(
        judge, *pictures))  # fmt: skip
    trainer = make("--crop_size", "16", "--gan_mode", "wgan_gp", "--diff_augment", "color,translation,cutout")
    a, b = (torch.rand(2, 3, 16, 16) for _ in "ab")
    losses = trainer.step({"real_a": a, "real_b": b})
    assert len(asked) == 2 and all(value.isfinite() for value in losses.values())
    for judge, real, expected in zip(asked, (a, b), trainer.networks["disc"](a, b), strict=True):
        torch.testing.assert_close(judge(real), expected)
    assert not torch.allclose(asked[0](a), trainer.networks["disc"].judge(a, "a"))


def test_its_defaults_and_what_it_refuses(capsys):
    own = parse_train_config(["--method", "cogan", "--dataset", "x", "--output_dir", "x"])
    assert (own.model.picture_size, own.model.latent_size, own.loss.gan_mode, own.loss.pool_size) == (
        128, 100, "vanilla", 0)  # fmt: skip
    assert TrainConfig.from_json(json.loads(json.dumps(own.to_json()))) == own
    for flags, says in (
        (("--crop_size", "33"), "draw pictures of 8, 16, 32, 64, 128, 256, 512 or 1024 pixels a side, not 33"),
        (("--generator", "resnet_9"), "which --generator resnet_9 can't: leave --generator out"),
        (("--discriminator", "patch"), "which --discriminator patch can't: leave --discriminator out"),
        (("--preprocess", "none"), "pictures of one size, which --preprocess none doesn't give"),
        (("--gradient_checkpointing",), "--gradient_checkpointing isn't available for coupled generators"),
        (("--method", "cyclegan", "--generator", "coupled"), "coupled is for --method cogan, not cyclegan"),
    ):
        with pytest.raises(SystemExit):
            config(*flags)
        assert says in " ".join(capsys.readouterr().err.split())
    with pytest.raises(ConfigError):
        TrainConfig.from_json(own.to_json() | {"data": own.data.to_json() | {"crop_size": 64}})


@pytest.mark.slow
def test_it_trains_publishes_starts_others_and_translates(tmp_path, run_script, make_checkpoint, any_precision):
    run = tmp_path / "run"
    run_script("train_accelerate.py", *SMALL, "--epochs", "2", "--decay_epochs", "0", "--output_dir", run)
    last = run / "epoch-0002"
    assert {path.name for path in last.rglob("*.*")} == {
        "gen_ab.safetensors", "gen_ba.safetensors", "config.json", "checkpoint.json", "ab.png", "ba.png"}  # fmt: skip
    settings, record = (json.loads((last / name).read_text()) for name in ("config.json", "checkpoint.json"))
    assert settings["format_version"] == 2 and settings["model"]["picture_size"] == 32
    assert {"inversion_l1_ab", "inversion_l1_ba", "reconstruction_l1_ab", "disc_accuracy_a"} <= record["metrics"].keys()
    assert 0 < record["metrics"]["inversion_l1_ab"] < 255
    checkpoint = LocalSource(run).load(2)
    start, trainer = StartWeights(str(run), LocalSource), make()
    about, fresh = map(str, start.load(trainer))
    assert "--crop_size 32" in about and "has no weights for disc" in fresh
    ways = trainer.published_generators()
    for way in ("ab", "ba"):
        published, ours = checkpoint.generator(way).state_dict(), ways[f"gen_{way}"].state_dict()
        assert published.keys() == ours.keys() and all(torch.equal(published[key], ours[key]) for key in ours)
    with pytest.raises(CheckpointError, match="coupled: .*: use --crop_size 32, or --init_partial"):
        start.load(make("--crop_size", "16"))
    make_checkpoint(tmp_path / "other")
    with pytest.raises(CheckpointError, match="generators gen_ab, gen_ba, and --method cogan trains coupled"):
        StartWeights(str(tmp_path / "other"), LocalSource).load(trainer)
    translator = Translator(checkpoint, "cpu", max_bytes=1)  # Never in pieces.
    pictures = [picture(40, 32), picture(40, 32, seed=1)]
    answers = iter([False] * 3 + [True])  # Asked once before the pass, then in the search.
    with pytest.raises(Cancelled):
        translator.translate_many(pictures, "ab", cancelled=lambda: next(answers))
    together = translator.translate_many(pictures, "ab", reconstruct=True)
    alone = translator.translate(pictures[1], "ab", reconstruct=True)
    assert together[1].fake.tobytes() == alone.fake.tobytes() and together[1].rec.size == (40, 32)
    assert translator.batch_size((40, 32)) == 1
    with pytest.raises(CheckpointError, match="which an ONNX file can't hold"):
        export_onnx(checkpoint, "ab", tmp_path / "x.onnx")
