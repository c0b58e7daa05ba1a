"""Every training method's own options, with its own defaults. They load without torch, for the app and model cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from cyclegan.config.fields import DIRECTIONS, Config, option, require

if TYPE_CHECKING:
    from cyclegan.config import TrainConfig

GAN_MODES = ("lsgan", "vanilla", "hinge", "wgan_gp")
FEATURES = ("lite0", "vgg16")

@dataclass(frozen=True)
class MethodConfig(Config):
    """A training method's own options, with its own defaults. Each option is a flag."""

    defaults: ClassVar[Mapping[str, Any]] = {}
    """Defaults of other groups' settings that differ for this method, e.g. {"generator": "unet_256"}."""
    paired: ClassVar[bool] = False
    """True if the method learns from pairs."""
    about: ClassVar[str] = ""
    """A sentence in Markdown for model cards: the method's paper, and what it learns from."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Further defaults, of any settings, that an option which is on or off brings with it, by its name."""
    binding: ClassVar[tuple[str, ...]] = ()
    """Names of the weights that tie results to their inputs, which advice on collapsed results names."""
    copying: ClassVar[tuple[str, ...]] = ()
    """Names of the weights that keep results equal to their inputs, which advice on untranslated results names."""

    @property
    def trains_discriminators(self) -> bool:
        """True unless the options leave discriminators out."""
        return True

    @property
    def next_frames(self) -> Mapping[str, int]:
        """The domains whose pictures come with the next frame of their recording, and how many milliseconds later that
        may be at most."""
        return {}

    def completed(self, config: TrainConfig) -> TrainConfig:
        """Return a run's settings with those that follow from others; not validated yet."""
        model = config.model
        if model.test_dropout and not model.dropout:  # Off, as the other is, so that it needs no newer format.
            return replace(config, model=replace(model, test_dropout=False))
        return config

    @property
    def judges_one_size(self) -> bool:
        """True if fakes have the size of the real pictures that they are judged with, whatever the data's sizes."""
        return False

    def check(self, config: TrainConfig) -> None:
        """Raise ConfigError if a run's other settings don't suit this method."""
        mixes = self.trains_discriminators and getattr(self, "gan_mode", "") == "wgan_gp"
        require(
            not mixes or self.judges_one_size or not config.data.keeps_shape,
            "--gan_mode wgan_gp mixes real pictures with fakes, so all must have one size, and --preprocess "
            "{preprocess} keeps their own: use resize_crop, or another --gan_mode", preprocess=config.data.preprocess,
        )
        for name, kind in (("generator", config.model.generator), ("discriminator", config.model.discriminator)):
            require(
                kind != "coupled", "--{name} coupled is for --method cogan, not {method}: choose another",
                name=name, method=config.run.method,
            )
        counts = [config.data.values(domain).channels for domain in "ab"]
        for flag, remedy in self.same_channels.items():
            require(
                counts[0] == counts[1] or not getattr(self, flag),
                "--{flag}: A and B differ in their number of channels ({counts}), so it can't compare their pictures: "
                "{remedy}", flag=flag, counts="/".join(map(str, counts)), remedy=remedy,
            )
        for flag in self.rgb_only:
            require(
                config.data.plain or not getattr(self, flag),
                "--{flag} needs networks that read 8-bit RGB pictures, and this data set's have other values: leave it "
                "out", flag=flag,
            )

    same_channels: ClassVar[Mapping[str, str]] = {}
    """Options that compare a picture with one of the other domain, and the remedy where channels differ in number."""
    rgb_only: ClassVar[tuple[str, ...]] = ()
    """Options whose networks were made for 8-bit RGB."""

    def describe(self) -> str:
        """Return the losses and their weights in words, for a model card."""
        return ", ".join(f"{name} {value}" for name, value in self.to_json().items())


class ExtraTerms:
    """Two terms that a method's options may have besides its own: semantic and temporal (`methods.losses`).

    A plain class, because the fields of a dataclass would come before the method's own in `--help`; see
    `_semantic_weight`, `_semantic_folder`, `_temporal_weight` and `_temporal_gap` for the fields.
    """

    def validate(self) -> None:
        """Raise ConfigError for a value, or a combination of values, that can't work."""
        super().validate()  # type: ignore[misc]
        require(
            self.semantic_segmenter is None or self.lambda_semantic > 0,
            "--semantic_segmenter is for --lambda_semantic, which is 0: add --lambda_semantic 1, or leave it out",
        )

    @property
    def sources(self) -> str:
        """The domains that are translated, "a", "b" or "ab"."""
        return self.direction[0] if hasattr(self, "direction") else "ab"

    @property
    def read(self) -> str:
        """The domains that the segmenter reads, and whose translations have the semantic term."""
        chosen = getattr(self, "semantic_domain", "auto")
        return self.sources if chosen == "auto" else chosen

    @property
    def next_frames(self) -> Mapping[str, int]:
        """See `MethodConfig.next_frames`: of the domains that are translated, unless `lambda_temporal` is 0."""
        return dict.fromkeys(self.sources, self.temporal_gap_ms) if self.lambda_temporal else {}

    def recorded(self) -> tuple[dict[str, Any], int]:
        """Return the settings for a checkpoint: of the segmenter its folder's name alone, not where that is."""
        values, version = super().recorded()  # type: ignore[misc]
        if folder := values.get("semantic_segmenter"):
            values["semantic_segmenter"] = PurePath(folder).name
        return values, version

    def describe_extra(self) -> list[str]:
        """Return e.g. ["semantic × 1 (A)", "temporal × 10"]."""
        read = f" ({' and '.join(self.read.upper())})" if len(self.sources) > 1 else ""
        terms = [f"semantic × {self.lambda_semantic:g}{read}"] if self.lambda_semantic else []
        return terms + ([f"temporal × {self.lambda_temporal:g}"] if self.lambda_temporal else [])


def _semantic_weight() -> Any:
    """Return the option `lambda_semantic`."""
    return option(
        0.0, "weight of the semantic term: a frozen segmenter must read in the translation what it read in the "
        "input (CyCADA); try 1", least=0, since=2)


def _semantic_folder() -> Any:
    """Return the option `semantic_segmenter`."""
    return option(
        None, "with --lambda_semantic: folder of the segmenter, as python -m cyclegan segmenter train writes it; "
        "default: the one that comes with the package, if the data set has its classes", since=2)


def _temporal_weight() -> Any:
    """Return the option `lambda_temporal`."""
    return option(
        0.0, "weight of the temporal term, for translating videos: where a frame and the next one of its recording are "
        "alike, their translations must be; for pictures from python -m cyclegan frames; try 40", least=0, since=2)


def _temporal_gap() -> Any:
    """Return the option `temporal_gap_ms`."""
    return option(
        250, "with --lambda_temporal: milliseconds by which a frame may follow another at most, to be its next one",
        least=1, since=2)


@dataclass(frozen=True)
class CycleGANConfig(ExtraTerms, MethodConfig):
    """The objective's terms and their weights (paper sections 3 and 4)."""

    about: ClassVar[str] = (
        "A [CycleGAN](https://arxiv.org/abs/1703.10593): it learnt from two sets of pictures that are not paired."
    )

    binding: ClassVar[tuple[str, ...]] = ("lambda_cycle_a", "lambda_cycle_b")
    copying: ClassVar[tuple[str, ...]] = ("lambda_identity",)
    same_channels: ClassVar[Mapping[str, str]] = {"lambda_identity": "add --lambda_identity 0"}
    rgb_only: ClassVar[tuple[str, ...]] = ("lambda_semantic",)

    gan_mode: str = option("lsgan", "adversarial objective", choices=GAN_MODES)
    lambda_gan: float = option(1.0, "weight of the adversarial term; 0 trains without discriminators", least=0)
    lambda_cycle_a: float = option(10.0, "weight of the forward cycle, a → b → a", least=0)
    lambda_cycle_b: float = option(10.0, "weight of the backward cycle, b → a → b", least=0)
    lambda_identity: float = option(
        0.5, "weight of the identity term, relative to the cycle weight of the same domain (0.5 × 10 = 5)", least=0)
    lambda_gp: float = option(10.0, "weight of the gradient penalty, for wgan_gp only", least=0)
    pool_size: int = option(
        50, "number of past fakes that each discriminator is shown again; 0 = only new ones", least=0)
    lambda_semantic: float = _semantic_weight()
    semantic_segmenter: str | None = _semantic_folder()
    semantic_domain: str = option(
        "auto", "with --lambda_semantic: domains whose pictures the segmenter can read, so that their translations "
        "have the term; auto: those that it was trained on; ab: as CyCADA, even if it knows one only",
        choices=("auto", "a", "b", "ab"), since=2)
    lambda_temporal: float = _temporal_weight()
    temporal_gap_ms: int = _temporal_gap()

    def validate(self) -> None:
        """Raise ConfigError for a value, or a combination of weights, that can't work."""
        super().validate()
        require(
            self.lambda_gan + self.lambda_cycle_a + self.lambda_cycle_b > 0,
            "every loss weight is 0: raise --lambda_gan or --lambda_cycle_a/--lambda_cycle_b",
        )

    @property
    def trains_discriminators(self) -> bool:
        """False where the adversarial term's weight is 0."""
        return self.lambda_gan > 0

    def describe(self) -> str:
        """Return e.g. "adversarial (lsgan) × 1, cycle × 10 (A) and × 10 (B), identity × 0.5 of the cycle's weight"."""
        terms = [f"adversarial ({self.gan_mode}) × {self.lambda_gan:g}"] if self.lambda_gan else []
        terms.append(f"cycle × {self.lambda_cycle_a:g} (A) and × {self.lambda_cycle_b:g} (B)")
        terms += [f"identity × {self.lambda_identity:g} of the cycle's weight"] if self.lambda_identity else []
        return ", ".join(terms + self.describe_extra())


@dataclass(frozen=True)
class AdversarialConfig(MethodConfig):
    """The options of every method with a generator and a discriminator per direction; no method by itself."""

    gan_mode: str = option("lsgan", "adversarial objective", choices=GAN_MODES)
    lambda_gan: float = option(1.0, "weight of the adversarial term; 0 trains without discriminators", least=0)
    lambda_gp: float = option(10.0, "weight of the gradient penalty, for wgan_gp only", least=0)
    pool_size: int = option(
        50, "number of past fakes that each discriminator is shown again; 0 = only new ones", least=0)

    @property
    def trains_discriminators(self) -> bool:
        """False where the adversarial term's weight is 0."""
        return self.lambda_gan > 0

    def describe(self) -> str:
        """Return e.g. "adversarial (lsgan) × 1, L1 × 100"."""
        adversarial = [f"adversarial ({self.gan_mode}) × {self.lambda_gan:g}"] if self.lambda_gan else []
        return ", ".join(adversarial + self.describe_content())

    def describe_content(self) -> list[str]:
        """Return the other terms and their weights in words."""
        return []


@dataclass(frozen=True)
class Pix2PixConfig(AdversarialConfig):
    """Image-to-image translation learnt from pairs (Isola et al., 2017), in one direction, as published."""

    paired: ClassVar[bool] = True
    about: ClassVar[str] = (
        "By [pix2pix](https://arxiv.org/abs/1611.07004): it learnt from pairs of a picture and its true translation."
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "generator": "unet_256", "dropout": True, "test_dropout": True, "norm_affine": True,
    }  # fmt: skip
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "like_cyclegan": {
            "generator": "resnet_9", "dropout": False, "test_dropout": False, "norm_affine": False,
            "gan_mode": "lsgan", "lambda_l1": 10.0, "pool_size": 50,
        },
    }  # fmt: skip

    binding: ClassVar[tuple[str, ...]] = ("lambda_l1",)

    direction: str = option("ab", "direction that is learnt: ab, A → B, or ba, B → A", choices=DIRECTIONS)
    gan_mode: str = option("vanilla", "adversarial objective", choices=GAN_MODES)
    pool_size: int = option(
        0, "number of past fakes that the discriminator is shown again; 0 = only new ones", least=0)
    lambda_l1: float = option(100.0, "weight of the distance to the true picture", least=0)
    like_cyclegan: bool = option(
        False, "CycleGAN's networks and objective (resnet_9, lsgan, L1 × 10, pool of 50) instead of the published "
        "ones, to compare the two methods")

    def validate(self) -> None:
        """Raise ConfigError for a value, or a combination of weights, that can't work."""
        super().validate()
        require(self.lambda_gan + self.lambda_l1 > 0, "every loss weight is 0: raise --lambda_gan or --lambda_l1")

    @property
    def judges_one_size(self) -> bool:
        """True: a fake has its true picture's size; unless the pool gives one of an earlier pair."""
        return not self.pool_size

    def describe_content(self) -> list[str]:
        """Return e.g. ["L1 to the true picture × 100"]."""
        return [f"L1 to the true picture × {self.lambda_l1:g}"]


@dataclass(frozen=True)
class BiGANConfig(MethodConfig):
    """BiGAN/ALI as the CycleGAN authors ran it: one discriminator of pairs, and nothing else to learn from."""

    about: ClassVar[str] = (
        "By [BiGAN](https://arxiv.org/abs/1605.09782) and [ALI](https://arxiv.org/abs/1606.00704), as in CycleGAN's "
        "paper: it learnt from two sets of pictures that are not paired."
    )

    gan_mode: str = option("lsgan", "adversarial objective", choices=GAN_MODES)
    lambda_gp: float = option(10.0, "weight of the gradient penalty, for wgan_gp only", least=0)
    pool_size: int = option(
        50, "number of past fakes that each discriminator is shown again; 0 = only new ones", least=0)

    def describe(self) -> str:
        """Return e.g. "adversarial (lsgan) on pairs"."""
        return f"adversarial ({self.gan_mode}) on pairs"


@dataclass(frozen=True)
class SimGANConfig(AdversarialConfig):
    """A GAN whose results remain close to their inputs, by pixels (SimGAN) or by features, in one direction."""

    about: ClassVar[str] = (
        "By [SimGAN](https://arxiv.org/abs/1612.07828)'s idea, as in CycleGAN's paper: it learnt from two sets of "
        "pictures that are not paired, to look like one and to remain close to the other."
    )

    binding: ClassVar[tuple[str, ...]] = ("lambda_content",)
    copying: ClassVar[tuple[str, ...]] = ("lambda_content",)
    same_channels: ClassVar[Mapping[str, str]] = {"lambda_content": "choose another --method"}

    direction: str = option("ab", "direction that is learnt: ab, A → B, or ba, B → A", choices=DIRECTIONS)
    content_loss: str = option(
        "pixel", "distance of a result to its input, by pixel, or by the features of a network trained on ImageNet",
        choices=("pixel", "features"))
    lambda_content: float = option(10.0, "weight of this distance", least=0)
    features: str = option(
        "lite0", "network of --content_loss features: lite0, from a package of pip, or vgg16, the authors' choice, "
        "which is downloaded", choices=FEATURES)
    vgg_weights: str | None = option(None, "file with torchvision's weights of VGG-16, in place of the download")

    def check(self, config: TrainConfig) -> None:
        """Raise ConfigError if a run's other settings don't suit this method."""
        super().check(config)
        require(
            self.content_loss == "pixel" or config.data.plain,
            "--content_loss {content_loss} needs a network that reads 8-bit RGB pictures, and this data set's have "
            "other values: use --content_loss pixel", content_loss=self.content_loss,
        )

    def validate(self) -> None:
        """Raise ConfigError for a value, or a combination of weights, that can't work."""
        super().validate()
        require(
            self.lambda_gan + self.lambda_content > 0, "every loss weight is 0: raise --lambda_gan or --lambda_content"
        )
        require(
            self.vgg_weights is None or (self.content_loss, self.features) == ("features", "vgg16"),
            "--vgg_weights is for --content_loss features --features vgg16: add both, or leave it out",
        )

    def recorded(self) -> tuple[dict[str, Any], int]:
        """Return the settings for a checkpoint: of the file of weights its name alone, not this machine's folders."""
        values, version = super().recorded()
        return values | {"vgg_weights": self.vgg_weights and PurePath(self.vgg_weights).name}, version

    def describe_content(self) -> list[str]:
        """Return e.g. ["L1 to the input by pixels × 10"]."""
        by = "pixels" if self.content_loss == "pixel" else f"features of {self.features}"
        return [f"L1 to the input by {by} × {self.lambda_content:g}"]


@dataclass(frozen=True)
class CoGANConfig(MethodConfig):
    """Two coupled GANs that draw from one latent vector; translation inverts one and draws with the other."""

    about: ClassVar[str] = (
        "A [CoGAN](https://arxiv.org/abs/1606.07536): it learnt from two sets of pictures that are not paired, and "
        "translates a picture by searching for the nearest one that it can draw."
    )

    defaults: ClassVar[Mapping[str, Any]] = {
        "generator": "coupled", "discriminator": "coupled", "ngf": 32, "ndf": 32, "load_size": 143, "crop_size": 128,
        "batch_size": 16,
    }  # fmt: skip

    gan_mode: str = option("vanilla", "adversarial objective", choices=GAN_MODES)
    lambda_gp: float = option(10.0, "weight of the gradient penalty, for wgan_gp only", least=0)
    pool_size: int = option(
        0, "number of past fakes that each discriminator is shown again; 0 = only new ones", least=0)

    def completed(self, config: TrainConfig) -> TrainConfig:
        """Return the settings with the size of the pictures that the generators draw."""
        return replace(config, model=replace(config.model, picture_size=config.data.crop_size))

    def check(self, config: TrainConfig) -> None:
        """Raise ConfigError unless the networks are coupled ones and all pictures have their size."""
        require(
            config.data.plain, "--method cogan draws 8-bit RGB pictures, and this data set's have other values: choose "
            "another --method",
        )
        for name, kind in (("generator", config.model.generator), ("discriminator", config.model.discriminator)):
            require(
                kind == "coupled", "--method cogan draws pictures from a latent vector, which --{name} {kind} can't: "
                "leave --{name} out", name=name, kind=kind,
            )
        require(
            not config.data.keeps_shape,
            "--method cogan draws pictures of one size, which --preprocess {preprocess} doesn't give: use resize_crop, "
            "resize or crop", preprocess=config.data.preprocess,
        )
        require(
            config.model.picture_size == config.data.crop_size,
            "the coupled generators draw pictures of {size} pixels a side, and --crop_size is {crop_size}",
            size=config.model.picture_size, crop_size=config.data.crop_size,
        )
        require(
            not config.run.gradient_checkpointing,
            "--gradient_checkpointing isn't available for coupled generators: leave it out",
        )

    def describe(self) -> str:
        """Return e.g. "adversarial (vanilla), in both domains"."""
        return f"adversarial ({self.gan_mode}), in both domains"


@dataclass(frozen=True)
class CUTConfig(ExtraTerms, AdversarialConfig):
    """Contrastive unpaired translation (Park et al. 2020), one direction."""

    same_channels: ClassVar[Mapping[str, str]] = {"nce_identity": "add --no-nce_identity"}
    rgb_only: ClassVar[tuple[str, ...]] = ("lambda_semantic",)
    about: ClassVar[str] = (
        "By [CUT](https://arxiv.org/abs/2007.15651): it learnt from two sets of pictures that are not paired."
    )
    defaults: ClassVar[Mapping[str, Any]] = {"epochs": 200, "decay_epochs": 200}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fastcut": {
            "lambda_nce": 10.0, "nce_identity": False, "flip_equivariance": True, "epochs": 150, "decay_epochs": 50,
        }
    }  # fmt: skip
    binding: ClassVar[tuple[str, ...]] = ("lambda_nce",)
    copying: ClassVar[tuple[str, ...]] = ("lambda_nce",)

    pool_size: int = option(
        0, "number of past fakes that the discriminator is shown again; 0 = only new ones", least=0)
    direction: str = option("ab", "direction that is learnt: ab, A → B, or ba, B → A", choices=DIRECTIONS)
    lambda_nce: float = option(1.0, "weight of the contrastive term, PatchNCE", above=0)
    nce_identity: bool = option(True, "also compare pictures of the target with what the generator makes of them")
    nce_temperature: float = option(0.07, "divisor of the similarities of patches", above=0)
    nce_patches: int = option(256, "patches of each layer that are compared", least=2)
    flip_equivariance: bool = option(False, "mirror the input of half of the steps, but not what it is compared with")
    fastcut: bool = option(
        False,
        "the authors' FastCUT: --lambda_nce 10 --no-nce_identity --flip_equivariance --epochs 150 --decay_epochs 50")
    lambda_semantic: float = _semantic_weight()
    semantic_segmenter: str | None = _semantic_folder()
    lambda_temporal: float = _temporal_weight()
    temporal_gap_ms: int = _temporal_gap()

    def describe_content(self) -> list[str]:
        """Return e.g. ["PatchNCE × 1 (with identity)"]."""
        content = f"PatchNCE × {self.lambda_nce:g}" + (" (with identity)" if self.nce_identity else "")
        return [content, *self.describe_extra()]


METHOD_CONFIGS: dict[str, type[MethodConfig]] = {
    "cyclegan": CycleGANConfig, "pix2pix": Pix2PixConfig, "bigan": BiGANConfig, "simgan": SimGANConfig,
    "cogan": CoGANConfig, "cut": CUTConfig,
}  # fmt: skip
"""The options of every training method, by the method's name."""
